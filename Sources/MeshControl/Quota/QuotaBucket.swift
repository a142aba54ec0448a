import ProxyResources

/// One key's bucket of a global limit, and who holds tokens of it. Pure: times are given, in nanoseconds.
///
/// A token is in the bucket, or held by a proxy, or gone. Granting moves tokens from the bucket to a proxy, so what all proxies admit
/// in a time T is at most `burst + advance + rate * T`, however many they are and whichever of them are lost.
struct QuotaBucket {
    /// A proxy that uses the key. Tokens are counted from when it joined.
    struct Holder {
        var granted: Int64
        var taken: Int64 = 0
        var returned: Int64 = 0
        var want: Int64 = 0
        var heardAt: UInt64
        var servedAt: UInt64 = 0
        var owesAnswer = true

        var held: Int64 { granted - taken - returned }
        var need: Int64 { max(0, want - held) }
    }

    private struct Lost {
        var tokens: Int64
        var until: UInt64
    }

    /// May be below nothing: proxies admit a little of a key before they ask.
    private(set) var level: Double
    private(set) var holders: [Int: Holder] = [:]
    private(set) var held: Int64 = 0
    private var at: UInt64
    /// Held by proxies that are gone, which may use them until their lease ends.
    private var lost: [Lost] = []
    /// Tokens that left the bucket since it was made. Looked at while the control plane is new.
    private var spent: Double = 0

    init(_ terms: QuotaTerms, now: UInt64) {
        level = terms.burst
        at = now
    }

    mutating func refill(_ terms: QuotaTerms, now: UInt64) {
        if !lost.isEmpty {
            held -= lost.reduce(0) { $0 + ($1.until <= now ? $1.tokens : 0) }
            lost.removeAll { $0.until <= now }
        }
        let capacity = terms.capacity(held: held)
        if now > at {
            let more = terms.rate * Double(now - at)
            at = now
            if level < capacity { level = min(capacity, level + more) }
        }
    }

    /// A proxy begins to use the key. What it holds already is taken from the bucket.
    mutating func join(
        _ member: Int, _ line: QuotaReport.Line, _ terms: QuotaTerms, now: UInt64, isLearning: Bool
    ) {
        if let old = holders[member] { held -= old.held }
        let already = min(max(0, line.held), terms.allowance)
        level -= Double(already)
        spent += Double(already)
        held += already
        holders[member] = Holder(granted: already, heardAt: now)
        update(member, line, terms, now: now, isLearning: isLearning)
    }

    /// What a proxy did since its last report; the bucket is as full as it says at most.
    ///
    /// - Parameter isLearning: what the proxy says of the bucket is of the time before this control plane.
    mutating func update(
        _ member: Int, _ line: QuotaReport.Line, _ terms: QuotaTerms, now: UInt64, isLearning: Bool
    ) {
        if line.level >= 0 { level = min(level, Double(line.level) - (isLearning ? spent : 0)) }
        let told = (taken: Self.count(line.taken), returned: Self.count(line.returned))
        if holders[member] == nil {
            // The key was forgotten while the proxy used it: what it holds was lost with the bucket, and the bucket was not full.
            holders[member] = Holder(
                granted: told.taken + told.returned, taken: told.taken, returned: told.returned, heardAt: now)
            level = min(level, 0)
        }
        guard var holder = holders[member] else { return }
        // What a proxy says it used or gives back is believed as far as it holds it.
        let taken = min(max(0, told.taken - holder.taken), holder.held)
        holder.taken += taken
        let returned = min(max(0, told.returned - holder.returned), holder.held)
        holder.returned += returned
        holder.want = min(max(0, line.want), Int64(terms.burst + terms.advance) + 1)
        holder.heardAt = now
        holder.owesAnswer = true
        held -= taken + returned
        if returned > 0 {
            level = min(max(level, terms.capacity(held: held)), level + Double(returned))
            spent -= Double(returned)
        }
        holders[member] = holder
    }

    /// No proxy counts so far.
    private static func count(_ said: Int64) -> Int64 { min(max(0, said), 1 << 60) }

    /// A proxy no longer uses the key; what it holds it may use until `until`.
    mutating func leave(_ member: Int, until: UInt64) {
        guard let holder = holders.removeValue(forKey: member) else { return }
        let tokens = holder.held
        if tokens > 0 { lost.append(Lost(tokens: tokens, until: until)) }
    }

    /// Shares what is in the bucket between those who want more than they hold: to each as much as it wants, and where that is too
    /// much, evenly.
    ///
    /// - Parameter start: when this control plane began, while it still learns what was granted before it; 0 otherwise. Until then no
    ///   more is granted than has come back since.
    /// - Returns: the proxies with an answer to be sent.
    mutating func serve(_ terms: QuotaTerms, now: UInt64, learningSince start: UInt64) -> [Int] {
        refill(terms, now: now)
        var open = level
        if start > 0 { open = min(open, terms.rate * Double(now - min(start, now)) - spent) }
        var left = Int64(max(0, open))
        var wanting = holders.filter { $0.value.need > 0 }.map { (member: $0.key, need: $0.value.need) }
        wanting.sort { ($0.need, $0.member) < ($1.need, $1.member) }
        var given: [Int: Int64] = [:]
        for (place, one) in wanting.enumerated() {
            let share = min(one.need, left / Int64(wanting.count - place))
            given[one.member] = share
            left -= share
        }
        if left > 0 && !wanting.isEmpty {
            // Less than one for each: to those who have waited longest.
            let order = wanting.sorted {
                (holders[$0.member]?.servedAt ?? 0, $0.member) < (holders[$1.member]?.servedAt ?? 0, $1.member)
            }
            for one in order where left > 0 && given[one.member, default: 0] < one.need {
                given[one.member, default: 0] += 1
                left -= 1
            }
        }
        for (member, tokens) in given where tokens > 0 {
            holders[member]?.granted += tokens
            holders[member]?.servedAt = now
            holders[member]?.owesAnswer = true
            held += tokens
            level -= Double(tokens)
            spent += Double(tokens)
        }
        var answers: [Int] = []
        for (member, holder) in holders where holder.owesAnswer {
            answers.append(member)
            holders[member]?.owesAnswer = false
        }
        return answers
    }

    var isWanted: Bool { holders.contains { $0.value.need > 0 } }

    func answer(_ member: Int, _ key: UInt64) -> QuotaGrants.Line? {
        guard let holder = holders[member] else { return nil }
        return QuotaGrants.Line(
            key: key, granted: holder.granted, level: Int64(level.rounded(.down)),
            holders: UInt32(clamping: holders.count))
    }

    /// Drops proxies not heard of since, and says who they were.
    mutating func forget(heardBefore moment: UInt64) -> [Int] {
        let gone = holders.filter { $0.value.heardAt < moment }.map(\.key)
        for member in gone {
            held -= holders[member]?.held ?? 0
            holders[member] = nil
        }
        return gone
    }

    /// The same as one never used.
    func isFull(_ terms: QuotaTerms) -> Bool { holders.isEmpty && held == 0 && level >= terms.burst }

    /// When it is full again, in nanoseconds.
    func timeToFill(_ terms: QuotaTerms) -> Double { terms.rate > 0 ? (terms.burst - level) / terms.rate : .infinity }
}
