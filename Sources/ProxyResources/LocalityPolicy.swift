/// Where something runs: `region/zone/subzone`, where the later parts may be missing.
package struct Locality: Sendable, Hashable, CustomStringConvertible {
    package var region: String
    package var zone: String
    package var subzone: String

    package init(region: String = "", zone: String = "", subzone: String = "") {
        self.region = region
        self.zone = zone
        self.subzone = subzone
    }

    package init(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        self.init(
            region: parts.first ?? "", zone: parts.count > 1 ? parts[1] : "", subzone: parts.count > 2 ? parts[2] : "")
    }

    package var isEmpty: Bool { region.isEmpty && zone.isEmpty && subzone.isEmpty }

    package var description: String {
        if !subzone.isEmpty { return "\(region)/\(zone)/\(subzone)" }
        return zone.isEmpty ? region : "\(region)/\(zone)"
    }

    /// Whether a pattern covers this: `us-west/*`, `us-west/zone-1/*`, `us-west`, `*`; missing parts cover everything.
    package func isCovered(by pattern: String) -> Bool {
        let wanted = pattern.split(separator: "/").map(String.init)
        for (part, own) in zip(wanted, [region, zone, subzone]) where part != "*" && part != own { return false }
        return true
    }
}

/// Which endpoints come first, by where the proxy and they run. The empty policy makes no difference between them.
package struct LocalityPolicy: Sendable, Hashable {
    package enum Key: String, Sendable, Hashable {
        case region = "REGION"
        case zone = "ZONE"
        case subzone = "SUBZONE"
        case node = "NODE"
    }
    package enum Others: String, Sendable, Hashable {
        case whenNeeded = ""
        /// Endpoints that differ in any of the keys get nothing.
        case never = "NEVER"
    }
    /// An endpoint that agrees with the proxy in all of them comes first; then one that agrees in all but the last, and so on.
    package var prefer: [Key]
    package var others: Others
    /// When a region has no endpoint left, which region comes next.
    package var failover: [Failover]
    /// Fixed shares instead of preference.
    package var shares: [Shares]

    package struct Failover: Sendable, Hashable {
        package var from: String
        package var to: String
        package init(from: String, to: String) {
            self.from = from
            self.to = to
        }
    }

    package struct Shares: Sendable, Hashable {
        package var from: String  // pattern the proxy's locality must match
        package var to: [Share]

        package init(from: String, to: [Share]) {
            self.from = from
            self.to = to
        }
    }

    package struct Share: Sendable, Hashable {
        package var locality: String  // pattern
        package var weight: Int

        package init(locality: String, weight: Int) {
            self.locality = locality
            self.weight = weight
        }
    }

    package init(
        prefer: [Key] = [], others: Others = .whenNeeded, failover: [Failover] = [], shares: [Shares] = []
    ) {
        self.prefer = prefer
        self.others = others
        self.failover = failover
        self.shares = shares
    }
}
