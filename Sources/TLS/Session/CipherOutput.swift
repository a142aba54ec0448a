import COpenSSL
internal import Glibc

/// Where a session's ciphertext goes: straight into memory lent for one call; what comes at other times (handshake, alerts), or
/// does not fit, is kept until somebody asks for it.
struct CipherOutput {
    private var lent: UnsafeMutableRawBufferPointer?
    private var filled = 0
    private(set) var kept: [UInt8] = []

    /// Makes a BIO that writes into `output`, which must not move and outlive it.
    static func bio(_ output: UnsafeMutablePointer<CipherOutput>) -> OpaquePointer? {
        method.bio(output)
    }

    private static let method = CipherMethod("weft ciphertext") { method in
        BIO_meth_set_write(method) { bio, from, count in
            guard let bio, let from, count > 0, let data = BIO_get_data(bio) else { return -1 }
            data.assumingMemoryBound(to: CipherOutput.self).pointee.append(from, Int(count))
            return count
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == CInt(WEFT_BIO_CTRL_FLUSH) ? 1 : 0 }
    }

    private mutating func append(_ bytes: UnsafePointer<CChar>, _ count: Int) {
        // Once something is kept, what follows it must not overtake it.
        if kept.isEmpty, let lent, let base = lent.baseAddress, count <= lent.count - filled {
            memcpy(base + filled, bytes, count)
            filled += count
        } else {
            kept.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        }
    }

    mutating func lend(_ space: UnsafeMutableRawBufferPointer) {
        lent = space
        filled = 0
    }

    /// Ends the loan; how many bytes there are.
    mutating func takeBack() -> Int {
        lent = nil
        return filled
    }

    mutating func take(into space: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(space.count, kept.count)
        kept.withUnsafeBytes { space.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        if count == kept.count { kept = [] } else { kept.removeFirst(count) }
        return count
    }
}
