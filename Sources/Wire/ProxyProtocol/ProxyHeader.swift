/// What a PROXY protocol header says of the connection it stands before, versions 1 and 2.
///
/// - Source: The PROXY protocol, versions 1 & 2 (HAProxy), §2.1 and §2.2.
package struct ProxyHeader: Equatable {
    package var length: Int
    /// Of the client, in host order; `nil` when the sender speaks for itself, 0 when the client's is no IPv4 address.
    package var source: UInt32?
    package var sourcePort: UInt16

    package init(length: Int, source: UInt32?, sourcePort: UInt16) {
        self.length = length
        self.source = source
        self.sourcePort = sourcePort
    }

    package enum Look: Equatable {
        case needMore
        case invalid
        case header(ProxyHeader)
    }

    /// With the CRLF.
    package static let longestText = 107
    /// With additions (TLVs) this reads past.
    package static let longestBinary = 16 + 1024

    package static func look(at bytes: UnsafePointer<UInt8>, _ count: Int) -> Look {
        let isText = matches(bytes, min(count, 6), "PROXY ")
        if isText { return count < 8 ? .needMore : text(bytes, count) }
        let isBinary = matches(bytes, min(count, 12), "\r\n\r\n\0\r\nQUIT\n")
        if isBinary { return count < 16 ? .needMore : binary(bytes, count) }
        return .invalid
    }

    /// Whether these bytes are, or begin, one of the two signatures.
    static func begins(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        matches(bytes, min(count, 6), "PROXY ") || matches(bytes, min(count, 12), "\r\n\r\n\0\r\nQUIT\n")
    }

    private static func matches(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
        for place in 0..<count where bytes[place] != word.utf8Start[place] { return false }
        return true
    }

    private static func text(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Look {
        var end = 0
        while end + 1 < min(count, longestText), !(bytes[end] == 13 && bytes[end + 1] == 10) { end += 1 }
        guard end + 1 < count, bytes[end] == 13, bytes[end + 1] == 10 else {
            return count >= longestText ? .invalid : .needMore
        }
        let line = UnsafeBufferPointer(start: bytes, count: end)
        let words = line.split(separator: 32, omittingEmptySubsequences: false)
        let length = end + 2
        guard words.count >= 2 else { return .invalid }
        if words[1].elementsEqual("UNKNOWN".utf8) {
            return .header(ProxyHeader(length: length, source: nil, sourcePort: 0))
        }
        guard words.count == 6, let from = port(words[4]), port(words[5]) != nil else { return .invalid }
        if words[1].elementsEqual("TCP6".utf8) {
            let isAddress = words[2].allSatisfy { $0 == 58 || $0 == 46 || isHexadecimal($0) } && words[2].contains(58)
            return isAddress ? .header(ProxyHeader(length: length, source: 0, sourcePort: from)) : .invalid
        }
        guard words[1].elementsEqual("TCP4".utf8), let source = address(words[2]), address(words[3]) != nil else {
            return .invalid
        }
        return .header(ProxyHeader(length: length, source: source, sourcePort: from))
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...102).contains(byte | 0x20)
    }

    private static func port(_ word: Slice<UnsafeBufferPointer<UInt8>>) -> UInt16? {
        guard (1...5).contains(word.count), word.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return UInt16(String(decoding: word, as: UTF8.self))
    }

    private static func address(_ word: Slice<UnsafeBufferPointer<UInt8>>) -> UInt32? {
        let parts = word.split(separator: 46, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (48...57).contains($0) }),
                let byte = UInt8(String(decoding: part, as: UTF8.self))
            else { return nil }
            number = number << 8 | UInt32(byte)
        }
        return number
    }

    private static func binary(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Look {
        guard bytes[12] >> 4 == 2 else { return .invalid }
        let length = 16 + (Int(bytes[14]) << 8 | Int(bytes[15]))
        if length > longestBinary { return .invalid }
        if count < length { return .needMore }
        func number(_ at: Int) -> UInt32 {
            UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
        }
        switch (bytes[12] & 15, bytes[13]) {
        case (0, _): return .header(ProxyHeader(length: length, source: nil, sourcePort: 0))  // LOCAL
        case (1, 0x11):
            guard length >= 16 + 12 else { return .invalid }
            let from = UInt16(bytes[24]) << 8 | UInt16(bytes[25])
            return .header(ProxyHeader(length: length, source: number(16), sourcePort: from))
        case (1, 0x21):
            guard length >= 16 + 36 else { return .invalid }
            return .header(
                ProxyHeader(length: length, source: 0, sourcePort: UInt16(bytes[48]) << 8 | UInt16(bytes[49])))
        // Sockets of another kind, or of none: the client's address is not told.
        case (1, 0x00), (1, 0x12), (1, 0x22), (1, 0x31), (1, 0x32):
            return .header(ProxyHeader(length: length, source: 0, sourcePort: 0))
        default: return .invalid
        }
    }

    /// Writes a header for an IPv4 connection; at most `longestText` bytes.
    /// - Returns: its length.
    package static func write(
        isText: Bool, source: UInt32, sourcePort: UInt16, destination: UInt32, destinationPort: UInt16,
        into out: UnsafeMutablePointer<UInt8>
    ) -> Int {
        var bytes: [UInt8]
        if isText {
            bytes = Array(
                "PROXY TCP4 \(written(source)) \(written(destination)) \(sourcePort) \(destinationPort)\r\n".utf8)
        } else {
            bytes = Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x21, 0x11, 0, 12]
            for number in [source, destination] {
                for shift: UInt32 in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
            }
            for port in [sourcePort, destinationPort] { bytes += [UInt8(port >> 8), UInt8(port & 255)] }
        }
        for (place, byte) in bytes.enumerated() { out[place] = byte }
        return bytes.count
    }

    private static func written(_ address: UInt32) -> String {
        "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
    }
}
