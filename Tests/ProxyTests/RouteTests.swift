import Loop
import ProxyResources
import Testing

@testable import Proxy

@Suite struct RouteTests {
    @Test("path elements, exact paths, methods, headers and hosts decide, in the order of the rules")
    func choice() throws {
        let names = ["exact", "prefix", "method", "header", "text", "rest"]
        let origins = names.map { Origin(name: $0) }
        let gateway = try TestGateway()
        let matches: [RouteMatch] = [
            RouteMatch(path: .exact("/a")), RouteMatch(path: .prefix("/foo/")), RouteMatch(method: "DELETE"),
            RouteMatch(headers: [HeaderMatch(name: "x-user", kind: .exact, value: "jason")]),
            RouteMatch(path: .textPrefix("/te")),
        ]
        var rules = zip(names, matches).map { name, match in rule([(name, 1)]) { $0.matches = [match] } }
        rules.append(rule([("rest", 1)]))
        rules.insert(rule([]) { ($0.matches, $0.directStatus) = ([RouteMatch(path: .exact("/gone"))], 500) }, at: 0)
        let backends = zip(names, origins).map { backend($0, [endpoint(Int($1.port))]) }
        try gateway.apply(rules, backends, hosts: ["*.example.com", "test"])
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/a?x=1")?.text == "exact")
        #expect(visitor.get("/a/")?.text == "rest")
        #expect(visitor.get("/foo")?.text == "prefix")
        #expect(visitor.get("/foo/bar")?.text == "prefix")
        #expect(visitor.get("/foobar")?.text == "rest")
        #expect(visitor.get("/x", method: "DELETE")?.text == "method")
        #expect(visitor.get("/x", "X-User: jason\r\n")?.text == "header")
        #expect(visitor.get("/x", "X-User: jasonx\r\n")?.text == "rest")
        #expect(visitor.get("/text")?.text == "text")
        #expect(visitor.get("/gone")?.status == 500)
        for (host, status) in [("a.Example.com:8080", 200), ("example.com", 404), ("TEST", 200), ("other", 404)] {
            #expect(visitor.send("GET /rest HTTP/1.1\r\nhost: \(host)\r\n\r\n"))
            #expect(visitor.response()?.status == status, "host \(host)")
        }
        visitor.end()
        gateway.plane.stop()
        for origin in origins { origin.stop() }
    }

    @Test("headers are set, replaced and removed on the way")
    func headerEdits() throws {
        let origin = Origin()
        let gateway = try TestGateway()
        let edited = rule([("o", 1)]) {
            $0.setRequestHeaders = [
                HeaderValue(name: "X-Added", value: "yes"), HeaderValue(name: "x-old", value: "new"),
            ]
            $0.removeRequestHeaders = ["X-Secret"]
        }
        try gateway.apply([edited], [backend("o", [endpoint(Int(origin.port))])])
        let visitor = Visitor(port: gateway.port)
        let hop = "connection: x-hop\r\nx-hop: 1\r\nx-weft-peer: w=evil\r\nx-forwarded-client-cert: evil\r\n"
        #expect(visitor.get("/name", "x-old: old\r\nx-secret: s\r\n\(hop)")?.status == 200)
        let head = origin.lastHead
        #expect(header("x-added", head) == "yes")
        #expect(header("x-old", head) == "new")
        for name in ["x-secret", "x-hop", "connection", "x-weft-peer", "x-forwarded-client-cert"] {
            #expect(header(name, head) == nil)
        }
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("10,000 requests split by weight as their seed says")
    func weights() throws {
        let labels = LabelBook()
        var numbers = EndpointNumbers()
        let gateway = GatewayListener(
            name: "g", port: 1, routes: [VirtualHost(hosts: ["*"], rules: [rule([("a", 90), ("b", 10), ("c", 0)])])])
        let configuration = ProxyConfiguration(
            workload: workload("w") { $0.gatewayListeners = [gateway] },
            backends: ["a": backend("a", []), "b": backend("b", []), "c": backend("c", [])])
        let table = TableBuilder.table(
            of: configuration, credentials: nil, generation: 1, labels: labels, numbers: &numbers)
        func split(_ seed: UInt64) throws -> [Int] {
            var engine = Engine(
                poller: try Poller(), mailbox: Mailbox(), labels: labels, seed: seed, inherited: [:], ownPorts: [])
            var counts = [0, 0, 0]
            for _ in 0..<10_000 {
                counts[Int(engine.pickBackend(table.arrays, table.arrays.pointee.rules[0]).backend)] += 1
            }
            return counts
        }
        let counts = try split(42)
        #expect(abs(counts[0] - 9000) < 150)
        #expect(counts[2] == 0)
        #expect(try split(42) == counts)
    }
}
