package import KubeTypes

/// How patient candidates are with a leader, and a leader with the server.
package struct LeaderTiming: Sendable, Hashable {
    /// A record that has not changed for so long, seen from a candidate's own clock, is free to take.
    package var lease = Duration.seconds(15)
    /// A leader that could not renew for so long leads no more. Less than `lease`, so that it ends before another begins.
    package var renewDeadline = Duration.seconds(10)
    /// Between two attempts.
    package var retry = Duration.seconds(2)

    package init(
        lease: Duration = .seconds(15), renewDeadline: Duration = .seconds(10), retry: Duration = .seconds(2)
    ) {
        self.lease = lease
        self.renewDeadline = renewDeadline
        self.retry = retry
    }
}

/// One candidate's view of who leads. Only its own clock counts: those of other machines may be wrong.
package struct Candidacy: Sendable {
    package typealias Instant = ContinuousClock.Instant

    package let identity: String
    private let timing: LeaderTiming
    private var seen: LeaderRecord?
    private var seenAt: Instant?

    package init(identity: String, timing: LeaderTiming) {
        self.identity = identity
        self.timing = timing
    }

    /// Who leads, as far as is known; empty for nobody.
    package var leader: String { seen?.holder ?? "" }
    package var isLeader: Bool { leader == identity }

    /// Learns what is written now. A record that did not change keeps the moment it was first seen.
    package mutating func see(_ record: LeaderRecord?, at now: Instant) {
        if record != seen || seenAt == nil {
            seen = record
            seenAt = now
        }
    }

    /// What to write to lead, or go on leading; `nil` while another's record holds.
    package func claim(at now: Instant, wallClock: Timestamp) -> LeaderRecord? {
        var claim = LeaderRecord(
            holder: identity, seconds: Int(timing.lease.components.seconds), acquired: wallClock, renewed: wallClock)
        guard let seen else { return claim }
        if seen.holder == identity {
            claim.acquired = seen.acquired
            claim.transitions = seen.transitions
            return claim
        }
        if !seen.holder.isEmpty, let seenAt, now < seenAt + .seconds(seen.seconds) { return nil }
        claim.transitions = seen.transitions + 1
        return claim
    }

    /// What to write to give the lead up at once.
    package func resignation(wallClock: Timestamp) -> LeaderRecord? {
        guard isLeader, let seen else { return nil }
        return LeaderRecord(
            holder: "", seconds: 1, acquired: wallClock, renewed: wallClock, transitions: seen.transitions)
    }
}
