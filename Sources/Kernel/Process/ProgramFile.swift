import Glibc

/// Weft's programs stand in one folder.
package enum ProgramFile {
    /// The program of this name in the folder of the running one; fails with `ENOENT` or `EACCES` on the path looked for.
    package static func beside(_ name: String) throws(SystemCallFailed) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        guard length > 0 else { throw SystemCallFailed("readlink", code: errno, on: "/proc/self/exe") }
        let own = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = own.lastIndex(of: "/").map { own[...$0] } ?? "./"
        let path = String(folder + name)
        if access(path, X_OK) != 0 { throw SystemCallFailed("access", code: errno, on: path) }
        return path
    }
}
