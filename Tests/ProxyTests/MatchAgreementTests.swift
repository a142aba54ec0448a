import CKernel
import Glibc
import Loop
import ProxyResources
import Testing
import Wire

@testable import Proxy

/// An engine without sockets, to ask where a request would go.
struct Matcher: ~Copyable {
    var engine: Engine
    let table: RoutingTable

    init(_ hosts: [VirtualHost], workload change: (inout Workload) -> Void = { _ in }) throws {
        let labels = LabelBook()
        var numbers = EndpointNumbers()
        let listener = GatewayListener(name: "g", port: 80, routes: hosts)
        let configuration = ProxyConfiguration(
            workload: workload("w") {
                $0.gatewayListeners = [listener]
                change(&$0)
            })
        table = TableBuilder.table(
            of: configuration, credentials: nil, generation: 1, labels: labels, numbers: &numbers)
        engine = Engine(poller: try Poller(), mailbox: Mailbox(), labels: labels, seed: 1, inherited: [:], ownPorts: [])
    }

    mutating func host(_ authority: String) -> Int? {
        let head = Array("GET / HTTP/1.1\r\nhost: \(authority)\r\n\r\n".utf8)
        return head.withUnsafeBufferPointer { bytes -> Int? in
            guard let start = bytes.baseAddress, engine.parser.request(start, bytes.count) == .complete else {
                return nil
            }
            return engine.virtualHost(table.arrays, table.arrays.pointee.gateways[0], start).map(Int.init)
        }
    }

    /// The place in the list of rules of the host at a place; -1 for none, -2 for a head that is refused.
    mutating func rule(_ place: Int, _ request: RequestForm) -> Int {
        var head = "\(request.method) \(request.path) HTTP/1.1\r\nhost: \(request.authority)\r\n"
        for header in request.headers { head += "\(header.name): \(header.value)\r\n" }
        let bytes = Array("\(head)\r\n".utf8)
        guard let client = engine.open(-1, .client) else { return -3 }
        client.pointee.side = .gateway
        client.pointee.remoteAddress = AddressRange(request.address)?.address ?? 0
        defer { client.pointee.role = .free }
        let rules = table.arrays.pointee.hosts[place].rules
        return bytes.withUnsafeBufferPointer { bytes -> Int in
            guard let start = bytes.baseAddress, engine.parser.request(start, bytes.count) == .complete else {
                return -2
            }
            let taken = engine.matchRule(table.arrays, rules, client, start)
            return taken.rule < 0 ? -1 : Int(taken.rule - rules.start)
        }
    }
}

/// Makes rules and requests that have a fair chance to meet.
struct RouteMaker {
    var chance = Chance(seed: UInt64.random(in: 1...UInt64.max))

    mutating func pick<Element>(_ list: [Element]) -> Element { list[Int(chance.below(UInt32(list.count)))] }
    mutating func happens(_ oneIn: UInt32) -> Bool { chance.below(oneIn) == 0 }

    mutating func path() -> String {
        let count = Int(chance.below(4))
        if count == 0 { return "/" }
        return (0..<count).map { _ in "/\(pick(["a", "b", "ab", "abc", "A", "x1", ""]))" }.joined()
    }

    mutating func text() -> TextMatch {
        let kind = pick([TextMatch.Kind.exact, .prefix, .suffix, .present, .regex])
        let value = kind == .regex ? pick(["a+", "[ab]*", "x.", "(?i)b"]) : pick(["a", "b", "ab", "A", "a b", "%"])
        return TextMatch(kind, value, ignoresCase: happens(3))
    }

    mutating func match() -> RouteMatch {
        var match = RouteMatch()
        switch chance.below(12) {
        case 0: match.path = .any
        case 1...4: match.path = .prefix(path())
        case 5...8: match.path = .exact(path())
        case 9, 10: match.path = .textPrefix(path())
        default: match.path = .regex(pick(["/a.*", "/[ab]+/.*", ".*1", "/"]))
        }
        match.ignoresPathCase = happens(8)
        if happens(4) { match.method = pick(["GET", "PUT"]) }
        if happens(12) { match.methodText = TextMatch(.prefix, pick(["G", "P"])) }
        if happens(5) {
            let text = text()
            match.headers = [
                HeaderMatch(
                    name: pick(["x-a", "x-b"]), kind: text.kind, value: text.value, ignoresCase: text.ignoresCase,
                    isInverted: happens(3))
            ]
        }
        if happens(5) { match.query = [QueryMatch(name: pick(["q", "r s", "%zz"]), text())] }
        if happens(12) { match.source = SourceMatch(addresses: [pick(["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0"])]) }
        if happens(15) { match.source.namespace = pick(["demo", "other"]) }
        if happens(15) { match.source.labels = ["tier": pick(["front", "back"])] }
        if happens(15) { match.port = pick([80, 81]) }
        if happens(15) { match.scheme = TextMatch(.exact, pick(["http", "https"])) }
        if happens(12) { match.authority = TextMatch(.suffix, pick([".test", "h.test:80"])) }
        return match
    }

    mutating func request() -> RequestForm {
        var headers: [HeaderValue] = []
        for name in ["x-a", "X-B", "x-a"] where happens(3) {
            headers.append(HeaderValue(name: name, value: pick(["a", "aa", "b", "Ab", "a b"])))
        }
        var path = path()
        if happens(2) {
            let parts = (0..<Int(chance.below(4))).map { _ in
                pick(["q", "r%20s", "%71", "%zz", ""]) + pick(["=", "", "=="])
                    + pick(["a", "%61b", "A%", "a%20b", "+"])
            }
            path += "?\(parts.joined(separator: "&"))"
        }
        return RequestForm(
            method: pick(["GET", "PUT", "POST"]), path: path, scheme: "http", authority: pick(["h.test", "H.test:80"]),
            headers: headers, address: pick(["10.1.2.3", "11.0.0.1"]), port: 80, namespace: "demo",
            labels: ["tier": "front"])
    }
}

@Suite struct MatchAgreementTests {
    @Test("the engine takes the rule the pure meaning takes, for few rules and for many", arguments: [1, 3, 20, 200])
    func rules(count: Int) throws {
        var maker = RouteMaker()
        for _ in 0..<(count > 100 ? 5 : 30) {
            let rules = (0..<count).map { number in
                let matches = maker.happens(20) ? [] : (0..<Int(1 + maker.chance.below(3))).map { _ in maker.match() }
                return RouteRule(name: "\(number)", matches: matches, directStatus: 200)
            }
            var matcher = try Matcher([VirtualHost(hosts: ["*"], rules: rules)]) { $0.labels = ["tier": "front"] }
            // Rules nothing here can ever take are not in the table.
            let kept = rules.filter { rule in
                rule.matches.isEmpty
                    || rule.matches.contains {
                        $0.port ?? 80 == 80 && $0.source.namespace ?? "demo" == "demo"
                            && $0.source.labels["tier"] ?? "front" == "front"
                    }
            }
            for _ in 0..<200 {
                let request = maker.request()
                let expected = chooseRule(in: kept, for: request) ?? -1
                let found = matcher.rule(0, request)
                #expect(found == expected, "\(request) of \(kept.map(\.matches))")
            }
        }
    }

    @Test("the engine takes the host the pure meaning takes, for few hosts and for many", arguments: [1, 4, 40, 400])
    func hosts(count: Int) throws {
        var maker = RouteMaker()
        let labels = ["a", "b", "example", "test", "com", "Www"]
        func name(_ maker: inout RouteMaker) -> String {
            (0...Int(maker.chance.below(4))).map { _ in maker.pick(labels) }.joined(separator: ".")
        }
        for _ in 0..<20 {
            let hosts = (0..<count).map { number in
                let pattern = maker.happens(10) ? "*" : maker.happens(3) ? "*.\(name(&maker))" : name(&maker)
                return VirtualHost(
                    hosts: [pattern], rules: [RouteRule(name: "\(number)", directStatus: 200)])
            }
            var matcher = try Matcher(hosts)
            for _ in 0..<100 {
                let authority = name(&maker) + maker.pick(["", ":80", ".", ".:80"])
                let expected = chooseHost(in: hosts, for: authority)
                let found = matcher.host(authority).map { place in
                    Int(matcher.table.arrays.pointee.hosts[place].rules.start)
                }
                #expect(found == expected, "\(authority) of \(hosts.map(\.hosts))")
            }
        }
    }

    @Test("ten thousand routes are not tried one by one")
    func manyRoutes() throws {
        var rules = (0..<10_000).map { number in
            RouteRule(name: "\(number)", matches: [RouteMatch(path: .prefix("/service/\(number)"))], directStatus: 200)
        }
        rules.append(RouteRule(name: "rest", directStatus: 200))
        var matcher = try Matcher([VirtualHost(hosts: ["*"], rules: rules)])
        let tables = matcher.table.arrays.pointee.routes
        let index = matcher.table.arrays.pointee.hosts[0].rules.index
        #expect(index == 0)
        #expect(tables.indexes[0].others.count == 1)
        for number in [0, 1, 77, 5000, 9999] {
            let found = matcher.rule(0, RequestForm(path: "/service/\(number)/x", authority: "h"))
            #expect(found == number)
        }
        let rest = matcher.rule(0, RequestForm(path: "/service/10000", authority: "h"))
        #expect(rest == 10_000)
    }
}
