package import Wire

/// How much of the mesh a proxy holds.
package struct Loading: Sendable, Hashable {
    package enum Mode: String, Sendable, Hashable {
        /// Every destination there is.
        case all = ""
        /// What it uses: a destination is asked for when the first connection to it comes, and dropped when it is not used any more.
        case onDemand = "ON_DEMAND"
    }
    package var mode: Mode
    /// A destination without a connection for so long is dropped.
    package var idleSeconds: Int
    /// Blocks of IPv4 addresses in which all destinations of the mesh are; what is outside needs no asking. Empty: anywhere.
    package var ranges: [String]

    package static let idleSeconds = 600
    package static let idleBounds = 1...604_800

    package init(_ mode: Mode = .all, idleSeconds: Int = Loading.idleSeconds, ranges: [String] = []) {
        self.mode = mode
        self.idleSeconds = idleSeconds
        self.ranges = ranges
    }
}

extension Loading {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            try fields.word("mode", or: .all),
            idleSeconds: try fields.integer("idleSeconds", in: Self.idleBounds) ?? Self.idleSeconds,
            ranges: try fields.strings("ranges"))
        for (index, range) in ranges.enumerated() where AddressRange(range) == nil {
            throw fields.fault("ranges[\(index)]", "is \"\(range)\", must be a block of IPv4 addresses")
        }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("mode", mode.rawValue)
        out.write("idleSeconds", idleSeconds == Self.idleSeconds ? nil : idleSeconds)
        out.write("ranges", ranges)
        return out.json
    }
}
