/// `10.0.0.0/8`, or one IPv4 address.
package struct AddressRange: Sendable, Hashable {
    /// In host order, without the bits that do not matter.
    package var address: UInt32
    package var mask: UInt32

    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first else { return nil }
        var length = 32
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...32).contains(given) else { return nil }
            length = given
        }
        let numbers = first.split(separator: ".", omittingEmptySubsequences: false)
        guard numbers.count == 4 else { return nil }
        var value: UInt32 = 0
        for number in numbers {
            guard number.utf8.count <= 3, let byte = UInt8(number) else { return nil }
            value = value << 8 | UInt32(byte)
        }
        mask = length == 0 ? 0 : UInt32.max << UInt32(32 - length)
        address = value & mask
    }

    package func contains(_ other: UInt32) -> Bool { other & mask == address }
}
