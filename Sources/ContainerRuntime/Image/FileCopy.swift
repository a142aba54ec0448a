import Glibc
import Kernel

/// Copies between files, hashing what passes.
enum FileCopy {
    /// Copies a whole file to a new one; returns the digest of its bytes.
    static func copy(_ source: String, to target: String, name: String) throws(RuntimeFailure) -> String {
        let output = try attempting("copy a blob of \(name)") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(target, flags: O_WRONLY | O_CREAT | O_TRUNC)
        }
        let digest = DigestStream()
        _ = try append(source, to: output.number, digest: digest, what: name)
        return digest.finish()
    }

    /// Appends a file's bytes to an open one; returns how many.
    static func append(_ source: String, to output: CInt, digest: DigestStream, what: String) throws(RuntimeFailure)
        -> Int
    {
        let input = try attempting("read a file of \(what)") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(source, flags: O_RDONLY)
        }
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { space.deallocate() }
        var total = 0
        while true {
            let count = read(input.number, space.baseAddress, space.count)
            let code = errno
            if count < 0, code == EINTR { continue }
            guard count >= 0 else {
                throw RuntimeFailure(SystemCallFailed("read", code: code, on: source), doing: "read a file of \(what)")
            }
            if count == 0 { return total }
            let piece = UnsafeRawBufferPointer(rebasing: space[..<count])
            try write(piece, to: output, digest: digest, what: what)
            total += count
        }
    }

    static func write(_ bytes: UnsafeRawBufferPointer, to output: CInt, digest: DigestStream, what: String)
        throws(RuntimeFailure)
    {
        digest.update(bytes)
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(output, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            let code = errno
            if count < 0, code == EINTR { continue }
            guard count > 0 else {
                throw RuntimeFailure(SystemCallFailed("write", code: code, on: what), doing: "write \(what)")
            }
            done += count
        }
    }
}
