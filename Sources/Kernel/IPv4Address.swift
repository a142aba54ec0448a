/// An IPv4 address. `bits` is in host byte order: 10.0.0.1 is 0x0a000001.
package struct IPv4Address: Sendable, Hashable, Comparable, LosslessStringConvertible {
    package var bits: UInt32

    package init(bits: UInt32) { self.bits = bits }

    package init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        bits = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
    }

    /// Four decimal numbers without leading zeros; nothing else.
    package init?(_ text: String) {
        var bits: UInt32 = 0
        var octet: UInt32?
        var octets = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: ".") {
                guard let done = octet, octets < 3 else { return nil }
                bits = bits << 8 | done
                octets += 1
                octet = nil
            } else {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), octet != 0 else { return nil }
                let next = (octet ?? 0) * 10 + UInt32(byte - UInt8(ascii: "0"))
                guard next <= 255 else { return nil }
                octet = next
            }
        }
        guard octets == 3, let last = octet else { return nil }
        self.bits = bits << 8 | last
    }

    package var octets: [UInt8] {
        [
            UInt8(truncatingIfNeeded: bits >> 24), UInt8(truncatingIfNeeded: bits >> 16),
            UInt8(truncatingIfNeeded: bits >> 8), UInt8(truncatingIfNeeded: bits),
        ]
    }

    package var description: String { "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)" }

    package static func < (one: IPv4Address, other: IPv4Address) -> Bool { one.bits < other.bits }
}

/// A block of addresses, `10.244.1.0/24`, or an address with its prefix length, `10.244.1.1/24`.
package struct IPv4Range: Sendable, Hashable, LosslessStringConvertible {
    package var address: IPv4Address
    package var prefixLength: Int  // 0...32

    package init(_ address: IPv4Address, prefixLength: Int) {
        precondition((0...32).contains(prefixLength), "an IPv4 prefix has 0 to 32 bits")
        self.address = address
        self.prefixLength = prefixLength
    }

    /// `a.b.c.d/n`; a plain address is a range of one.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPv4Address(String(first)) else { return nil }
        var prefixLength = 32
        if parts.count == 2 {
            guard let length = Int(parts[1]), (0...32).contains(length) else { return nil }
            prefixLength = length
        }
        self.init(address, prefixLength: prefixLength)
    }

    private var mask: UInt32 { prefixLength == 0 ? 0 : UInt32.max << UInt32(32 - prefixLength) }

    /// The range's first address.
    package var base: IPv4Address { IPv4Address(bits: address.bits & mask) }
    package var count: Int { 1 << (32 - prefixLength) }

    package func contains(_ other: IPv4Address) -> Bool { other.bits & mask == address.bits & mask }

    package var description: String { "\(address)/\(prefixLength)" }
}

/// An Ethernet address.
package struct MACAddress: Sendable, Hashable, CustomStringConvertible {
    package var octets: [UInt8]  // 6

    /// A locally administered address made from an IPv4 address, so that it is the same each time.
    package init(for address: IPv4Address) { octets = [0x0a, 0x57] + address.octets }

    package init?(octets: [UInt8]) {
        guard octets.count == 6 else { return nil }
        self.octets = octets
    }

    package var description: String {
        octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
