import COpenSSL

func sha1(_ message: [UInt8]) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 20)
    var count: CUnsignedInt = 20
    _ = EVP_Digest(message, message.count, &digest, &count, EVP_sha1(), nil)
    return digest
}

/// Standard base64 with padding (RFC 4648 §4).
package func base64(_ bytes: [UInt8]) -> String {
    var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
    let count = EVP_EncodeBlock(&text, bytes, CInt(bytes.count))
    return String(decoding: text[..<Int(count)], as: UTF8.self)
}

/// Reads standard base64; whitespace inside is skipped. `nil` when it is not base64.
package func base64Decoded(_ text: String) -> [UInt8]? {
    let packed = text.utf8.filter { $0 != 0x0A && $0 != 0x0D && $0 != 0x20 }
    let padding = packed.suffix(2).count(where: { $0 == UInt8(ascii: "=") })
    // OpenSSL takes padding anywhere.
    guard packed.count % 4 == 0, packed.count(where: { $0 == UInt8(ascii: "=") }) == padding else { return nil }
    if packed.isEmpty { return [] }
    var bytes = [UInt8](repeating: 0, count: packed.count / 4 * 3)
    let count = EVP_DecodeBlock(&bytes, packed, CInt(packed.count))
    guard count >= 0 else { return nil }
    return Array(bytes.prefix(Int(count) - padding))
}

/// base64url without padding, as JSON Web Tokens use it (RFC 7515 §2).
package func base64URL(_ bytes: [UInt8]) -> String {
    var text = ""
    for character in base64(bytes) {
        switch character {
        case "+": text.append("-")
        case "/": text.append("_")
        case "=": break
        default: text.append(character)
        }
    }
    return text
}

package func base64URLDecoded(_ text: String) -> [UInt8]? {
    var standard = text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 }
    while standard.count % 4 != 0 { standard.append("=") }
    return base64Decoded(String(standard))
}
