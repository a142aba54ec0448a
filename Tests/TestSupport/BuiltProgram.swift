import Glibc

/// A program of ours, of the same build as the tests: a sanitizer of theirs watches it too.
package enum BuiltProgram {
    package struct Missing: Error, CustomStringConvertible {
        package let description: String
    }

    /// Where it is.
    package static func path(_ name: String) throws -> String {
        var link = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &link, link.count)
        let own = String(decoding: link[..<max(0, count)].map(UInt8.init(bitPattern:)), as: UTF8.self)
        let path = own[...(own.lastIndex(of: "/") ?? own.startIndex)] + name
        guard access(String(path), X_OK) == 0 else {
            throw Missing(description: "\(path) is not there: swift build --product \(name)")
        }
        return String(path)
    }
}
