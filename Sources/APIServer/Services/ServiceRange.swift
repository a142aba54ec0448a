import KubeTypes

/// The cluster addresses and node ports services may have.
struct ServiceRange: Sendable {
    private let base: UInt32
    private let size: UInt32
    private let reserved: Set<UInt32>
    let nodePorts: ClosedRange<Int>
    let text: String

    /// - Parameters:
    ///   - text: `10.96.0.0/16`.
    ///   - reserved: addresses given only to those who ask for them by name: the API's and the DNS's.
    init(_ text: String, reserved: [String], nodePorts: ClosedRange<Int> = 30000...32767) throws(APIFailure) {
        let parts = text.split(separator: "/")
        guard parts.count == 2, let base = Self.address(String(parts[0])), let bits = Int(parts[1]),
            (8...30).contains(bits)
        else {
            throw .internalError("service range \(text) is not an IPv4 range such as 10.96.0.0/16")
        }
        self.text = text
        size = 1 << UInt32(32 - bits)
        self.base = base & ~(size - 1)
        self.reserved = Set(reserved.compactMap(Self.address))
        self.nodePorts = nodePorts
    }

    func contains(_ address: UInt32) -> Bool { address > base && address - base < size - 1 }

    /// Addresses in the order they are tried for a service that asks for none.
    var candidates: some Sequence<UInt32> {
        // Neither the network's own nor the broadcast address.
        let lower = Self.lower(of: Int(size), share: 16, most: 256)
        let (base, reserved) = (base, reserved)
        return Self.places(of: Int(size) - 2, lower: lower).lazy.map { base + 1 + UInt32($0) }
            .filter { !reserved.contains($0) }
    }

    var portCandidates: some Sequence<Int> {
        let (first, lower) = (nodePorts.lowerBound, Self.lower(of: nodePorts.count, share: 32, most: 128))
        return Self.places(of: nodePorts.count, lower: lower).lazy.map { first + $0 }
    }

    /// How many places at a range's start are left to those who ask by name (KEP-3070, KEP-3668).
    private static func lower(of size: Int, share: Int, most: Int) -> Int {
        size <= 16 ? 0 : min(max(size / share, 16), most)
    }

    /// All places from 0, the upper ones first, each part from somewhere on and once around.
    private static func places(of count: Int, lower: Int) -> some Sequence<Int> {
        let upper = count - lower
        let starts = (upper: Int.random(in: 0..<max(1, upper)), lower: Int.random(in: 0..<max(1, lower)))
        return (0..<count).lazy.map { step in
            step < upper ? lower + (starts.upper + step) % upper : (starts.lower + step - upper) % lower
        }
    }

    static func address(_ text: String) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part) else { return nil }
            value = value << 8 | UInt32(byte)
        }
        return value
    }

    static func text(_ address: UInt32) -> String {
        "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
    }
}
