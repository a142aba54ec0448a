import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct BalanceRuleTests {
    /// The canary example on two nodes, and policies.
    private static func model(_ policies: String...) throws -> MeshModel {
        var cluster = try Cluster.canary()
        for (node, zone) in [("node-1", "a"), ("node-2", "b")] {
            try cluster.apply(
                """
                apiVersion: v1
                kind: Node
                metadata:
                  name: \(node)
                  labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-\(zone)}
                """)
        }
        for policy in policies { try cluster.apply(policy) }
        return compile(cluster.state)
    }

    private static func rule(_ traffic: String, subsets: String = "[]") -> String {
        """
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: catalog, namespace: demo}
        spec: {host: catalog, trafficPolicy: \(traffic), subsets: \(subsets)}
        """
    }

    private static func backend(_ policies: String..., name: String = "demo/catalog:8080") throws -> Backend {
        var model = try Self.model()
        switch policies.count {
        case 1: model = try Self.model(policies[0])
        case 2: model = try Self.model(policies[0], policies[1])
        default: break
        }
        return try #require(model.backends[name])
    }

    @Test("without a policy nothing is asked for, and endpoints and proxies know their places")
    func places() throws {
        let model = try Self.model()
        let backend = try #require(model.backends["demo/catalog:8080"])
        #expect(backend.balance == BalancePolicy() && backend.outlier == nil && backend.health == nil)
        #expect(Set(backend.endpoints.map(\.locality)) == ["eu/eu-a"])
        #expect(Set(backend.endpoints.map(\.node)) == ["node-1"])
        #expect(model.workloads.values.allSatisfy { $0.locality == "eu/eu-a" })
        #expect(model.findings.isEmpty, "\(model.findings)")
    }

    @Test(
        "simple algorithms",
        arguments: [
            ("ROUND_ROBIN", BalancePolicy.Algorithm.roundRobin), ("RANDOM", .random), ("LEAST_REQUEST", .leastRequest),
            ("LEAST_CONN", .leastRequest), ("UNSPECIFIED", .leastRequest),
        ])
    func simple(word: String, algorithm: BalancePolicy.Algorithm) throws {
        #expect(try Self.backend(Self.rule("{loadBalancer: {simple: \(word)}}")).balance.algorithm == algorithm)
    }

    @Test(
        "consistent hashes",
        arguments: [
            ("{httpHeaderName: X-User}", HashInput(.header, name: "X-User")),
            ("{useSourceIp: true}", HashInput(.source)),
            ("{httpQueryParameterName: user}", HashInput(.query, name: "user")),
            (
                "{httpCookie: {name: user, path: /shop, ttl: 90s}}",
                HashInput(.cookie, name: "user", cookieSeconds: 90, cookiePath: "/shop")
            ),
            ("{httpCookie: {name: user, ttl: 0s}}", HashInput(.cookie, name: "user", cookieSeconds: 0)),
        ])
    func hashes(text: String, input: HashInput) throws {
        let balance = try Self.backend(Self.rule("{loadBalancer: {consistentHash: \(text)}}")).balance
        #expect(balance.algorithm == .ringHash && balance.hashOn == [input])
    }

    @Test("Maglev and sizes of tables")
    func sizes() throws {
        let maglev = try Self.backend(
            Self.rule("{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 5000}}}}"))
        #expect(maglev.balance.algorithm == .maglev && maglev.balance.hashSize == 5000)
        let ring = try Self.backend(
            Self.rule("{loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 99}}}}"))
        #expect(ring.balance.algorithm == .ringHash && ring.balance.hashSize == 99)
    }

    @Test("a hash of nothing is an error, and least request is used")
    func nothing() throws {
        let model = try Self.model(Self.rule("{loadBalancer: {consistentHash: {maglev: {}}}}"))
        #expect(model.findings.map(\.severity) == [.error])
        #expect(model.backends["demo/catalog:8080"]?.balance.algorithm == .leastRequest)
    }

    @Test("outlier detection, and the places that come with it")
    func outlier() throws {
        let backend = try Self.backend(
            Self.rule(
                """
                {outlierDetection: {consecutive5xxErrors: 7, consecutiveGatewayErrors: 3, interval: 5s, \
                baseEjectionTime: 1m, maxEjectionPercent: 40, minHealthPercent: 20, \
                splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2}}
                """))
        var policy = OutlierPolicy(
            consecutiveErrors: 7, consecutiveGatewayErrors: 3, consecutiveLocalFailures: 2, localFailures: .apart)
        policy.intervalMilliseconds = 5000
        policy.ejectionMilliseconds = 60_000
        policy.mostEjectedPercent = 40
        #expect(backend.outlier == policy)
        #expect(backend.balance.panicPercent == 20)
        #expect(backend.balance.locality == LocalityPolicy(prefer: [.region, .zone, .subzone]))
        let off = try Self.backend(
            Self.rule("{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}"))
        #expect(off.balance.locality == LocalityPolicy() && off.balance.panicPercent == 0)
        #expect(off.outlier == OutlierPolicy())
    }

    @Test("locality settings: failover needs outlier detection, shares do not")
    func locality() throws {
        let failover = "localityLbSetting: {failover: [{from: eu, to: us}]}"
        let with = try Self.backend(Self.rule("{outlierDetection: {}, loadBalancer: {\(failover)}}"))
        #expect(with.balance.locality.failover == [.init(from: "eu", to: "us")])
        #expect(with.balance.locality.prefer == [.region, .zone, .subzone])
        let without = try Self.backend(Self.rule("{loadBalancer: {\(failover)}}"))
        #expect(without.balance.locality == LocalityPolicy())
        let shares = try Self.backend(
            Self.rule(
                "{loadBalancer: {localityLbSetting: {distribute: [{from: eu/*, to: {eu/eu-a/*: 80, us/*: 20}}]}}}"))
        #expect(shares.balance.locality.shares.first?.from == "eu/*")
        #expect(shares.balance.locality.shares.first?.to.map(\.weight).reduce(0, +) == 100)
        let keys = try Self.backend(
            Self.rule(
                """
                {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: \
                [topology.kubernetes.io/zone, kubernetes.io/hostname, mine]}}}
                """))
        #expect(keys.balance.locality.prefer == [.zone, .node])
    }

    @Test("a subset's policy stands over the whole's, and a port's over both")
    func levels() throws {
        let rule = Self.rule(
            """
            {loadBalancer: {simple: RANDOM}, outlierDetection: {consecutive5xxErrors: 9}, \
            portLevelSettings: [{port: {number: 9999}, loadBalancer: {simple: ROUND_ROBIN}}]}
            """,
            subsets: """
                [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}, \
                {name: v2, labels: {version: v2}, trafficPolicy: {portLevelSettings: [{port: {number: 8080}, \
                loadBalancer: {consistentHash: {useSourceIp: true}}}]}}]
                """)
        let whole = try Self.backend(rule)
        #expect(whole.balance.algorithm == .random && whole.outlier?.consecutiveErrors == 9)
        let v1 = try Self.backend(rule, name: "demo/catalog:8080/v1")
        #expect(v1.balance.algorithm == .roundRobin && v1.outlier?.consecutiveErrors == 9)
        let v2 = try Self.backend(rule, name: "demo/catalog:8080/v2")
        #expect(v2.balance.algorithm == .ringHash && v2.outlier == nil, "nothing is inherited by a port")
    }

    @Test("warm-up is a slow start")
    func warmup() throws {
        let new = try Self.backend(
            Self.rule(
                "{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 45s, aggression: 2.0, minimumPercent: 5}}}"))
        #expect(
            new.balance.slowStart
                == SlowStart(windowMilliseconds: 45_000, aggressionPercent: 200, minimumPercent: 5))
        let old = try Self.backend(Self.rule("{loadBalancer: {warmupDurationSecs: 30s}}"))
        #expect(old.balance.slowStart == SlowStart(windowMilliseconds: 30_000))
    }

    private static func service(_ more: String, annotations: String = "{}") -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: catalog, namespace: demo, annotations: \(annotations)}
        spec: {\(more) selector: {app: catalog}, ports: [{name: http, port: 8080}]}
        """
    }

    @Test(
        "what a Service says of where its traffic goes",
        arguments: [
            ("trafficDistribution: PreferClose,", LocalityPolicy(prefer: [.zone])),
            ("trafficDistribution: PreferSameZone,", LocalityPolicy(prefer: [.zone])),
            ("trafficDistribution: PreferSameNode,", LocalityPolicy(prefer: [.zone, .node])),
            ("internalTrafficPolicy: Local,", LocalityPolicy(prefer: [.node], others: .never)),
            ("", LocalityPolicy()),
        ])
    func distribution(text: String, policy: LocalityPolicy) throws {
        #expect(try Self.backend(Self.service(text)).balance.locality == policy)
    }

    @Test(
        "session affinity keeps a client with an endpoint; an annotation names the algorithm; a DestinationRule goes first"
    )
    func service() throws {
        let affinity = try Self.backend(Self.service("sessionAffinity: ClientIP,"))
        #expect(affinity.balance.algorithm == .maglev && affinity.balance.hashOn == [HashInput(.source)])
        let annotated = Self.service("", annotations: "{weft.dev/load-balancing: peak-ewma}")
        #expect(try Self.backend(annotated).balance.algorithm == .peakEWMA)
        let ruled = try Self.backend(annotated, Self.rule("{loadBalancer: {simple: RANDOM}}"))
        #expect(ruled.balance.algorithm == .random)
    }

    @Test("sessions of an HTTPRoute's rule")
    func sessions() throws {
        func route(_ session: String) -> String {
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: catalog, namespace: demo}
            spec:
              parentRefs: [{group: "", kind: Service, name: catalog}]
              rules: [{backendRefs: [{name: catalog-v1, port: 8080}], sessionPersistence: \(session)}]
            """
        }
        func session(_ text: String) throws -> SessionPolicy? {
            let model = try Self.model(route(text))
            let port = try #require(model.destinations(from: "demo").first { $0.resourceName == "demo/catalog:8080" })
            return port.routes.first?.session
        }
        #expect(try session("{sessionName: at}") == SessionPolicy(name: "at"))
        #expect(try session("{type: Header, sessionName: X-At}") == SessionPolicy(.header, name: "X-At"))
        #expect(
            try session("{absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}")
                == SessionPolicy(name: "weft-session", seconds: 3600))
        let bad = try Self.model(route("{sessionName: \"a b\"}"))
        #expect(bad.findings.map(\.field) == ["spec.rules[0].sessionPersistence.sessionName"])
    }
}
