import Loop

/// What a peer may ask of us that brings nothing forward: so much at once, and so much a second.
struct FloodBudget {
    enum Kind { case reset, settings, ping, emptyFrame, control }

    private struct Bucket {
        let burst: Int32
        let perSecond: Int32
        var left: Int32
        init(_ burst: Int32, _ perSecond: Int32) {
            self.burst = burst
            self.perSecond = perSecond
            left = burst
        }
    }

    /// Streams begun and taken back before they had an answer (CVE-2023-44487), or that broke the rules.
    private var resets = Bucket(200, 50)
    private var settings = Bucket(50, 5)
    private var pings = Bucket(500, 100)
    private var emptyFrames = Bucket(100, 20)
    /// PRIORITY, WINDOW_UPDATE, unknown kinds, frames for streams that are gone.
    private var control = Bucket(10_000, 10_000)
    private var refilledAt: UInt64

    init(now: UInt64) { refilledAt = now }

    /// Takes one; false when the budget is spent.
    mutating func spend(_ kind: Kind, now: UInt64) -> Bool {
        let seconds = Int32(clamping: (now &- refilledAt) / Limits.second)
        if seconds > 0 {
            refilledAt &+= UInt64(seconds) &* Limits.second
            Self.refill(&resets, seconds)
            Self.refill(&settings, seconds)
            Self.refill(&pings, seconds)
            Self.refill(&emptyFrames, seconds)
            Self.refill(&control, seconds)
        }
        return switch kind {
        case .reset: Self.take(&resets)
        case .settings: Self.take(&settings)
        case .ping: Self.take(&pings)
        case .emptyFrame: Self.take(&emptyFrames)
        case .control: Self.take(&control)
        }
    }

    /// A stream has ended as it should: one may be taken back.
    mutating func earnReset() { if resets.left < resets.burst { resets.left += 1 } }

    /// DATA has been sent: its windows will be given back.
    mutating func earnControl() { control.left = min(control.burst, control.left + 4) }

    private static func refill(_ bucket: inout Bucket, _ seconds: Int32) {
        let added = Int64(bucket.perSecond) * Int64(seconds)
        bucket.left = Int32(min(Int64(bucket.burst), Int64(bucket.left) + added))
    }

    private static func take(_ bucket: inout Bucket) -> Bool {
        if bucket.left == 0 { return false }
        bucket.left -= 1
        return true
    }
}
