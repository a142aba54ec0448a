/// What a request says of the endpoint it should have, worked out once when it is routed.
struct Affinity {
    /// Of the parts of the request its backend hashes; 0 when it has none of them.
    var hash: UInt64 = 0
    /// The endpoint its session names, as this loop numbers them; -1 when there is none.
    var wanted: Int32 = -1
    /// Place among the table's carriers: the response tells the client its endpoint; -1 when it need not.
    var carrier: Int32 = -1
    /// Drawn for a client that has none yet.
    var number: UInt64 = 0
}

/// Why no endpoint could be picked.
enum NoEndpoint: UInt8 {
    case none, empty, ejected, unhealthy, elsewhere

    var reason: StaticString {
        switch self {
        case .none: "no_healthy_endpoint"
        case .empty: "no_endpoints"
        case .ejected: "all_ejected"
        case .unhealthy: "all_unhealthy"
        case .elsewhere: "no_local_endpoint"
        }
    }
}
