import KubeTypes
package import ProxyResources
import Wire

/// The `trafficPolicy` of a DestinationRule, of one of its subsets or of one port.
package struct TrafficPolicy: Sendable, Hashable {
    /// `nil`: nothing is said, so what stands further out holds, or the service's own.
    package var loadBalancer: LoadBalancer?
    package var outlier: OutlierDetection?
    package var pool: ConnectionPool?
    package var retryBudget: RetryBudget?
    package var security: ClientSecurity?
    package var proxyProtocol: ProxyProtocolVersion?
    /// By port number; each stands instead of all the others for its port.
    package var ports: [Int: TrafficPolicy] = [:]

    package struct LoadBalancer: Sendable, Hashable {
        package var balance = BalancePolicy()
        /// What is said about places; `nil` leaves it to the outlier detection.
        package var locality: LocalityPolicy?
        package var isLocalityOff = false
    }

    package struct OutlierDetection: Sendable, Hashable {
        package var policy = OutlierPolicy()
        package var panicPercent = 0
    }

    /// With what stands further out, for one port.
    func over(_ outer: TrafficPolicy?, port: Int) -> TrafficPolicy {
        var merged = outer ?? TrafficPolicy()
        if let loadBalancer { merged.loadBalancer = loadBalancer }
        if let outlier { merged.outlier = outlier }
        if let pool { merged.pool = pool }
        if let retryBudget { merged.retryBudget = retryBudget }
        if let security { merged.security = security }
        if let proxyProtocol { merged.proxyProtocol = proxyProtocol }
        if let own = ports[port] {
            (merged.loadBalancer, merged.outlier) = (own.loadBalancer, own.outlier)
            (merged.pool, merged.security) = (own.pool, own.security)
        }
        return merged
    }

    /// Limits on how much the clients ask for at once.
    var resilience: BackendResilience {
        var made = BackendResilience()
        made.limits = pool?.limits
        made.retryBudget = retryBudget
        return made
    }
}

extension TrafficPolicy {
    private static let ofPorts: Set<String> = ["loadBalancer", "outlierDetection", "connectionPool", "tls"]
    private static let ofAll = ofPorts.union(["portLevelSettings", "retryBudget", "proxyProtocol"])

    init(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(than: Self.ofAll, as: "it has no effect", to: &findings)
        self.init(of: fields, &findings)
        if let budget = fields.inside("retryBudget") { retryBudget = IstioResilience.budget(budget, &findings) }
        if let version = fields.inside("proxyProtocol") {
            proxyProtocol = version.string("version") == "V2" ? .v2 : .v1
        }
        for port in fields.each("portLevelSettings") {
            port.reportOthers(than: Self.ofPorts.union(["port"]), as: "it has no effect for one port", to: &findings)
            guard let number = port.inside("port")?.int("number") else {
                findings.append(port.finding("port.number", .invalid, "is required"))
                continue
            }
            ports[number] = TrafficPolicy(of: port, &findings)
        }
    }

    /// What may also be said of one port.
    private init(of fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        self.init()
        if let found = fields.inside("loadBalancer") { loadBalancer = LoadBalancer(found, &findings) }
        if let found = fields.inside("outlierDetection") { outlier = OutlierDetection(found, &findings) }
        if let found = fields.inside("connectionPool") { pool = ConnectionPool(found, &findings) }
        if let found = fields.inside("tls") { security = ClientSecurity(found, &findings) }
    }
}

extension TrafficPolicy.LoadBalancer {
    init(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        self.init()
        fields.reportOthers(
            than: ["simple", "consistentHash", "localityLbSetting", "warmup", "warmupDurationSecs"],
            as: "it has no effect", to: &findings)
        if fields.has("simple") && fields.has("consistentHash") {
            findings.append(fields.finding("simple", .invalid, "cannot stand beside consistentHash"))
        }
        switch fields.string("simple") ?? "UNSPECIFIED" {
        case "ROUND_ROBIN": balance.algorithm = .roundRobin
        case "RANDOM": balance.algorithm = .random
        case "UNSPECIFIED", "LEAST_REQUEST", "LEAST_CONN": break
        case let other:
            findings.append(
                fields.finding("simple", .unsupported, "\(other) is not supported: LEAST_REQUEST is used"))
        }
        if let hash = fields.inside("consistentHash") { read(hash, &findings) }
        if let warmup = fields.inside("warmup") {
            if let window = warmup.duration("duration", &findings), window > 0 {
                let aggression = warmup.double("aggression") ?? 1
                let minimum = warmup.double("minimumPercent") ?? 10
                balance.slowStart = SlowStart(
                    windowMilliseconds: window, aggressionPercent: min(10_000, max(1, Int(min(aggression, 100) * 100))),
                    minimumPercent: min(100, max(0, Int(min(minimum, 100)))))
            }
        } else if let window = fields.duration("warmupDurationSecs", &findings), window > 0 {
            balance.slowStart = SlowStart(windowMilliseconds: window)
        }
        if let places = fields.inside("localityLbSetting") { readPlaces(places, &findings) }
    }

    private mutating func read(_ hash: PolicyFields, _ findings: inout [PolicyFinding]) {
        hash.reportOthers(
            than: [
                "httpHeaderName", "httpCookie", "httpQueryParameterName", "useSourceIp", "maglev", "ringHash",
                "minimumRingSize",
            ], as: "it has no effect", to: &findings)
        balance.algorithm = .ringHash
        var size = hash.inside("ringHash")?.int("minimumRingSize") ?? hash.int("minimumRingSize")
        if let maglev = hash.inside("maglev") {
            balance.algorithm = .maglev
            size = maglev.int("tableSize")
        }
        if let size, size > 0 { balance.hashSize = min(size, 1_048_576) }
        if let name = hash.string("httpHeaderName") {
            let isPath = name == ":path"
            balance.hashOn = [
                isPath ? HashInput(.path) : HashInput(.header, name: plain(name, hash, "httpHeaderName", &findings))
            ]
        } else if let cookie = hash.inside("httpCookie") {
            cookie.reportOthers(than: ["name", "path", "ttl"], as: "it has no effect", to: &findings)
            let name = plain(cookie.string("name") ?? "", cookie, "name", &findings)
            let seconds = cookie.duration("ttl", &findings).map { ($0 + 999) / 1000 }
            balance.hashOn = [
                HashInput(.cookie, name: name, cookieSeconds: seconds, cookiePath: cookie.string("path") ?? "")
            ]
        } else if let name = hash.string("httpQueryParameterName") {
            balance.hashOn = [HashInput(.query, name: name)]
        } else if hash.json["useSourceIp"]?.bool == true {
            balance.hashOn = [HashInput(.source)]
        } else {
            findings.append(
                hash.finding("", .invalid, "names nothing to hash: a header, cookie, query parameter or useSourceIp"))
        }
        if balance.hashOn.contains(where: { $0.name.isEmpty && $0.kind != .path && $0.kind != .source }) {
            balance.hashOn = []
        }
        if balance.hashOn.isEmpty { balance.algorithm = .leastRequest }
    }

    /// A name as a header or cookie can have it; empty otherwise, which is reported.
    private func plain(_ name: String, _ fields: PolicyFields, _ field: String, _ findings: inout [PolicyFinding])
        -> String
    {
        if name == ":authority" { return "host" }
        let isToken = HeaderRules.isToken(name) && name.utf8.count <= 128
        if !isToken {
            findings.append(fields.finding(field, .invalid, "\"\(name)\" is not the name of a header or cookie"))
        }
        return isToken ? name : ""
    }

    private mutating func readPlaces(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(
            than: ["enabled", "distribute", "failover", "failoverPriority"], as: "it has no effect", to: &findings)
        if fields.json["enabled"]?.bool == false {
            isLocalityOff = true
            return
        }
        var policy = LocalityPolicy(prefer: [.region, .zone, .subzone])
        for entry in fields.each("distribute") {
            let to = entry.json["to"]?.object ?? JSONObject()
            let shares = to.compactMap { member in
                member.value.int.map { LocalityPolicy.Share(locality: member.key, weight: min(1_000_000, max(0, $0))) }
            }
            if shares.reduce(0, { $0 + $1.weight }) != 100 {
                findings.append(entry.finding("to", .invalid, "must add up to 100"))
            }
            policy.shares.append(LocalityPolicy.Shares(from: entry.string("from") ?? "*", to: shares))
        }
        for entry in fields.each("failover") {
            guard let from = entry.string("from"), let to = entry.string("to"), !from.isEmpty, !to.isEmpty else {
                findings.append(entry.finding("", .invalid, "needs the region it is from and the one it goes to"))
                continue
            }
            policy.failover.append(LocalityPolicy.Failover(from: from, to: to))
        }
        if fields.has("failoverPriority") {
            policy.prefer = []
            for (index, label) in fields.strings("failoverPriority").enumerated() {
                guard let key = LocalityPolicy.Key(label: label) else {
                    findings.append(
                        fields.finding(
                            "failoverPriority[\(index)]", .unsupported,
                            "\(label) is not one of the labels of places: it and those after it make no difference"))
                    break
                }
                policy.prefer.append(key)
            }
        }
        locality = policy
    }
}

extension LocalityPolicy.Key {
    /// The node label that holds it.
    init?(label: String) {
        switch label {
        case "topology.kubernetes.io/region": self = .region
        case "topology.kubernetes.io/zone": self = .zone
        case "topology.istio.io/subzone": self = .subzone
        case "kubernetes.io/hostname": self = .node
        default: return nil
        }
    }
}

extension TrafficPolicy.OutlierDetection {
    init(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        self.init()
        fields.reportOthers(
            than: [
                "consecutive5xxErrors", "consecutiveGatewayErrors", "consecutiveLocalOriginFailures",
                "splitExternalLocalOriginErrors", "interval", "baseEjectionTime", "maxEjectionPercent",
                "minHealthPercent", "consecutiveErrors",
            ], as: "it has no effect", to: &findings)
        func count(_ field: String) -> Int? { fields.int(field).map { min(1_000_000, max(0, $0)) } }
        if let errors = count("consecutive5xxErrors") { policy.consecutiveErrors = errors }
        // The older field means errors of a gateway too.
        if let errors = count("consecutiveGatewayErrors") ?? count("consecutiveErrors") {
            policy.consecutiveGatewayErrors = errors
        }
        if let failures = count("consecutiveLocalOriginFailures") { policy.consecutiveLocalFailures = failures }
        if fields.json["splitExternalLocalOriginErrors"]?.bool == true { policy.localFailures = .apart }
        if let interval = fields.duration("interval", &findings), interval > 0 {
            policy.intervalMilliseconds = min(86_400_000, interval)
        }
        if let time = fields.duration("baseEjectionTime", &findings), time > 0 {
            policy.ejectionMilliseconds = min(86_400_000, time)
            policy.longestEjectionMilliseconds = max(policy.longestEjectionMilliseconds, policy.ejectionMilliseconds)
        }
        if let percent = fields.int("maxEjectionPercent") { policy.mostEjectedPercent = min(100, max(0, percent)) }
        if let percent = fields.int("minHealthPercent") { panicPercent = min(100, max(0, percent)) }
    }
}
