package import Glibc

/// A system call the kernel refused, and what it was applied to.
package struct SystemCallFailed: Error, Sendable, Hashable, CustomStringConvertible {
    package let call: String
    package let code: CInt
    package let subject: String

    package init(_ call: String, code: CInt, on subject: String) {
        self.call = call
        self.code = code
        self.subject = subject
    }

    package var description: String { "\(call) on \(subject): \(String(cString: strerror(code))) (errno \(code))" }
}

package enum ReadOutcome: Sendable, Equatable { case bytes(Int), wouldBlock, endOfStream }

/// Owns one open file descriptor, which closes when this value ends.
package struct OwnedDescriptor: ~Copyable, Sendable {
    package let number: CInt

    package init(taking number: CInt) { self.number = number }

    /// Gives the number to someone who will close it.
    package consuming func release() -> CInt {
        let number = number
        discard self
        return number
    }

    deinit { _ = Glibc.close(number) }
}

extension OwnedDescriptor {
    /// Opens a file, close-on-exec.
    package static func open(_ path: String, flags: CInt, mode: mode_t = 0o644) throws(SystemCallFailed)
        -> OwnedDescriptor
    {
        let number = Glibc.open(path, flags | O_CLOEXEC, mode)
        let code = errno
        guard number >= 0 else { throw SystemCallFailed("open", code: code, on: path) }
        return OwnedDescriptor(taking: number)
    }

    package borrowing func read(into space: UnsafeMutableRawBufferPointer) throws(SystemCallFailed) -> ReadOutcome {
        precondition(space.count > 0, "an empty buffer would read as end of stream")
        while true {
            let count = Glibc.read(number, space.baseAddress, space.count)
            let code = errno
            if count > 0 { return .bytes(count) }
            if count == 0 { return .endOfStream }
            switch code {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw SystemCallFailed("read", code: code, on: "descriptor \(number)")
            }
        }
    }
}

/// Whole small files: settings in /proc and /sys, state files.
package enum SmallFile {
    package static func read(_ path: String, limit: Int = 16 << 20) throws(SystemCallFailed) -> [UInt8] {
        let file = try OwnedDescriptor.open(path, flags: O_RDONLY)
        var bytes: [UInt8] = []
        while bytes.count < limit {
            var chunk = [UInt8](repeating: 0, count: 65536)
            let outcome = chunk.withUnsafeMutableBytes { space -> Result<ReadOutcome, SystemCallFailed> in
                do throws(SystemCallFailed) { return .success(try file.read(into: space)) } catch {
                    return .failure(error)
                }
            }
            guard case .bytes(let count) = try outcome.get() else { break }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// Writes in place, as files in /proc and /sys want it.
    package static func write(_ text: String, to path: String) throws(SystemCallFailed) {
        let file = try OwnedDescriptor.open(path, flags: O_WRONLY | O_CREAT | O_TRUNC)
        try write(Array(text.utf8), to: file, path)
    }

    /// Writes a new file beside the old one, syncs it and renames it, so that a crash leaves one of the two whole.
    package static func replace(_ path: String, with bytes: [UInt8], mode: mode_t = 0o644) throws(SystemCallFailed) {
        let fresh = path + ".new"
        do throws(SystemCallFailed) {
            let file = try OwnedDescriptor.open(fresh, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
            try write(bytes, to: file, fresh)
            if fsync(file.number) != 0 { throw SystemCallFailed("fsync", code: errno, on: fresh) }
        } catch {
            // On a full disk the part that was written would keep it full.
            unlink(fresh)
            throw error
        }
        if rename(fresh, path) != 0 { throw SystemCallFailed("rename", code: errno, on: path) }
    }

    private static func write(_ bytes: [UInt8], to file: borrowing OwnedDescriptor, _ path: String)
        throws(SystemCallFailed)
    {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(file.number, $0.baseAddress.map { $0 + done }, bytes.count - done)
            }
            let code = errno
            if count < 0 {
                if code == EINTR { continue }
                throw SystemCallFailed("write", code: code, on: path)
            }
            done += count
        }
    }

    package static func makeDirectories(_ path: String, mode: mode_t = 0o755) throws(SystemCallFailed) {
        if mkdir(path, mode) == 0 { return }
        var code = errno
        if code == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try makeDirectories(String(path[..<slash]), mode: mode)
            if mkdir(path, mode) == 0 { return }
            code = errno
        }
        if code != EEXIST { throw SystemCallFailed("mkdir", code: code, on: path) }
    }
}
