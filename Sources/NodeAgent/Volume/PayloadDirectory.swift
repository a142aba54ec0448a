import Glibc
package import Kernel
import KubeTypes

/// One file of a configMap, secret, downwardAPI or projected volume.
package struct PayloadFile: Sendable, Hashable {
    package var path: String  // below the volume, no `..`
    package var bytes: [UInt8]
    package var mode: UInt32

    package init(path: String, bytes: [UInt8], mode: UInt32) {
        self.path = path
        self.bytes = bytes
        self.mode = mode
    }
}

/// A directory whose files change together: each name is a link through `..data`, which one rename points at a new version.
package struct PayloadDirectory: Sendable {
    package let path: String

    package init(_ path: String) { self.path = path }

    /// Makes the directory hold exactly `files`. Readers see the old version or the new one, never a mix.
    /// - Returns: whether anything changed.
    @discardableResult
    package func write(_ files: [PayloadFile], group: UInt32?) throws(SystemCallFailed) -> Bool {
        let current = target
        if let current, holds(files, in: "\(path)/\(current)") { return false }
        try SmallFile.makeDirectories(path)
        let version = "..\(Timestamp.now().unixNanoseconds)"
        let directory = "\(path)/\(version)"
        try SmallFile.makeDirectories(directory)
        if let group { try own(directory, group: group, mode: 0o2755) }
        for file in files {
            let place = "\(directory)/\(file.path)"
            if let slash = place.lastIndex(of: "/") { try SmallFile.makeDirectories(String(place[..<slash])) }
            try write(file, to: place, group: group)
        }
        let fresh = "\(path)/..data_new"
        unlink(fresh)
        if symlink(version, fresh) != 0 { throw SystemCallFailed("symlink", code: errno, on: fresh) }
        if rename(fresh, "\(path)/..data") != 0 { throw SystemCallFailed("rename", code: errno, on: "\(path)/..data") }
        try link(Set(files.map { String($0.path.prefix { $0 != "/" }) }))
        if let current { try FileTree.remove("\(path)/\(current)") }
        return true
    }

    private var target: String? {
        var space = [UInt8](repeating: 0, count: 256)
        let count = space.withUnsafeMutableBytes { raw in
            raw.withMemoryRebound(to: CChar.self) { text in
                text.baseAddress.map { readlink("\(path)/..data", $0, text.count) } ?? 0
            }
        }
        return count > 0 ? String(decoding: space[..<count], as: UTF8.self) : nil
    }

    private func holds(_ files: [PayloadFile], in directory: String) -> Bool {
        guard FileTree.fileCount(directory) == files.count else { return false }
        return files.allSatisfy { (try? SmallFile.read("\(directory)/\($0.path)")) == $0.bytes }
    }

    private func write(_ file: PayloadFile, to place: String, group: UInt32?) throws(SystemCallFailed) {
        let opened = try OwnedDescriptor.open(place, flags: O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        var done = 0
        while done < file.bytes.count {
            let count = file.bytes.withUnsafeBytes { space in
                space.baseAddress.map { Glibc.write(opened.number, $0 + done, space.count - done) } ?? 0
            }
            let code = errno
            if count < 0, code != EINTR { throw SystemCallFailed("write", code: code, on: place) }
            done += max(0, count)
        }
        // Readable by the pod's group, as everybody in the pod that is not root comes by it.
        try own(place, group: group, mode: file.mode | (group == nil ? 0 : 0o440))
    }

    private func own(_ place: String, group: UInt32?, mode: UInt32) throws(SystemCallFailed) {
        if let group, chown(place, uid_t.max, group) != 0 {
            throw SystemCallFailed("chown", code: errno, on: place)
        }
        if chmod(place, mode) != 0 { throw SystemCallFailed("chmod", code: errno, on: place) }
    }

    /// The names users see: links to what the present version has, none to what it has not.
    private func link(_ names: Set<String>) throws(SystemCallFailed) {
        for name in names {
            let place = "\(path)/\(name)"
            if symlink("..data/\(name)", place) != 0, errno != EEXIST {
                throw SystemCallFailed("symlink", code: errno, on: place)
            }
        }
        for name in FileTree.names(in: path) where !name.hasPrefix("..") && !names.contains(name) {
            unlink("\(path)/\(name)")
        }
    }
}
