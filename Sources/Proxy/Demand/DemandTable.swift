import Loop
import ProxyResources

/// What a loop needs of a proxy that holds what it uses; part of its routing table.
struct DemandTable {
    var isOn = false
    /// From addresses asked for to their places among the counts of use.
    var known: AddressIndex
    /// Where the mesh's addresses are; none: anywhere.
    var ranges: UnsafeMutablePointer<BlockEntry>
    var rangeCount: Int

    init(_ configuration: ProxyConfiguration, places: [String: Int16], in memory: TableMemory) {
        var entries: [(address: UInt32, port: UInt16, value: Int32)] = []
        for (key, place) in places {
            guard let address = SocketAddress(key) else { continue }
            entries.append((address.address.value, address.port, Int32(place)))
        }
        isOn = configuration.workload.loading.mode == .onDemand
        known = AddressIndex(entries, in: memory)
        let blocks = configuration.workload.loading.ranges.compactMap(AddressRange.init).map {
            BlockEntry(address: $0.address, mask: $0.mask)
        }
        ranges = memory.keep(blocks)
        rangeCount = blocks.count
    }

    /// Whether a destination of the mesh could have the address.
    func covers(_ address: UInt32) -> Bool {
        if rangeCount == 0 { return true }
        for place in 0..<rangeCount where address & ranges[place].mask == ranges[place].address { return true }
        return false
    }
}
