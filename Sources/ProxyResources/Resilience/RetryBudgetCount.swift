/// One loop's count for a retry budget: requests and repetitions leak away over the window, so that what is left is about those
/// of the last one.
package struct RetryBudgetCount: Sendable {
    private var requests = 0.0
    private var repetitions = 0.0
    private var reserve = 0.0
    private var last: UInt64 = 0

    package init() {}

    /// Brings the counts to `now`, in nanoseconds; the first call starts with a second's worth of reserve.
    private mutating func leak(_ budget: RetryBudget, _ now: UInt64) {
        if last == 0 {
            reserve = Double(budget.minPerSecond)
            last = now
            return
        }
        if now <= last { return }
        let passed = Double(now - last)
        last = now
        let window = Double(budget.windowMilliseconds) * 1_000_000
        let kept = max(0, 1 - passed / window)
        requests *= kept
        repetitions *= kept
        reserve = min(Double(budget.minPerSecond), reserve + Double(budget.minPerSecond) * passed / 1_000_000_000)
    }

    package mutating func requested(_ budget: RetryBudget, now: UInt64) {
        leak(budget, now)
        requests += 1
    }

    /// Takes one repetition from the budget; false when it is used up.
    package mutating func take(_ budget: RetryBudget, now: UInt64) -> Bool {
        leak(budget, now)
        if repetitions + 1 <= requests * Double(budget.percent) / 100 {
            repetitions += 1
            return true
        }
        if reserve >= 1 {
            reserve -= 1
            return true
        }
        return false
    }
}
