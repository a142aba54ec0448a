import Glibc
import Kernel

enum FileNames {
    /// The names in a directory, sorted; none when it is not there.
    static func inDirectory(_ path: String) throws(SystemCallFailed) -> [String] {
        guard let directory = opendir(path) else {
            let code = errno
            if code == ENOENT { return [] }
            throw SystemCallFailed("opendir", code: code, on: path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Not there is fine.
    static func remove(_ path: String) throws(SystemCallFailed) {
        if unlink(path) != 0, errno != ENOENT { throw SystemCallFailed("unlink", code: errno, on: path) }
    }

    static func removeDirectory(_ path: String) throws(SystemCallFailed) {
        if rmdir(path) != 0, errno != ENOENT { throw SystemCallFailed("rmdir", code: errno, on: path) }
    }
}

extension SystemCallFailed {
    var isMissingFile: Bool { code == ENOENT }
}
