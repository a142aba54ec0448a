import Glibc
package import Kernel

/// Directories with contents nobody vouches for: links are never followed, mounts never crossed.
package enum FileTree {
    /// Removes a file or a directory with all in it. Not there is fine.
    package static func remove(_ path: String) throws(SystemCallFailed) {
        if unlink(path) == 0 || errno == ENOENT { return }
        let root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if root < 0 {
            if errno == ENOENT { return }
            throw SystemCallFailed("open", code: errno, on: path)
        }
        defer { close(root) }
        var status = stat()
        if fstat(root, &status) != 0 { throw SystemCallFailed("fstat", code: errno, on: path) }
        var removal = Removal(root: root, device: status.st_dev, path: path)
        try removal.run()
        if rmdir(path) != 0, errno != ENOENT { throw SystemCallFailed("rmdir", code: errno, on: path) }
    }

    /// The names in a directory; none when it cannot be read.
    package static func names(_ path: String) -> [String] {
        let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        return number < 0 ? [] : names(of: number)
    }

    /// Regular files in a directory and below.
    static func fileCount(_ path: String) -> Int {
        var count = 0
        for name in names(path) {
            var status = stat()
            guard lstat("\(path)/\(name)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR { count += fileCount("\(path)/\(name)") } else { count += 1 }
        }
        return count
    }

    /// Whether something is mounted on this directory.
    package static func isMountPoint(_ path: String) -> Bool {
        var own = stat()
        var above = stat()
        guard lstat(path, &own) == 0, lstat("\(path)/..", &above) == 0 else { return false }
        return own.st_dev != above.st_dev
    }

    /// - Parameter number: closed by this.
    fileprivate static func names(of number: CInt) -> [String] {
        guard let directory = fdopendir(number) else {
            close(number)
            return []
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private struct Removal {
        let root: CInt
        let device: dev_t
        let path: String
        var moved = 0
        /// Deeper directories are moved up to the root first, so that no tree is too deep for our stack.
        static let deepest = 64

        mutating func run() throws(SystemCallFailed) {
            while true {
                let before = moved
                try empty(root, depth: 0)
                if moved == before { return }
            }
        }

        private mutating func empty(_ directory: CInt, depth: Int) throws(SystemCallFailed) {
            let copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if copy < 0 { throw SystemCallFailed("open", code: errno, on: path) }
            for name in FileTree.names(of: copy) { try remove(name, in: directory, depth: depth) }
        }

        private mutating func remove(_ name: String, in directory: CInt, depth: Int) throws(SystemCallFailed) {
            if unlinkat(directory, name, 0) == 0 { return }
            var code = errno
            if code == ENOENT { return }
            guard code == EISDIR || code == EPERM else {
                throw SystemCallFailed("unlink", code: code, on: "\(name) in \(path)")
            }
            if unlinkat(directory, name, AT_REMOVEDIR) == 0 { return }
            if depth >= Removal.deepest {
                moved += 1
                let place = ".deep-\(moved)-\(getpid())"
                if renameat(directory, name, root, place) == 0 { return }
                throw SystemCallFailed("rename", code: errno, on: "\(name) in \(path)")
            }
            let inner = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if inner < 0 { throw SystemCallFailed("open", code: errno, on: "\(name) in \(path)") }
            defer { close(inner) }
            var status = stat()
            guard fstat(inner, &status) == 0, status.st_dev == device else {
                throw SystemCallFailed("remove", code: EBUSY, on: "\(name) in \(path), on which something is mounted")
            }
            try empty(inner, depth: depth + 1)
            if unlinkat(directory, name, AT_REMOVEDIR) == 0 { return }
            code = errno
            if code != ENOENT { throw SystemCallFailed("rmdir", code: code, on: "\(name) in \(path)") }
        }
    }
}
