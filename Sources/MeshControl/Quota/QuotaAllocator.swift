package import ProxyResources

/// Owns the budgets of global limits and leases their tokens to proxies. Pure: reports in, grants out; times are given, in
/// nanoseconds of a clock that never goes back.
///
/// Nothing is kept on disk. A new control plane's buckets are as full as proxies remember them (each report of a key new on its
/// stream says so), and for its first seconds it grants no more than comes back meanwhile: a restart does not give budgets twice.
package struct QuotaAllocator: Sendable {
    private struct Place: Hashable {
        var budget: String
        var key: UInt64
    }
    private struct Budget {
        var terms: QuotaTerms
        var buckets: [UInt64: QuotaBucket] = [:]
    }
    private struct Member {
        var heardAt: UInt64
        var number: UInt64 = 0  // of the newest report
        var places: Set<Place> = []
        var refused: Set<String> = []
    }

    package struct Counters: Sendable, Hashable {
        package var reports = 0
        package var granted: Int64 = 0
        package var evicted = 0
    }

    /// Proxies' leases of the control plane before this one have ended, and they have come back to say what they know.
    package static let learning = QuotaTerms.lease + 1_000_000_000
    /// A proxy says of each key it uses that it still does, more often than this.
    package static let patience: UInt64 = 10_000_000_000

    private let start: UInt64
    private var budgets: [String: Budget] = [:]
    private var members: [Int: Member] = [:]
    /// Where somebody is to be answered, or wants more.
    private var open: Set<Place> = []
    private var due: Set<Int> = []
    package private(set) var counters = Counters()

    package init(now: UInt64) { start = max(1, now) }

    /// The limits there are, by budget. What is known of those that stay is kept.
    package mutating func adopt(_ limits: [String: RateLimit]) {
        var next: [String: Budget] = [:]
        for (name, limit) in limits {
            let terms = QuotaTerms(limit)
            var budget = budgets[name] ?? Budget(terms: terms)
            budget.terms = terms
            next[name] = budget
        }
        budgets = next
        open = open.filter { next[$0.budget] != nil }
        members = members.mapValues { member in
            var member = member
            member.places = member.places.filter { next[$0.budget] != nil }
            return member
        }
    }

    package mutating func join(_ member: Int, now: UInt64) { members[member] = Member(heardAt: now) }

    /// The proxy is gone. It may use what it holds until its lease ends.
    package mutating func leave(_ member: Int) {
        guard let gone = members.removeValue(forKey: member) else { return }
        due.remove(member)
        for place in gone.places {
            budgets[place.budget]?.buckets[place.key]?.leave(member, until: gone.heardAt + QuotaTerms.lease)
        }
    }

    /// Takes a report of a member. `may` says which budgets it has.
    package mutating func take(_ report: QuotaReport, from member: Int, now: UInt64, may: (String) -> Bool) {
        guard var sender = members[member] else { return }
        counters.reports += 1
        sender.heardAt = now
        sender.number = report.number
        due.insert(member)
        for page in report.pages {
            guard may(page.budget), let terms = budgets[page.budget]?.terms else {
                sender.refused.insert(page.budget)
                continue
            }
            for line in page.lines {
                take(line, from: member, Place(budget: page.budget, key: line.key), terms, &sender, now: now)
            }
        }
        members[member] = sender
    }

    private mutating func take(
        _ line: QuotaReport.Line, from member: Int, _ place: Place, _ terms: QuotaTerms, _ sender: inout Member,
        now: UInt64
    ) {
        if budgets[place.budget]?.buckets[place.key] == nil {
            // Nothing is known of the key, and the proxy has only left it.
            if line.leaves && line.level < 0 { return }
            if let forgotten = makeRoom(place.budget, terms) { sender.places.remove(forgotten) }
            budgets[place.budget]?.buckets[place.key] = QuotaBucket(terms, now: now)
        }
        budgets[place.budget]?.buckets[place.key]?.refill(terms, now: now)
        let isNew = isLearning(now)
        if line.joins {
            budgets[place.budget]?.buckets[place.key]?.join(member, line, terms, now: now, isLearning: isNew)
        } else {
            budgets[place.budget]?.buckets[place.key]?.update(
                member, line, terms, now: now, isLearning: isNew)
        }
        if line.leaves {
            budgets[place.budget]?.buckets[place.key]?.leave(member, until: now)
            sender.places.remove(place)
        } else {
            sender.places.insert(place)
            open.insert(place)
        }
    }

    /// Forgets a key when there is no room for another.
    private mutating func makeRoom(_ name: String, _ terms: QuotaTerms) -> Place? {
        guard let victim = victim(name, terms) else { return nil }
        counters.evicted += 1
        for member in victim.holders { members[member]?.places.remove(victim.place) }
        budgets[name]?.buckets[victim.place.key] = nil
        open.remove(victim.place)
        return victim.place
    }

    /// Of a few keys nobody uses, or of those that are used, the one whose bucket is full first. A copy of nothing larger stays.
    private func victim(_ name: String, _ terms: QuotaTerms) -> (place: Place, holders: [Int])? {
        guard let buckets = budgets[name]?.buckets, buckets.count >= terms.keys else { return nil }
        let chosen = buckets.prefix(16).min { one, other in
            let (first, second) = (one.value.holders.isEmpty ? 0 : 1, other.value.holders.isEmpty ? 0 : 1)
            return first == second ? one.value.timeToFill(terms) < other.value.timeToFill(terms) : first < second
        }
        guard let chosen else { return nil }
        return (Place(budget: name, key: chosen.key), Array(chosen.value.holders.keys))
    }

    private func isLearning(_ now: UInt64) -> Bool { now < start + Self.learning }

    /// Shares what there is, and answers every proxy that has reported since the last round or is given more.
    package mutating func round(now: UInt64) -> [Int: QuotaGrants] {
        let learningSince = isLearning(now) ? start : 0
        var lines: [Int: [String: [QuotaGrants.Line]]] = [:]
        for place in open {
            guard let terms = budgets[place.budget]?.terms else { continue }
            let before = budgets[place.budget]?.buckets[place.key]?.held ?? 0
            let answered = budgets[place.budget]?.buckets[place.key]?.serve(
                terms, now: now, learningSince: learningSince)
            let bucket = budgets[place.budget]?.buckets[place.key]
            for member in answered ?? [] {
                guard let line = bucket?.answer(member, place.key) else { continue }
                lines[member, default: [:]][place.budget, default: []].append(line)
            }
            counters.granted += max(0, (bucket?.held ?? 0) - before)
        }
        open = open.filter { budgets[$0.budget]?.buckets[$0.key]?.isWanted == true }
        var grants: [Int: QuotaGrants] = [:]
        for member in due.union(lines.keys) {
            guard var known = members[member] else { continue }
            let pages = (lines[member] ?? [:]).map { QuotaGrants.Page(budget: $0.key, lines: $0.value) }
            grants[member] = QuotaGrants(answers: known.number, pages: pages, refused: known.refused.sorted())
            known.refused = []
            members[member] = known
        }
        due = []
        return grants
    }

    /// Whether somebody wants more than there was: `round` again when some has come back.
    package var isWanted: Bool { !open.isEmpty }

    /// Forgets what says nothing any more; now and then.
    ///
    /// - Returns: members that have been silent for longer than their lease. They are to be disconnected.
    package mutating func sweep(now: UInt64) -> [Int] {
        for (name, budget) in budgets {
            for key in budget.buckets.keys {
                budgets[name]?.buckets[key]?.refill(budget.terms, now: now)
                let gone = budgets[name]?.buckets[key]?.forget(heardBefore: now - min(now, Self.patience)) ?? []
                for member in gone { members[member]?.places.remove(Place(budget: name, key: key)) }
                if budgets[name]?.buckets[key]?.isFull(budget.terms) == true { budgets[name]?.buckets[key] = nil }
            }
        }
        return members.filter { $0.value.heardAt + QuotaTerms.lease < now }.map(\.key)
    }

    /// For each budget: keys, those who hold tokens, and tokens held.
    package var summary: [(budget: String, keys: Int, holders: Int, held: Int64)] {
        budgets.sorted { $0.key < $1.key }.map { name, budget in
            let buckets = budget.buckets.values
            return (
                name, budget.buckets.count, buckets.reduce(0) { $0 + $1.holders.count },
                buckets.reduce(0) { $0 + $1.held }
            )
        }
    }
}
