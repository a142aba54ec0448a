import Loop
import ProxyResources
import Synchronization

// What a loop keeps of each balanced backend: who can be chosen now, and with what share.
extension Engine {
    /// Whether a pool no longer says who is well.
    @inline(__always)
    private func isStale(_ pool: UnsafeMutablePointer<LivePool>, _ entry: UnsafeMutablePointer<BalanceEntry>) -> Bool {
        if pool.pointee.freshUntil <= now { return true }
        if !entry.pointee.isWatched || pool.pointee.epoch == epoch.pointee.load(ordering: .acquiring) { return false }
        // Going through very many takes time: not for each of a storm of changes.
        return entry.pointee.members.count <= 256 || now &- pool.pointee.madeAt >= 20_000_000
    }

    @inline(__always)
    mutating func freshPool(
        _ table: UnsafeMutablePointer<LiveTable>, _ place: Int32, _ entry: UnsafeMutablePointer<BalanceEntry>
    ) -> UnsafeMutablePointer<LivePool> {
        let pool = table.pointee.pools + Int(place)
        if isStale(pool, entry) { refresh(pool, table, entry) }
        return pool
    }

    @inline(__always)
    func awayUntil(_ member: BalanceMember) -> UInt64 {
        member.place < 0 ? 0 : records[Int(member.place)].awayUntil.load(ordering: .relaxed)
    }

    private mutating func refresh(
        _ pool: UnsafeMutablePointer<LivePool>, _ table: UnsafeMutablePointer<LiveTable>,
        _ place: UnsafeMutablePointer<BalanceEntry>
    ) {
        let entry = place.pointee
        let balance = table.pointee.arrays.pointee.balance
        if pool.pointee.candidates == nil {
            pool.pointee.candidates = .allocate(capacity: max(1, Int(entry.members.count)))
            pool.pointee.levels = .allocate(capacity: max(1, Int(entry.levels.count)))
            pool.pointee.cursor = UInt32(truncatingIfNeeded: chance.next() >> 32)
            pool.pointee.shares = Shares(start: UInt32(truncatingIfNeeded: chance.next() >> 32))
        }
        pool.pointee.epoch = epoch.pointee.load(ordering: .acquiring)
        pool.pointee.madeAt = now
        pool.pointee.freshUntil = .max
        if entry.members.count == 0 {
            pool.pointee.nothing = entry.elsewhere > 0 ? .elsewhere : .empty
            return
        }
        var counts: [(usable: Int, total: Int)] = []
        var unwell = 0
        for level in 0..<Int(entry.levels.count) {
            let run = balance.levels[Int(entry.levels.start) + level].members
            var usable = 0
            for member in Int(run.start)..<Int(run.start + run.count) {
                let away = awayUntil(balance.members[member])
                if away <= now {
                    usable += 1
                } else if away == .max {
                    unwell += 1
                } else {
                    pool.pointee.freshUntil = min(pool.pointee.freshUntil, away)
                }
            }
            counts.append((usable, Int(run.count)))
        }
        guard let loads = PriorityLevels.loads(counts, panicPercent: Int(entry.panicPercent)) else {
            pool.pointee.nothing = unwell == Int(entry.members.count) ? .unhealthy : .ejected
            return
        }
        pool.pointee.nothing = .none
        fill(pool, table, entry, loads)
    }

    private func fill(
        _ pool: UnsafeMutablePointer<LivePool>, _ table: UnsafeMutablePointer<LiveTable>, _ entry: BalanceEntry,
        _ loads: [PriorityLevels.Load]
    ) {
        let balance = table.pointee.arrays.pointee.balance
        guard let candidates = pool.pointee.candidates, let levels = pool.pointee.levels else { return }
        var at = 0
        var shares = 0
        for (place, load) in loads.enumerated() {
            let run = balance.levels[Int(entry.levels.start) + place].members
            shares += load.share
            var level = LiveLevel(start: Int32(at), upTo: UInt32(shares), isPanicking: load.isPanicking)
            var weights: [Double] = []
            var groups: [Int32] = []
            for index in Int(run.start)..<Int(run.start + run.count) {
                let member = balance.members[index]
                if !load.isPanicking && awayUntil(member) > now { continue }
                candidates[at] = Candidate(slot: table.pointee.slots[Int(member.endpoint)], upTo: 0)
                at += 1
                weights.append(Double(member.weight) * rampShare(member, entry, pool))
                groups.append(member.group)
            }
            if entry.shares.count > 0 { spread(&weights, groups, run, balance, entry) }
            level.count = Int32(weights.count)
            level.isUniform = weights.allSatisfy { abs($0 - weights[0]) <= weights[0] * 1e-6 }
            level.total = accumulate(weights, candidates + Int(level.start))
            levels[place] = level
        }
    }

    /// An endpoint in its slow start counts for less. The pool is then made again soon.
    private func rampShare(_ member: BalanceMember, _ entry: BalanceEntry, _ pool: UnsafeMutablePointer<LivePool>)
        -> Double
    {
        if entry.ramp.window == 0 || member.place < 0 { return 1 }
        let since = records[Int(member.place)].since.load(ordering: .relaxed)
        if now >= since &+ entry.ramp.window { return 1 }
        let step = max(entry.ramp.window / 50, 20_000_000)
        pool.pointee.freshUntil = min(pool.pointee.freshUntil, now &+ step)
        return entry.ramp.share(since: since, at: now)
    }

    /// Gives each locality its share, less when too many of its endpoints are away.
    private func spread(
        _ weights: inout [Double], _ groups: [Int32], _ run: Run, _ balance: BalanceArrays, _ entry: BalanceEntry
    ) {
        let count = Int(entry.shares.count)
        var totals = [Int](repeating: 0, count: count)
        var usable = [Int](repeating: 0, count: count)
        var sums = [Double](repeating: 0, count: count)
        for index in Int(run.start)..<Int(run.start + run.count) { totals[Int(balance.members[index].group)] += 1 }
        for (weight, group) in zip(weights, groups) {
            usable[Int(group)] += 1
            sums[Int(group)] += weight
        }
        for place in weights.indices {
            let group = Int(groups[place])
            let health = min(1, 1.4 * Double(usable[group]) / Double(max(1, totals[group])))
            let share = Double(balance.shares[Int(entry.shares.start) + group]) * health
            weights[place] = sums[group] > 0 ? share * weights[place] / sums[group] : 0
        }
    }

    /// Writes the weights as running sums of whole numbers, and returns the last.
    private func accumulate(_ weights: [Double], _ candidates: UnsafeMutablePointer<Candidate>) -> UInt32 {
        let sum = weights.reduce(0, +)
        let scale = sum > 0 ? Double(1 << 30) / sum : 0
        var total: UInt32 = 0
        for (place, weight) in weights.enumerated() {
            total += max(1, UInt32(weight * scale))
            candidates[place].upTo = total
        }
        return total
    }
}
