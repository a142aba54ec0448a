import Glibc

/// Directories with contents nobody vouches for: links are never followed, mounts never crossed.
package enum FileTree {
    /// Removes a file or a directory with all in it. Not there is fine.
    /// - Parameter parent: what a relative path starts from.
    package static func remove(_ path: String, in parent: CInt = AT_FDCWD) throws(SystemCallFailed) {
        if unlinkat(parent, path, 0) == 0 { return }
        let code = errno
        if code == ENOENT { return }
        guard code == EISDIR || code == EPERM else { throw SystemCallFailed("unlink", code: code, on: path) }
        let root = openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if root < 0 {
            if errno == ENOENT { return }
            throw SystemCallFailed("open", code: errno, on: path)
        }
        defer { close(root) }
        var status = stat()
        if fstat(root, &status) != 0 { throw SystemCallFailed("fstat", code: errno, on: path) }
        var removal = Removal(root: root, device: status.st_dev, path: path)
        try removal.run()
        if unlinkat(parent, path, AT_REMOVEDIR) != 0, errno != ENOENT {
            throw SystemCallFailed("rmdir", code: errno, on: path)
        }
    }

    /// The names in a directory, sorted; none when it cannot be read.
    package static func names(in path: String) -> [String] {
        let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        return number < 0 ? [] : rawNames(of: number).map { shown($0) }.sorted()
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Files of any kind but directories, in a directory and below.
    package static func fileCount(_ path: String) -> Int {
        var count = 0
        for name in names(in: path) {
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

    /// Names as the kernel has them, ending in a zero: not each is UTF-8, and only the very bytes find the file.
    /// - Parameter number: closed by this.
    private static func rawNames(of number: CInt) -> [[CChar]] {
        guard let directory = fdopendir(number) else {
            close(number)
            return []
        }
        defer { closedir(directory) }
        var names: [[CChar]] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
            }
            if name != [46, 0], name != [46, 46, 0] { names.append(name) }
        }
        return names
    }

    private static func shown(_ name: [CChar]) -> String {
        String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
            for name in FileTree.rawNames(of: copy) { try remove(name, in: directory, depth: depth) }
        }

        private mutating func remove(_ name: [CChar], in directory: CInt, depth: Int) throws(SystemCallFailed) {
            if unlinkat(directory, name, 0) == 0 { return }
            var code = errno
            if code == ENOENT { return }
            guard code == EISDIR || code == EPERM else { throw failed("unlink", code, name) }
            if unlinkat(directory, name, AT_REMOVEDIR) == 0 { return }
            if depth >= Removal.deepest {
                moved += 1
                let place = ".deep-\(moved)-\(getpid())"
                if renameat(directory, name, root, place) == 0 { return }
                code = errno
                throw failed("rename", code, name)
            }
            let inner = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if inner < 0 {
                code = errno
                throw failed("open", code, name)
            }
            defer { close(inner) }
            var status = stat()
            guard fstat(inner, &status) == 0, status.st_dev == device else {
                throw SystemCallFailed(
                    "remove", code: EBUSY, on: "\(FileTree.shown(name)) in \(path), on which something is mounted")
            }
            try empty(inner, depth: depth + 1)
            if unlinkat(directory, name, AT_REMOVEDIR) == 0 { return }
            code = errno
            if code != ENOENT { throw failed("rmdir", code, name) }
        }

        private func failed(_ call: String, _ code: CInt, _ name: [CChar]) -> SystemCallFailed {
            SystemCallFailed(call, code: code, on: "\(FileTree.shown(name)) in \(path)")
        }
    }
}
