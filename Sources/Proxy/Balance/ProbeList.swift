/// Active checks of one endpoint.
struct Probe {
    /// In the loop's endpoints, and on the health board.
    var slot: Int32
    var place: Int32
    /// In the table's checks.
    var check: Int32
    var nextAt: UInt64
    var verdicts = ProbeVerdicts()
    /// The connection of a check under way; 0 when there is none.
    var running: UInt64 = 0
    var endsAt: UInt64 = 0
    /// What that check has come to.
    var isAnsweredWell = false
}

/// How checks in a row make a verdict. An endpoint is taken for well until it is found not to be.
struct ProbeVerdicts {
    private(set) var isWell = true
    private(set) var against: Int32 = 0

    /// - Returns: whether the verdict has changed.
    mutating func add(isWell passed: Bool, healthyThreshold: Int32, unhealthyThreshold: Int32) -> Bool {
        if passed == isWell {
            against = 0
            return false
        }
        against += 1
        if against < (isWell ? unhealthyThreshold : healthyThreshold) { return false }
        isWell.toggle()
        against = 0
        return true
    }
}

/// The checks one loop runs, by the endpoints' numbers.
struct ProbeList {
    static let mostRunning = 256
    var all: [UInt64: Probe] = [:]
    var running = 0
}
