extension Engine {
    /// An attempt on an endpoint is over: answered, or cut off for the reason in `flag`.
    mutating func observeOutcome(_ client: Conn, _ slot: Int32, _ flag: ResponseFlag) {}

    /// A connection to an endpoint was made.
    mutating func observeConnected(_ slot: Int32) { endpoints[Int(slot)].avoidedUntil = 0 }

    /// The clock of this loop's health keeping.
    mutating func tick() {}

    mutating func probeEvent(_ probe: Conn) {}
    mutating func probeTimedOut(_ probe: Conn) {}

    /// What this loop knows of its backends' endpoints.
    func survey() -> [BackendSurvey] { [] }
}
