import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire

@Suite struct InvariantTests {
    @Test(
        "a route may not change what frames a message or names its sender",
        arguments: [
            ("Transfer-Encoding", "chunked"), ("content-length", "0"), ("x-weft-peer", "demo/admin"), ("bad name", "x"),
            ("x-a", "one\\r\\nx-b: two"), ("", "x"),
        ])
    func headers(name: String, value: String) throws {
        var cluster = try Cluster.canary()
        let set =
            "requestHeaderModifier: {set: [{name: \"\(name)\", value: \"\(value)\"}, {name: x-good, value: kept}]}"
        try cluster.apply(
            RoutingTests.route("r", "[{filters: [{type: RequestHeaderModifier, \(set)}], \(RoutingTests.toV1)}]"))
        let model = compile(cluster.state)
        #expect(model.servicePorts["demo/catalog:8080"]?.routes.first?.setRequestHeaders.map(\.name) == ["x-good"])
        #expect(model.findings.map(\.severity) == [.error])
        #expect(model.findings.first?.field == "spec.rules[0].filters[0].requestHeaderModifier.set")
    }

    @Test("addresses the data plane does not speak are left out")
    func dualStack() throws {
        var cluster = Cluster()
        try cluster.apply(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: s, namespace: demo}
            spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, "fd00::9"], ports: [{port: 80}]}
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: s6, namespace: demo, labels: {kubernetes.io/service-name: s}}
            addressType: IPv6
            ports: [{name: "", port: 80}]
            endpoints: [{addresses: ["fd00::1"]}]
            """)
        let model = compile(cluster.state)
        #expect(model.servicePorts["demo/s:80"]?.addresses == ["10.96.0.9"])
        #expect(model.backends["demo/s:80"]?.endpoints == [])
    }

    /// Policies made at random from a seed, most of them wrong somewhere.
    struct Maker {
        var state: UInt64
        mutating func next(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(count))
        }
        mutating func pick<Value>(_ values: [Value]) -> Value { values[next(values.count)] }

        mutating func value(_ depth: Int) -> JSON {
            switch next(depth > 3 ? 5 : 8) {
            case 0:
                return .string(
                    pick(["catalog", "catalog-v1", "", "*", "/a", "10s", "demo", "mesh", "Exact", "GET", "x\u{1}y"]))
            case 1: return .int(Int64(pick([-1, 0, 1, 80, 8080, 70000, 1_000_001])))
            case 2: return .bool(next(2) == 0)
            case 3: return .null
            case 4: return .double(0.5)
            case 5, 6: return .array((0..<next(3)).map { _ in value(depth + 1) })
            default: return object(depth)
            }
        }

        mutating func object(_ depth: Int) -> JSON {
            var object = JSONObject()
            for _ in 0..<(1 + next(4)) { object[pick(Self.words)] = value(depth + 1) }
            return .object(object)
        }

        static let words = [
            "parentRefs", "rules", "matches", "path", "type", "value", "headers", "name", "backendRefs", "port",
            "weight", "filters",
            "timeouts", "request", "hosts", "http", "route", "destination", "host", "subset", "match", "uri", "prefix",
            "exact",
            "subsets", "labels", "trafficPolicy", "tls", "mode", "mtls", "portLevelMtls", "8080", "selector",
            "matchLabels", "servers",
            "number", "gateways", "hostnames", "listeners", "kind", "group", "namespace", "set",
            "requestHeaderModifier",
        ]

        /// A right policy with some places overwritten, so that the wrong value is met deep inside.
        mutating func spoil(_ json: JSON) -> JSON {
            if next(12) == 0 { return value(2) }
            switch json {
            case .object(let object):
                var spoiled = JSONObject()
                for member in object where next(20) != 0 { spoiled[member.key] = spoil(member.value) }
                if next(6) == 0 { spoiled[pick(Self.words)] = value(2) }
                return .object(spoiled)
            case .array(let elements): return .array(elements.map { spoil($0) } + (next(8) == 0 ? [value(2)] : []))
            default: return json
            }
        }
    }

    @Test("broken policies never crash, never lose a destination, and never route to nowhere", arguments: 0..<20)
    func broken(seed: Int) throws {
        var maker = Maker(state: UInt64(seed) &* 77 &+ 5)
        var cluster = try GatewayTests.cluster()
        var found: Set<PolicyFinding.Code> = []
        let files = [
            "policies/examples/canary/route.yaml", "policies/examples/canary/ingress.yaml",
            "policies/examples/canary-istio/route.yaml",
            "policies/examples/strict-mtls/peer-authentication.yaml", "policies/defaults/gateway.yaml",
            "policies/examples/mirror/route.yaml", "policies/examples/redirect/route.yaml",
            "policies/examples/rewrite/route.yaml", "policies/examples/cors/route.yaml",
            "policies/examples/fault/route.yaml",
        ]
        var samples = try files.flatMap { try Cluster.objects(file: $0) }
        samples += try Cluster.objects(VirtualServiceTests.everything)
        for number in 0..<250 {
            var object = maker.pick(samples)
            object.json["spec"] = maker.spoil(object.spec)
            object.name = "p\(number % 7)"
            cluster.add(object)
            if number % 10 != 9 { continue }
            let model = compile(cluster.state)
            found.formUnion(model.findings.map(\.code))
            #expect(model.servicePorts.count == 5)
            for workload in model.workloads.keys {
                for resource in model.resources(for: workload) {
                    // What the proxy decodes is what we meant: nothing it would refuse is ever sent.
                    let read = try ProxyResource.decode(
                        kind: resource.kind, name: resource.name, bytes: resource.json.bytes)
                    #expect(read == resource)
                }
            }
            for port in model.destinations(from: "demo") {
                #expect(chooseRule(in: port.routes, for: RequestForm(path: "/")) != nil, "the last rule takes all")
                for rule in port.routes {
                    let goes = rule.actions.redirect != nil || rule.backends.contains { $0.weight > 0 }
                    #expect(rule.directStatus != nil || goes)
                    for share in rule.backends where !share.backend.isEmpty {
                        #expect(model.backends[share.backend] != nil)
                    }
                }
            }
            #expect(compile(cluster.state) == model, "the same state gives the same model")
        }
        #expect(found.isSuperset(of: [.invalid, .unsupported, .notFound]), "what is wrong is said")
    }
}
