import COpenSSL
internal import Glibc

/// Where a session's ciphertext comes from: straight out of memory lent for one call, behind what was kept of earlier calls.
struct CipherInput {
    private var lent: UnsafeRawBufferPointer?
    private var kept: [UInt8] = []
    /// Read of the one that is being read.
    private var place = 0

    /// Makes a BIO that reads from `input`, which must not move and outlive it.
    static func bio(_ input: UnsafeMutablePointer<CipherInput>) -> OpaquePointer? {
        method.bio(input)
    }

    private static let method = CipherMethod("weft received") { method in
        BIO_meth_set_read(method) { bio, into, count in
            guard let bio, let into, count > 0, let data = BIO_get_data(bio) else { return -1 }
            weft_bio_clear_retry(bio)
            let moved = data.assumingMemoryBound(to: CipherInput.self).pointee.move(Int(count), into)
            if moved > 0 { return CInt(truncatingIfNeeded: moved) }
            weft_bio_retry_read(bio)
            return -1
        }
        BIO_meth_set_ctrl(method) { _, _, _, _ in 0 }
    }

    /// Bytes that wait to be read.
    var waiting: Int { kept.count + (lent?.count ?? 0) - place }

    private mutating func move(_ most: Int, _ into: UnsafeMutablePointer<CChar>) -> Int {
        if !kept.isEmpty {
            let count = min(most, kept.count - place)
            kept.withUnsafeBytes { bytes in
                if let base = bytes.baseAddress { memcpy(into, base + place, count) }
            }
            place += count
            if place == kept.count {
                kept = []
                place = 0
            }
            return count
        }
        guard let lent, let base = lent.baseAddress else { return 0 }
        let count = min(most, lent.count - place)
        memcpy(into, base + place, count)
        place += count
        return count
    }

    mutating func keep(_ bytes: UnsafeRawBufferPointer) {
        endLoan()
        kept.append(contentsOf: bytes)
    }

    mutating func lend(_ bytes: UnsafeRawBufferPointer) {
        endLoan()
        lent = bytes
    }

    /// Keeps what has not been read of it.
    mutating func endLoan() {
        guard let lent else { return }
        self.lent = nil
        // While there is something kept, nothing of the loan has been read.
        let from = kept.isEmpty ? place : 0
        if kept.isEmpty { place = 0 }
        if from < lent.count { kept.append(contentsOf: UnsafeRawBufferPointer(rebasing: lent[from...])) }
    }
}
