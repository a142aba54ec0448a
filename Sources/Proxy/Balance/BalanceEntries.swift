import ProxyResources

/// One endpoint of a balanced backend. A backend's members stand level by level.
struct BalanceMember {
    /// In the table's endpoints.
    var endpoint: Int32
    /// On the health board; -1 when nobody keeps watch.
    var place: Int32
    var weight: UInt32
    /// In the backend's groups: a locality with a fixed share.
    var group: Int32
}

/// Endpoints of one priority, and the table by which a hash finds one of them.
struct BalanceLevel {
    /// In the table's `balanceMembers`.
    var members: Run
    /// Ring hash: points and owners. Maglev: owners only.
    var points: Int32 = -1
    var owners: Run = Run()
}

/// How a backend's endpoint is chosen, when it is not simply the less busy of two.
struct BalanceEntry {
    var algorithm = BalancePolicy.Algorithm.leastRequest
    /// In the table's `hashInputs`.
    var inputs = Run()
    /// In the table's `carriers`; -1 for no session.
    var carrier: Int32 = -1
    var levels = Run()
    /// Of all levels together.
    var members = Run()
    /// Fixed shares of localities, in `balanceShares`; none when localities have none.
    var shares = Run()
    var panicPercent: Int32 = 0
    /// Members that the policy leaves out, because of where they run.
    var elsewhere: Int32 = 0
    // Nanoseconds.
    var decay = 0.0
    var penalty = 0.0
    var ramp = SlowStartRamp()
    var rules = EjectionRules()
    /// In the table's `checks`; -1 for none.
    var check: Int32 = -1
    /// Some member has a place on the health board.
    var isWatched = false
}

/// A part of the request to hash.
struct HashInputEntry {
    var kind: HashInput.Kind
    var name: TextRange
    /// Gives a client without the cookie one; -1 when it does not.
    var carrier: Int32
}

/// How a client is told its endpoint: a cookie or header that the proxy sets.
struct CarrierEntry {
    enum Content: UInt8 {
        /// Names the endpoint.
        case endpoint
        /// A number drawn for the client, whose hash finds the endpoint.
        case number
    }
    var content: Content
    var isHeader: Bool
    /// In lower case for a header.
    var name: TextRange
    /// `set-cookie: name=` or `name: `
    var before: TextRange
    /// `; Path=/; HttpOnly\r\n`
    var after: TextRange
}

struct IdentityEntry {
    var identity: UInt64
    /// In the table's endpoints.
    var endpoint: Int32
}

/// A request a health check sends, and what it looks for.
struct CheckEntry {
    var kind: HealthCheck.Kind
    var request: TextRange
    /// 0: the endpoint's own.
    var port: UInt16
    /// In the table's `checkStatuses`; none: 200...299.
    var statuses: Run
    var interval: UInt64
    var timeout: UInt64
    var healthyThreshold: Int32
    var unhealthyThreshold: Int32
}

/// All arrays of a table that are about choosing endpoints.
struct BalanceArrays {
    var entries: UnsafeMutablePointer<BalanceEntry>
    var entryCount: Int
    var levels: UnsafeMutablePointer<BalanceLevel>
    var members: UnsafeMutablePointer<BalanceMember>
    var shares: UnsafeMutablePointer<UInt32>
    var points: UnsafeMutablePointer<UInt32>
    var owners: UnsafeMutablePointer<UInt16>
    var inputs: UnsafeMutablePointer<HashInputEntry>
    var carriers: UnsafeMutablePointer<CarrierEntry>
    /// Of all endpoints, in order, when some session is named by them.
    var identities: UnsafeMutablePointer<IdentityEntry>
    var identityCount: Int
    var checks: UnsafeMutablePointer<CheckEntry>
    var checkStatuses: UnsafeMutablePointer<UInt16>
    /// How often a loop's clock ticks, in nanoseconds; 0 when it need not.
    var tick: UInt64
}
