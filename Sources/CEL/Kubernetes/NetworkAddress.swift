/// An IPv4 or IPv6 address.
final class NetworkAddress: OpaqueValue {
    static let type = ValueType.named("net.IP")

    /// 4 or 16, in network order.
    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }

    init?(_ text: String) {
        guard let made = Self.four(Substring(text)) ?? Self.sixteen(text) else { return nil }
        bytes = made
    }

    private static func four(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var made: [UInt8] = []
        for part in parts {
            let isPlain = part.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
            guard isPlain, part.utf8.count <= 3, part == "0" || !part.hasPrefix("0"), let byte = UInt8(part) else {
                return nil
            }
            made.append(byte)
        }
        return made
    }

    private static func groups(_ text: Substring) -> [UInt8]? {
        if text.isEmpty { return [] }
        var made: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (place, part) in parts.enumerated() {
            if place == parts.count - 1, let four = four(part) {
                made += four
                continue
            }
            guard part.utf8.count <= 4, !part.hasPrefix("+"), let group = UInt16(part, radix: 16) else { return nil }
            made += [UInt8(group >> 8), UInt8(group & 255)]
        }
        return made
    }

    /// An IPv4 address written as IPv6 is refused, as is a zone.
    private static func sixteen(_ text: String) -> [UInt8]? {
        guard text.utf8.count <= 45, text.utf8.contains(58) else { return nil }
        var made: [UInt8]
        if let gap = TextSearch.first("::", in: text) {
            let head = Substring(text.prefix(gap))
            let tail = Substring(text.dropFirst(gap + 2))
            guard let head = groups(head), let tail = groups(tail), head.count + tail.count <= 14 else { return nil }
            made = head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
        } else {
            guard let all = groups(Substring(text)), all.count == 16 else { return nil }
            made = all
        }
        let isMapped = made[..<10].allSatisfy { $0 == 0 } && made[10] == 255 && made[11] == 255
        return isMapped ? nil : made
    }

    var type: ValueType { Self.type }
    func equals(_ other: any OpaqueValue) -> Bool { (other as? NetworkAddress)?.bytes == bytes }
    var size: Int { bytes.count }
    var isFour: Bool { bytes.count == 4 }

    /// As RFC 5952 writes it.
    var text: String {
        if isFour { return bytes.map { String($0) }.joined(separator: ".") }
        let groups = (0..<8).map { UInt16(bytes[$0 * 2]) << 8 | UInt16(bytes[$0 * 2 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        func shown(_ range: Range<Int>) -> String { groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
        if best.isEmpty { return shown(0..<8) }
        return shown(0..<best.lowerBound) + "::" + shown(best.upperBound..<8)
    }

    var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }

    var isLoopback: Bool { isFour ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1 }

    var isLinkLocalMulticast: Bool {
        isFour ? bytes[0] == 224 && bytes[1] == 0 && bytes[2] == 0 : bytes[0] == 255 && bytes[1] & 15 == 2
    }

    var isLinkLocalUnicast: Bool {
        isFour ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 254 && bytes[1] & 0xC0 == 0x80
    }

    private var isMulticast: Bool { isFour ? bytes[0] & 0xF0 == 224 : bytes[0] == 255 }

    var isGlobalUnicast: Bool {
        let isBroadcast = isFour && bytes.allSatisfy { $0 == 255 }
        return !isBroadcast && !isUnspecified && !isLoopback && !isMulticast && !isLinkLocalUnicast
    }
}

/// Addresses that start with the same bits.
final class NetworkRange: OpaqueValue {
    static let type = ValueType.named("net.CIDR")

    let address: NetworkAddress
    let length: Int

    init(_ address: NetworkAddress, _ length: Int) {
        self.address = address
        self.length = length
    }

    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = NetworkAddress(String(parts[0])), let length = UInt8(parts[1]),
            String(length) == parts[1], Int(length) <= address.bytes.count * 8
        else { return nil }
        self.address = address
        self.length = Int(length)
    }

    var type: ValueType { Self.type }

    func equals(_ other: any OpaqueValue) -> Bool {
        guard let other = other as? NetworkRange else { return false }
        return other.length == length && other.address.bytes == address.bytes
    }

    var size: Int { (length + 7) / 8 }
    var text: String { address.text + "/\(length)" }

    /// With all bits behind the first ones zero.
    var masked: NetworkRange { NetworkRange(NetworkAddress(bytes: Self.mask(address.bytes, length)), length) }

    private static func mask(_ bytes: [UInt8], _ length: Int) -> [UInt8] {
        bytes.enumerated().map { place, byte in
            let kept = min(8, max(0, length - place * 8))
            return kept == 8 ? byte : byte & ~(UInt8.max >> UInt8(kept))
        }
    }

    func contains(_ other: NetworkAddress) -> Bool {
        other.bytes.count == address.bytes.count
            && Self.mask(other.bytes, length) == Self.mask(address.bytes, length)
    }

    func contains(_ other: NetworkRange) -> Bool { other.length >= length && contains(other.address) }
}
