/// Percent-encoding (RFC 3986 §2.1).
package enum PercentText {
    private static let digits = Array("0123456789ABCDEF".utf8)

    /// Encodes all but unreserved characters (RFC 3986 §2.3).
    package static func encode(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for byte in bytes {
            if isUnreserved(byte) {
                out.append(byte)
            } else {
                out += [37, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return out
    }

    /// Takes a form's encoding off (`+` is a space); what is not well encoded stays as it is.
    package static func decodeForm(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        var place = 0
        while place < bytes.count {
            if bytes[place] == 37, place + 2 < bytes.count, let high = digit(bytes[place + 1]),
                let low = digit(bytes[place + 2])
            {
                out.append(high << 4 | low)
                place += 3
            } else {
                out.append(bytes[place] == 43 ? 32 : bytes[place])
                place += 1
            }
        }
        return out
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 95, 126: true
        default: false
        }
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
}
