package import Kernel

/// One element of one of the table's maps and sets. Two elements of the same map may not have the same `key`.
package enum RuleElement: Sendable, Hashable {
    /// How a frontend's connections are spread.
    case dispatch(Frontend, Dispatch)
    /// The backend in a frontend's slot, or behind one of its sticky numbers.
    case backend(Frontend, UInt32, Backend)
    /// The sticky number of the backend in a slot of a frontend with affinity.
    case sticky(Frontend, UInt32, number: UInt32)
    /// A frontend nobody is behind.
    case refused(Frontend)
    /// A backend that may meet itself through a service.
    case hairpin(IPv4Address)

    var collection: Collection {
        switch self {
        case .dispatch: .dispatch
        case .backend: .backends
        case .sticky: .stickyNumbers
        case .refused: .refused
        case .hairpin: .hairpins
        }
    }

    enum Collection: String, CaseIterable, Sendable {
        case dispatch, backends, stickyNumbers = "sticky_numbers", refused, hairpins
    }

    var key: String {
        switch self {
        case .dispatch(let frontend, _), .refused(let frontend): frontend.nft
        case .backend(let frontend, let slot, _), .sticky(let frontend, let slot, _): "\(frontend.nft) . \(slot)"
        case .hairpin(let address): "\(address) . \(address)"
        }
    }

    /// As an `add element` writes it.
    var text: String {
        switch self {
        case .dispatch(_, let dispatch): "\(key) : \(dispatch.code)"
        case .backend(_, _, let backend): "\(key) : \(backend.address) . \(backend.port)"
        case .sticky(_, _, let number): "\(key) : \(number)"
        case .refused, .hairpin: key
        }
    }
}

extension Frontend {
    fileprivate var nft: String { "\(address) . \(transport.number) . \(port)" }
}

/// A way to spread connections. Frontends with the same way share one chain of the table; the number of ways does not grow
/// with the number of services.
package struct Dispatch: Sendable, Hashable, Comparable {
    package var count: Int  // 1...limit
    package var masquerades: Bool
    package var affinity: Int?  // seconds, up to 86,400

    /// More backends than this get no connections.
    package static let limit = 4095

    /// The number standing for it in the dispatch map: count in the low 12 bits, then the masquerade bit, then 17 bits of seconds.
    var code: UInt32 { UInt32(count) | (masquerades ? 1 << 12 : 0) | UInt32(affinity ?? 0) << 13 }

    var chain: String {
        "spread-\(count)" + (masquerades ? "-masquerade" : "") + (affinity.map { "-sticky-\($0)" } ?? "")
    }

    package static func < (one: Dispatch, other: Dispatch) -> Bool { one.code < other.code }
}
