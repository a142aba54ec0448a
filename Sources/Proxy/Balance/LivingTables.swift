/// The tables some loop may still use: old ones go when their last request has ended, and until then their endpoints have places in
/// every loop.
struct LivingTables {
    private struct Held {
        weak var table: RoutingTable?
    }
    private var held: [Held] = []
    /// Kept here too, so that the endpoints' places on the health board are theirs until the next table names them.
    private var last: RoutingTable?

    /// Room in a loop, less what pods' own ports and connections being closed may take.
    static let room = Limits.endpoints - Limits.localEndpoints - 4096

    /// Takes a new table in.
    /// - Throws: when a loop would not have room for its endpoints beside those of tables still in use.
    mutating func admit(_ table: RoutingTable) throws(ConfigurationFault) {
        let living = held.compactMap(\.table)
        let total = living.reduce(table.arrays.pointee.endpointCount) { $0 + $1.arrays.pointee.endpointCount }
        if total > Self.room {
            var numbers: Set<UInt64> = []
            for one in living + [table] {
                for place in 0..<one.arrays.pointee.endpointCount {
                    numbers.insert(one.arrays.pointee.endpoints[place].number)
                }
            }
            if numbers.count > Self.room {
                throw ConfigurationFault(
                    "\(table.arrays.pointee.endpointCount) endpoints, beside those that requests in flight by earlier configurations still use, are more than \(Self.room)"
                )
            }
        }
        held = living.map { Held(table: $0) } + [Held(table: table)]
        last = table
    }
}
