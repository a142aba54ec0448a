/// An IPv4 address in host order.
package struct IPv4: Sendable, Hashable, CustomStringConvertible {
    package var value: UInt32
    package init(_ value: UInt32) { self.value = value }

    /// Parses `10.0.0.1`: four decimal numbers below 256, without leading zeros.
    package init?(_ text: String) {
        var value: UInt32 = 0
        var parts = 0
        for part in text.split(separator: ".", omittingEmptySubsequences: false) {
            guard !part.isEmpty, part.utf8.count <= 3, part.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
                let number = UInt32(part),
                number < 256, part.utf8.count == 1 || part.utf8.first != 48
            else { return nil }
            value = value << 8 | number
            parts += 1
        }
        guard parts == 4 else { return nil }
        self.value = value
    }

    package static let loopback = IPv4(0x7F00_0001)
    package static let any = IPv4(0)

    package var description: String { "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)" }
}
