import Glibc

/// Directory trees as a whole.
enum FileTree {
    /// Removes a file or a directory with all in it; true when nothing is left. Links are removed, not followed.
    @discardableResult
    static func remove(_ path: String, in parent: CInt = AT_FDCWD) -> Bool {
        if unlinkat(parent, path, 0) == 0 { return true }
        let code = errno
        if code == ENOENT { return true }
        guard code == EISDIR || code == EPERM else { return false }
        let descriptor = openat(parent, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        guard let directory = fdopendir(descriptor) else {
            close(descriptor)
            return false
        }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        for name in names { remove(name, in: descriptor) }
        closedir(directory)
        return unlinkat(parent, path, AT_REMOVEDIR) == 0
    }

    static func names(in path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
