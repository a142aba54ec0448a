import COpenSSL

/// SHA-256 over bytes as they come, written `sha256:<64 hex digits>`.
final class DigestStream {
    private let context: OpaquePointer?

    init() {
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    func update(_ bytes: UnsafeRawBufferPointer) {
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    func finish() -> String {
        var bytes = [UInt8](repeating: 0, count: 32)
        var size: UInt32 = 32
        EVP_DigestFinal_ex(context, &bytes, &size)
        let digits = Array("0123456789abcdef".utf8)
        var text = Array("sha256:".utf8)
        for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}

enum Digest {
    static func of(_ bytes: [UInt8]) -> String {
        let stream = DigestStream()
        stream.update(bytes)
        return stream.finish()
    }

    /// The 64 hex digits; `nil` for anything else, so that a digest can be a file name.
    static func hex(_ digest: String) -> String? {
        guard digest.hasPrefix("sha256:") else { return nil }
        let hex = digest.dropFirst(7)
        let digits = Set("0123456789abcdef")
        guard hex.utf8.count == 64, hex.allSatisfy({ digits.contains($0) }) else { return nil }
        return String(hex)
    }
}
