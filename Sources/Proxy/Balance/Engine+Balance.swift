import COpenSSL
import Glibc
import Loop
import ProxyResources
import TLS

extension Engine {
    /// Picks by weight among a rule's backends; -1 when the rule has none or its share goes to one that does not exist.
    mutating func pickBackend(_ arrays: TableView, _ rule: RuleEntry) -> (
        backend: Int32, weight: Int32, isUnresolved: Bool
    ) {
        if rule.totalWeight == 0 { return (-1, -1, false) }
        let start = Int(rule.backends.start)
        if rule.backends.count == 1 {
            let only = arrays.pointee.weights[start]
            return (only.backend, rule.backends.start, only.isUnresolved)
        }
        var drawn = shares.below(rule.totalWeight)
        for place in start..<start + Int(rule.backends.count) {
            let entry = arrays.pointee.weights[place]
            if drawn < entry.weight { return (entry.backend, Int32(place), entry.isUnresolved) }
            drawn -= entry.weight
        }
        return (-1, -1, false)
    }

    /// The less busy of two endpoints drawn at random, leaving out those that just failed while others are left.
    ///
    /// `client`: whose affinity counts. -1 when there is none, and `noEndpoint` says why.
    mutating func pickEndpoint(
        _ table: UnsafeMutablePointer<LiveTable>, _ backend: Int32, for client: Conn? = nil, not excluded: Int32 = -1
    ) -> Int32 {
        let entry = table.pointee.arrays.pointee.backends[Int(backend)]
        if entry.balance >= 0 {
            return pickBalanced(table, entry.balance, client?.pointee.affinity ?? Affinity(), not: excluded)
        }
        let members = entry.members
        if members.count == 0 {
            noEndpoint = .empty
            return -1
        }
        let list = table.pointee.arrays.pointee.members + Int(members.start)
        let slots = table.pointee.slots
        if let wanted = client?.pointee.affinity.wanted, wanted >= 0, isWell(wanted, not: excluded) { return wanted }
        if members.count == 1 { return slots[Int(list[0])] }
        let count = UInt32(members.count)
        let first = chance.below(count)
        var second = chance.below(count &- 1)
        if second >= first { second &+= 1 }
        let one = slots[Int(list[Int(first)])]
        let other = slots[Int(list[Int(second)])]
        let oneWell = endpoints[Int(one)].avoidedUntil <= now && one != excluded
        let otherWell = endpoints[Int(other)].avoidedUntil <= now && other != excluded
        if oneWell && otherWell { return endpoints[Int(one)].active <= endpoints[Int(other)].active ? one : other }
        if oneWell { return one }
        if otherWell { return other }
        var place = Int(first)
        for _ in 0..<Int(count) {
            let slot = slots[Int(list[place])]
            if endpoints[Int(slot)].avoidedUntil <= now && slot != excluded { return slot }
            place = place + 1 == Int(count) ? 0 : place + 1
        }
        return one == excluded ? other : one
    }

    // MARK: configuration

    /// Takes a new table: requests from now on follow it, those in flight end by the old one.
    mutating func configure(_ new: RoutingTable) {
        let arrays = new.arrays
        let live = UnsafeMutablePointer<LiveTable>.allocate(capacity: 1)
        let slots = UnsafeMutablePointer<Int32>.allocate(capacity: max(1, arrays.pointee.endpointCount))
        let pools = UnsafeMutablePointer<LivePool>.allocate(capacity: max(1, arrays.pointee.balance.entryCount))
        pools.initialize(repeating: LivePool(), count: arrays.pointee.balance.entryCount)
        live.initialize(
            to: LiveTable(
                table: .passRetained(new), arrays: arrays, slots: slots, pools: pools,
                server: new.credentials?.server, client: new.credentials?.client))
        let old = table
        var oldPlace = 0
        let oldCount = old?.pointee.arrays.pointee.endpointCount ?? 0
        for place in 0..<arrays.pointee.endpointCount {
            let entry = arrays.pointee.endpoints[place]
            while let old, oldPlace < oldCount, old.pointee.arrays.pointee.endpoints[oldPlace].number < entry.number {
                oldPlace += 1
            }
            if let old, oldPlace < oldCount, old.pointee.arrays.pointee.endpoints[oldPlace].number == entry.number,
                old.pointee.slots[oldPlace] != Self.nowhere
            {
                slots[place] = old.pointee.slots[oldPlace]
                endpoints[Int(slots[place])].references &+= 1
                endpoints[Int(slots[place])].place = entry.place
            } else {
                slots[place] = addEndpoint(entry, arrays)
            }
            endpoints[Int(slots[place])].appProtocol = entry.appProtocol
        }
        table = live
        sharing = arrays.pointee.sharing
        for (place, slot) in localEndpoints { tellProtocol(slot, port: UInt16(truncatingIfNeeded: place)) }
        if let old {
            if old.pointee.client != live.pointee.client { forgetSessions() }
            retire(old)
        }
        counts.generation = new.generation
        history.resize(bytes: arrays.pointee.telemetry.pointee.ringBytes)
        grant(new.clientLimits)
        follow(new.gateways)
        followHealth()
        cutOffRevoked()
    }

    /// Stands for an endpoint there is no room for: connections to it fail at once.
    static var nowhere: Int32 { 0 }

    private mutating func newSlot() -> Int32 {
        var slot = freeEndpoint
        if slot >= 0 {
            freeEndpoint = endpoints[Int(slot)].nextFree
        } else {
            guard Int(topEndpoint) < Limits.endpoints else {
                // No configuration is let in that needs more; pods' own ports and connections that linger may, for a moment.
                log("no room for one more endpoint: requests to it will fail", level: "error")
                return Self.nowhere
            }
            slot = topEndpoint
            topEndpoint &+= 1
        }
        (endpoints + Int(slot)).initialize(to: LiveEndpoint())
        endpoints[Int(slot)].isUsed = true
        endpoints[Int(slot)].references = 1
        return slot
    }

    private mutating func addEndpoint(_ entry: EndpointEntry, _ arrays: TableView) -> Int32 {
        let slot = newSlot()
        if slot == Self.nowhere { return slot }
        let endpoint = endpoints + Int(slot)
        endpoint.pointee.address = entry.address
        endpoint.pointee.port = entry.port
        endpoint.pointee.labels = entry.labels
        endpoint.pointee.label = entry.label
        endpoint.pointee.identity = entry.identity
        endpoint.pointee.place = entry.place
        if entry.principal.count > 0 {
            let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(entry.principal.count))
            memcpy(copy, arrays.pointee.text + Int(entry.principal.offset), Int(entry.principal.count))
            endpoint.pointee.principal = copy
            endpoint.pointee.principalLength = entry.principal.count
        }
        endpoint.pointee.proxyProtocol = entry.proxyProtocol
        endpoint.pointee.isUnspeakable = entry.wantsTLS && entry.origination == nil
        endpoint.pointee.origination = entry.origination?.retain()
        return slot
    }

    /// The app in this pod, at one port.
    mutating func localEndpoint(_ address: UInt32, _ port: UInt16) -> Int32 {
        let place = UInt64(address) << 16 | UInt64(port)
        if let slot = localEndpoints[place] { return slot }
        if localEndpoints.count >= Limits.localEndpoints { forgetIdleLocalEndpoints() }
        let slot = newSlot()
        if slot == Self.nowhere { return slot }
        endpoints[Int(slot)].address = address
        endpoints[Int(slot)].port = port
        localEndpoints[place] = slot
        tellProtocol(slot, port: port)
        return slot
    }

    /// What the app in this pod speaks at a port.
    private func tellProtocol(_ slot: Int32, port: UInt16) {
        endpoints[Int(slot)].appProtocol = inboundPort(port)?.appProtocol ?? .unknown
    }

    /// Anyone may call any port of a pod; only ports in use are remembered.
    private mutating func forgetIdleLocalEndpoints() {
        for (place, slot) in localEndpoints
        where endpoints[Int(slot)].connections == 0 && endpoints[Int(slot)].active == 0 {
            localEndpoints[place] = nil
            endpoints[Int(slot)].references = 0
            freeIfGone(slot)
        }
    }

    /// Marks a table as past; it goes when its last request has ended.
    mutating func retire(_ old: UnsafeMutablePointer<LiveTable>) {
        old.pointee.isCurrent = false
        if old.pointee.users == 0 { dispose(old) }
    }

    mutating func leave(_ used: UnsafeMutablePointer<LiveTable>) {
        used.pointee.users -= 1
        if used.pointee.users == 0 && !used.pointee.isCurrent { dispose(used) }
    }

    private mutating func dispose(_ old: UnsafeMutablePointer<LiveTable>) {
        for place in 0..<old.pointee.arrays.pointee.endpointCount {
            let slot = old.pointee.slots[place]
            let endpoint = endpoints + Int(slot)
            if slot == Self.nowhere { continue }
            endpoint.pointee.references &-= 1
            if endpoint.pointee.references == 0 {
                let idle = closeIdle(endpoint)
                for place in idle { close(slab + Int(place)) }
                retireSessions(endpoint)
                freeIfGone(slot)
            }
        }
        old.pointee.slots.deallocate()
        for place in 0..<old.pointee.arrays.pointee.balance.entryCount { old.pointee.pools[place].deallocate() }
        old.pointee.pools.deallocate()
        old.pointee.table.release()
        old.deallocate()
    }

    mutating func freeIfGone(_ slot: Int32) {
        let endpoint = endpoints + Int(slot)
        guard endpoint.pointee.isUsed, endpoint.pointee.references == 0, endpoint.pointee.connections == 0,
            endpoint.pointee.active == 0
        else { return }
        if let principal = endpoint.pointee.principal { principal.deallocate() }
        if let session = endpoint.pointee.session { SSL_SESSION_free(session) }
        endpoint.pointee.isUsed = false
        endpoint.pointee.principal = nil
        endpoint.pointee.origination?.release()
        endpoint.pointee.origination = nil
        endpoint.pointee.session = nil
        endpoint.pointee.nextFree = freeEndpoint
        freeEndpoint = slot
    }

    /// New credentials: requests on connections made with the old ones go on, but nothing new does: idle connections end, those that
    /// carry streams take no more, and TLS sessions are not resumed.
    private mutating func forgetSessions() {
        for slot in 0..<Int(topEndpoint) {
            if let session = endpoints[slot].session { SSL_SESSION_free(session) }
            endpoints[slot].session = nil
            if endpoints[slot].principal == nil { continue }
            retireSessions(endpoints + slot)
            for place in closeIdle(endpoints + slot) { close(slab + Int(place)) }
        }
    }
}
