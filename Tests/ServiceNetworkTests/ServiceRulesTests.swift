import Kernel
import KubeTypes
import Testing
import Wire

@testable import ServiceNetwork

@Suite struct ServiceRulesTests {
    private static let scope = RuleScope(
        nodeName: "node-1", nodeAddresses: [IPv4Address(10, 245, 0, 11)],
        serviceRange: IPv4Range(IPv4Address(10, 96, 0, 0), prefixLength: 16),
        ownServiceAddresses: [IPv4Address(10, 96, 0, 10)])

    private static func slice(_ service: String, _ addresses: [String], node: String = "node-1") -> SliceModel {
        SliceModel(
            Manifest.slice(
                service, ports: [Manifest.port(8080, name: "http")], addresses.map { Manifest.endpoint($0, node: node) }
            ))
    }
    private static func service(_ name: String, _ address: String) -> ServiceModel {
        ServiceModel(Manifest.service(name, address: address, ports: [Manifest.port(80, name: "http")]))
    }

    @Test("a service becomes one dispatch and one element a backend; without backends one refusal")
    func elements() {
        var rules = ServiceRules(scope: Self.scope)
        let web = Self.service("web", "10.96.1.1")
        var changes = rules.update(web.key, web, [Self.slice("web", ["10.244.1.5", "10.244.2.5"])])
        #expect(
            RuleCommands.commands(changes) == [
                "add element ip weft_services dispatch { 10.96.1.1 . 6 . 80 : 2 }",
                "add element ip weft_services backends { 10.96.1.1 . 6 . 80 . 0 : 10.244.1.5 . 8080, "
                    + "10.96.1.1 . 6 . 80 . 1 : 10.244.2.5 . 8080 }",
                "add element ip weft_services hairpins { 10.244.1.5 . 10.244.1.5, 10.244.2.5 . 10.244.2.5 }",
            ])
        changes = rules.update(web.key, web, [Self.slice("web", ["10.244.1.5", "10.244.2.5"])])
        #expect(changes.isEmpty, "nothing changed")
        changes = rules.update(web.key, web, [])
        #expect(changes.added == [.refused(Frontend(address: IPv4Address(10, 96, 1, 1), transport: .tcp, port: 80))])
        #expect(changes.removed.count == 5)
        changes = rules.update(web.key, nil, [])
        #expect(changes.removed.count == 1)
        #expect(rules.all.added.isEmpty)
    }

    @Test("a backend that goes moves one other, at most; the rest keep their slots")
    func slots() {
        var rules = ServiceRules(scope: Self.scope)
        let web = Self.service("web", "10.96.1.1")
        let all = (1...10).map { "10.244.1.\($0 + 1)" }
        _ = rules.update(web.key, web, [Self.slice("web", all)])
        let changes = rules.update(web.key, web, [Self.slice("web", all.filter { $0 != "10.244.1.4" })])
        // The count, the vacated slot, the last slot, the hairpin.
        #expect(changes.removed.count == 4)
        #expect(changes.added.count == 2)
    }

    @Test("backends are the ready ones, else the ending ones that still serve")
    func readiness() {
        let frontend = Frontend(address: IPv4Address(10, 96, 1, 1), transport: .tcp, port: 80)
        func backends(_ conditions: [(String, JSON)]) -> Int {
            let endpoints = conditions.map { Manifest.endpoint($0.0, conditions: $0.1) }
            let slice = SliceModel(Manifest.slice("web", ports: [Manifest.port(8080, name: "http")], endpoints))
            return Self.service("web", "10.96.1.1").frontends([slice], Self.scope)[frontend]?.backends.count ?? -1
        }
        #expect(
            backends([
                ("10.244.1.2", ["ready": true]),
                ("10.244.1.3", ["ready": false, "serving": true, "terminating": true]),
            ]) == 1)
        #expect(backends([("10.244.1.3", ["ready": false, "serving": true, "terminating": true])]) == 1)
        #expect(backends([("10.244.1.3", ["ready": false, "serving": false, "terminating": true])]) == 0)
        #expect(backends([("10.244.1.3", ["ready": false, "serving": true, "terminating": false])]) == 0)
        #expect(backends([("10.244.1.3", [:])]) == 1, "no condition is ready")
    }

    @Test("node ports are open at the node's addresses and masquerade, unless traffic stays local")
    func nodePorts() throws {
        let node = Frontend(address: IPv4Address(10, 245, 0, 11), transport: .tcp, port: 30080)
        let slices = [
            Self.slice("web", ["10.244.1.2"]),
            SliceModel(
                Manifest.slice(
                    "web", suffix: "b", ports: [Manifest.port(8080, name: "http")],
                    [Manifest.endpoint("10.244.2.2", node: "node-2")])),
        ]
        let ports = [Manifest.port(80, name: "http", nodePort: 30080)]
        let anywhere = ServiceModel(Manifest.service("web", address: "10.96.1.1", ports: ports, ["type": "NodePort"]))
        #expect(anywhere.frontends(slices, Self.scope)[node]?.masquerades == true)
        #expect(anywhere.frontends(slices, Self.scope)[node]?.backends.count == 2)
        let local = ServiceModel(
            Manifest.service(
                "web", address: "10.96.1.1", ports: ports, ["type": "NodePort", "externalTrafficPolicy": "Local"]))
        #expect(local.frontends(slices, Self.scope)[node]?.masquerades == false)
        #expect(
            local.frontends(slices, Self.scope)[node]?.backends == [
                Backend(address: IPv4Address(10, 244, 1, 2), port: 8080)
            ])
        let inside = Frontend(address: IPv4Address(10, 96, 1, 1), transport: .tcp, port: 80)
        #expect(local.frontends(slices, Self.scope)[inside]?.backends.count == 2)
    }

    @Test("headless services, external names and the DNS server's own address get no rules")
    func none() {
        let ports = [Manifest.port(53, "UDP")]
        for service in [
            Manifest.service("a", address: "None", ports: ports),
            Manifest.service("b", address: nil, ports: ports, ["type": "ExternalName", "externalName": "x.y"]),
            Manifest.service("kube-dns", address: "10.96.0.10", ports: ports),
        ] {
            #expect(ServiceModel(service).frontends([], Self.scope).isEmpty)
        }
    }

    @Test("an external address two services want is the first one's, then the other's")
    func conflict() {
        var rules = ServiceRules(scope: Self.scope)
        let external = Frontend(address: IPv4Address(192, 0, 2, 9), transport: .tcp, port: 80)
        func model(_ name: String, _ address: String) -> ServiceModel {
            ServiceModel(
                Manifest.service(
                    name, address: address, ports: [Manifest.port(80, name: "http")], ["externalIPs": ["192.0.2.9"]]))
        }
        let one = model("one", "10.96.1.1")
        let two = model("two", "10.96.1.2")
        _ = rules.update(one.key, one, [Self.slice("one", ["10.244.1.2"])])
        _ = rules.update(two.key, two, [Self.slice("two", ["10.244.1.3"])])
        #expect(rules.backends(of: external)?.map(\.address) == [IPv4Address(10, 244, 1, 2)])
        _ = rules.update(one.key, nil, []) { $0 == two.key ? (two, [Self.slice("two", ["10.244.1.3"])]) : nil }
        #expect(rules.backends(of: external)?.map(\.address) == [IPv4Address(10, 244, 1, 3)])
    }

    @Test("a change among a thousand services costs commands and elements for that one service")
    func cost() {
        var rules = ServiceRules(scope: Self.scope)
        for index in 0..<1000 {
            let service = Self.service("s\(index)", "10.96.\(1 + index / 250).\(1 + index % 250)")
            let addresses = (0..<3).map { "10.244.\(1 + (index * 3 + $0) / 250).\(1 + (index * 3 + $0) % 250)" }
            _ = rules.update(service.key, service, [Self.slice("s\(index)", addresses)])
        }
        let all = rules.all
        #expect(all.added.filter { $0.collection == .dispatch }.count == 1000)
        #expect(all.added.filter { $0.collection == .backends }.count == 3000)
        var small = ServiceRules(scope: Self.scope)
        let only = Self.service("s0", "10.96.1.1")
        _ = small.update(only.key, only, [Self.slice("s0", ["10.244.1.1"])])
        #expect(
            RuleCommands.whole(all, Self.scope).count == RuleCommands.whole(small.all, Self.scope).count,
            "elements grow with services, commands do not")
        let service = Self.service("s500", "10.96.3.1")
        let changes = rules.update(service.key, service, [Self.slice("s500", ["10.244.7.1", "10.244.7.2"])])
        #expect(RuleCommands.commands(changes).count <= 6)
        #expect(changes.added.count + changes.removed.count <= 12)
    }

    @Test("changes put together do what they do one after the other")
    func union() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var rules = ServiceRules(scope: Self.scope)
            var kernel: Set<RuleElement> = []
            var sum = RuleChanges()
            for _ in 0..<8 {
                let name = ["one", "two"].randomElement(using: &random) ?? "one"
                let count = Int.random(in: 0...4, using: &random)
                let addresses = (0..<count).map { _ in "10.244.1.\(Int.random(in: 2...6, using: &random))" }
                let model =
                    Bool.random(using: &random) ? Self.service(name, name == "one" ? "10.96.1.1" : "10.96.1.2") : nil
                let changes = rules.update(
                    ObjectKey(namespace: "demo", name: name), model, [Self.slice(name, addresses)])
                #expect(changes.removed.isSubset(of: kernel))
                #expect(changes.added.isDisjoint(with: kernel.subtracting(changes.removed)))
                kernel = kernel.subtracting(changes.removed).union(changes.added)
                sum.formUnion(changes)
            }
            #expect(kernel == rules.all.added)
            #expect(sum.removed.isEmpty)
            #expect(sum.added == kernel)
            let keys = kernel.map { "\($0.collection) \($0.key)" }
            #expect(Set(keys).count == keys.count, "no two elements of a map share a key")
        }
    }
}
