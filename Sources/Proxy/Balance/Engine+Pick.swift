import Loop
import ProxyResources
import Synchronization

extension Engine {
    /// An endpoint for one request to a balanced backend; -1 when none can be used, and `noEndpoint` says why.
    mutating func pickBalanced(
        _ table: UnsafeMutablePointer<LiveTable>, _ place: Int32, _ affinity: Affinity, not excluded: Int32
    ) -> Int32 {
        let entry = table.pointee.arrays.pointee.balance.entries + Int(place)
        let pool = freshPool(table, place, entry)
        guard pool.pointee.nothing == .none, let levels = pool.pointee.levels else {
            noEndpoint = pool.pointee.nothing
            return -1
        }
        if affinity.wanted >= 0 && isWell(affinity.wanted, not: excluded) && isUsable(affinity.wanted) {
            return affinity.wanted
        }
        let isHashing = entry.pointee.inputs.count > 0 && affinity.hash != 0
        var chosen = 0
        if levels[0].upTo < 65536 {
            let drawn =
                isHashing ? UInt32(StableHash.mix(affinity.hash) & 0xFFFF) : chance.below(65536)
            while chosen < Int(entry.pointee.levels.count) - 1 && drawn >= levels[chosen].upTo { chosen += 1 }
        }
        let level = levels[chosen]
        var slot: Int32 = -1
        if isHashing {
            slot = hashed(table, entry, chosen, affinity.hash, isPanicking: level.isPanicking, not: excluded)
        } else if level.count > 0, let candidates = pool.pointee.candidates {
            slot = drawn(entry, pool, candidates + Int(level.start), level)
        }
        if slot >= 0 && isWell(slot, not: excluded) { return slot }
        return another(entry, pool, chosen, not: excluded)
    }

    @inline(__always)
    func isWell(_ slot: Int32, not excluded: Int32) -> Bool {
        slot != excluded && endpoints[Int(slot)].avoidedUntil <= now
    }

    @inline(__always)
    private func isUsable(_ slot: Int32) -> Bool {
        let place = endpoints[Int(slot)].place
        return place < 0 || records[Int(place)].awayUntil.load(ordering: .relaxed) <= now
    }

    /// By the backend's algorithm, whatever has just failed.
    private mutating func drawn(
        _ entry: UnsafeMutablePointer<BalanceEntry>, _ pool: UnsafeMutablePointer<LivePool>,
        _ candidates: UnsafeMutablePointer<Candidate>, _ level: LiveLevel
    ) -> Int32 {
        let count = UInt32(bitPattern: level.count)
        if count == 1 { return candidates[0].slot }
        switch entry.pointee.algorithm {
        case .roundRobin:
            if !level.isUniform {
                return candidates[find(pool.pointee.shares.below(level.total), candidates, count)].slot
            }
            pool.pointee.cursor = (pool.pointee.cursor &+ 1) % count
            return candidates[Int(pool.pointee.cursor)].slot
        case .random, .ringHash, .maglev: return candidates[draw(candidates, level, count)].slot
        case .leastRequest, .peakEWMA:
            let first = draw(candidates, level, count)
            var second = draw(candidates, level, count)
            if second == first { second = first + 1 == Int(count) ? 0 : first + 1 }
            let one = candidates[first].slot
            let other = candidates[second].slot
            if endpoints[Int(one)].avoidedUntil > now { return other }
            if endpoints[Int(other)].avoidedUntil > now { return one }
            if entry.pointee.algorithm == .leastRequest {
                return endpoints[Int(one)].active <= endpoints[Int(other)].active ? one : other
            }
            return cost(one, entry) <= cost(other, entry) ? one : other
        }
    }

    @inline(__always)
    private func cost(_ slot: Int32, _ entry: UnsafeMutablePointer<BalanceEntry>) -> Double {
        let endpoint = endpoints + Int(slot)
        return endpoint.pointee.latency.cost(active: endpoint.pointee.active, at: now, decay: entry.pointee.decay)
    }

    @inline(__always)
    private mutating func draw(_ candidates: UnsafeMutablePointer<Candidate>, _ level: LiveLevel, _ count: UInt32)
        -> Int
    {
        if level.isUniform { return Int(chance.below(count)) }
        return find(chance.below(level.total), candidates, count)
    }

    /// The candidate whose part of the weights a number below their sum is in.
    private func find(_ number: UInt32, _ candidates: UnsafeMutablePointer<Candidate>, _ count: UInt32) -> Int {
        var low = 0
        var high = Int(count) - 1
        while low < high {
            let middle = (low &+ high) >> 1
            if candidates[middle].upTo <= number { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// The owner of a hash, or of the next one on, if it cannot take the request; -1 when it takes too long to find one.
    private func hashed(
        _ table: UnsafeMutablePointer<LiveTable>, _ entry: UnsafeMutablePointer<BalanceEntry>, _ chosen: Int,
        _ hash: UInt64, isPanicking: Bool, not excluded: Int32
    ) -> Int32 {
        let balance = table.pointee.arrays.pointee.balance
        let level = balance.levels[Int(entry.pointee.levels.start) + chosen]
        let count = Int(level.owners.count)
        if count == 0 { return -1 }
        let owners = balance.owners + Int(level.owners.start)
        let members = balance.members + Int(level.members.start)
        let isRing = level.points >= 0
        var at =
            isRing
            ? HashRing.find(UInt32(truncatingIfNeeded: hash >> 32), in: balance.points + Int(level.points), count)
            : Int(hash % UInt64(count))
        var next = hash
        for _ in 0..<256 {
            let member = members[Int(owners[at])]
            let slot = table.pointee.slots[Int(member.endpoint)]
            if isWell(slot, not: excluded) && (isPanicking || awayUntil(member) <= now) { return slot }
            if isRing {
                at = at + 1 == count ? 0 : at + 1
            } else {
                next = StableHash.mix(next &+ 0x9E37_79B9_7F4A_7C15)
                at = Int(next % UInt64(count))
            }
        }
        return -1
    }

    /// Any that has not just failed, the chosen level's first; and when all have, one of them all the same.
    private mutating func another(
        _ entry: UnsafeMutablePointer<BalanceEntry>, _ pool: UnsafeMutablePointer<LivePool>, _ chosen: Int,
        not excluded: Int32
    ) -> Int32 {
        guard let candidates = pool.pointee.candidates, let levels = pool.pointee.levels else { return -1 }
        var fallback: Int32 = -1
        let levelCount = Int(entry.pointee.levels.count)
        for turn in 0...levelCount {
            let place = turn == 0 ? chosen : turn - 1
            let level = levels[place]
            if level.count == 0 || (turn > 0 && place == chosen) { continue }
            var at = Int(chance.below(UInt32(bitPattern: level.count)))
            for _ in 0..<Int(level.count) {
                let slot = candidates[Int(level.start) + at].slot
                if isWell(slot, not: excluded) { return slot }
                if fallback < 0 || fallback == excluded { fallback = slot }
                at = at + 1 == Int(level.count) ? 0 : at + 1
            }
        }
        if fallback < 0 { noEndpoint = .ejected }
        return fallback
    }
}
