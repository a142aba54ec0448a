import Glibc
import Kernel
import Testing
import Wire
import YAMLText

@testable import Proxy
@testable import ProxyResources

/// Files for `meshproxy run`, and what should be said of them.
private enum Example {
    static let good: [String] = [
        "listeners: [{port: 80, routes: [{directStatus: 204}]}]",
        """
        listeners:
          - port: 80
            routes:
              - match: {path: {regex: "/v[0-9]+/.*"}, query: [{name: q, kind: prefix, value: a}], source: {addresses: [10.0.0.0/8]}}
                redirect: {scheme: https, path: {full: /new}, status: 308}
              - match: {path: /old, headers: [{name: x-a, kind: regex, value: "a+", invert: true}], authority: {kind: suffix, value: .test}}
                to: [{cluster: x, weight: 1, setResponseHeaders: {x-one: "1"}}]
                rewrite: {host: x.test, path: {prefix: /new}}
                mirrors: [{cluster: y, millionths: 1000}]
                cors: {origins: [{value: "https://*.a.test"}, {kind: regex, value: "https://b[0-9]"}], methods: [GET], maxAge: 10m, credentials: true}
                fault: {delay: {milliseconds: 20, millionths: 5}, abort: {grpcStatus: 14}}
                removeResponseHeaders: [server]
              - {directStatus: 404, directBody: {text: gone, contentType: text/html}}
        clusters: [{name: x, endpoints: ["10.0.0.1:80"]}, {name: y, endpoints: ["10.0.0.2:80"]}]
        """,
        """
        listeners:
          - {name: a, address: 127.0.0.1, port: 8080, routes: [{hosts: [a.example, "*.b.example"], to: x, timeout: 1.5s}]}
          - port: 8081
            routes:
              - {match: {path: /v1, method: GET, headers: {x-a: b}}, to: [x, {cluster: y, weight: 3}]}
              - match: [{path: {exact: /a}}, {headers: [{name: x-c, kind: present}]}]
                to: y
                setRequestHeaders: {x-one: "1"}
                addRequestHeaders: [{name: x-two, value: "2"}]
                removeRequestHeaders: [x-three]
          - port: 8082
            routes:
              - to: x
                resilience: {retry: {attempts: 2, conditions: [5xx], perTryTimeout: 250ms}}
                mirrors: [{cluster: y}]
              - match: {path: /old}
                redirect: {path: {full: /new}, status: 301}
          - {port: 9443, tlsRoutes: [{hosts: ["*.c.example"], to: y}]}
        clusters:
          - {name: x, endpoints: ["10.0.0.1:80"], balance: round-robin}
          - {name: y, principal: spiffe://a/ns/b/sa/c, endpoints: [{address: 10.0.0.2, port: 81, weight: 2, version: v2}]}
        workload:
          name: edge
          namespace: web
          security:
            policies: [{name: web/ask, action: CUSTOM, provider: opa, rules: [{to: [{paths: [/private*]}]}]}]
            authorizers:
              - {name: opa, form: GRPC, cluster: y, authority: "opa.web:9191", timeout: 250ms, statusOnError: 503, maxRequestBytes: 8192, allowPartialMessage: true, packAsBytes: true, includePeerCertificate: true, contextExtensions: {route: shop}}
              - {name: login, cluster: y, pathPrefix: /check, failOpen: true, includeRequestHeadersInCheck: ["x-user*"], includeAdditionalHeadersInCheck: [{name: x-from, value: edge}], maxRequestBytes: 100}
        admin: {port: 9000}
        metrics: {port: 9001}
        health: {port: 9002}
        """,
    ]
    /// What each gets wrong, where the decoder finds it, and on which line.
    static let bad: [(text: String, place: String)] = [
        ("listeners: []", "bad.yaml:1: listeners: "),
        ("clusters: []", "bad.yaml:1: listeners: "),
        ("listeners:\n  - port: 99999\n    routes: [{directStatus: 204}]", "bad.yaml:2: listeners[0].port: is 99999"),
        ("listeners:\n  - port: 80\n    rutes: [{directStatus: 204}]", "bad.yaml:2: listeners[0].routes: "),
        (
            "listeners:\n  - port: 80\n    colour: red\n    routes: [{directStatus: 204}]",
            "bad.yaml:3: listeners[0].colour: "
        ),
        (
            "listeners:\n  - port: 80\n    routes:\n      - to: x\n        timeout: 5\nclusters: [{name: x}]",
            "bad.yaml:5: listeners[0].routes[0].timeout: is 5, must be a time"
        ),
        (
            "listeners:\n  - port: 80\n    routes:\n      - to: [{cluster: x, weight: -1}]\nclusters: [{name: x}]",
            "bad.yaml:4: listeners[0].routes[0].to[0].weight: "
        ),
        (
            "listeners: [{port: 80, routes: [{to: x, hosts: ['a:80']}]}]\nclusters: [{name: x}]",
            "bad.yaml:1: listeners[0].routes[0].hosts[0]: "
        ),
        (
            "listeners: [{port: 80, routes: [{directStatus: 204}]}]\nclusters:\n- name: x\n  endpoints: ['localhost:80']",
            "bad.yaml:4: clusters[0].endpoints[0]"
        ),
        ("listeners: [{port: 80, routes: [{directStatus: 204}]}]\nadmin: {port: nine}", "bad.yaml:2: admin.port: "),
        (
            "listeners: [{port: 80, routes: [{match: {path: {glob: a}}, directStatus: 204}]}]",
            "bad.yaml:1: listeners[0].routes[0].match[0].path.glob: "
        ),
        ("listeners: [{port: 80, routes: [{name: a}]}]", "bad.yaml:1: listeners[0].routes[0].to: is required"),
    ]
    /// Wrong in ways only the whole file shows, which a schema cannot say.
    static let inconsistent: [(text: String, place: String)] = [
        (
            "listeners: [{port: 80, routes: [{to: y}]}]\nclusters: [{name: x}]",
            "bad.yaml:1: listeners[0].routes[0].to[0].cluster: is y, which no cluster is called; there are x"
        ),
        (
            "listeners: [{port: 80, routes: [{to: x}]}]\nclusters:\n- name: x\n- name: x",
            "bad.yaml:4: clusters[1].name: "
        ),
        (
            "listeners:\n- {port: 80, routes: [{directStatus: 204}]}\n- {port: 80, routes: [{directStatus: 204}]}",
            "bad.yaml:3: listeners[1].port: "
        ),
    ]
}

@Suite struct StandaloneTests {
    static let root = String(#filePath.dropLast("/Tests/ProxyTests/StandaloneTests.swift".utf8.count))

    private func fault(_ text: String) -> String? {
        do {
            _ = try ConfigurationFile(parsing: Array(text.utf8), name: "bad.yaml")
            return nil
        } catch { return "\(error)" }
    }

    @Test("the example beside the documentation is a good one")
    func example() throws {
        let file = try ConfigurationFile(reading: Self.root + "/proxies/example.yaml")
        #expect(file.summary == "1 listener, 4 routes, 3 clusters")
        #expect(file.doors.metricsPort == 9090 && file.doors.adminPort == 0)
        let api = try #require(file.configuration.backends["api"])
        #expect(api.endpoints.map(\.port) == [9001, 9002] && api.balance.algorithm == .roundRobin)
        #expect(api.health?.intervalMilliseconds == 5000)
    }

    @Test(
        "a bad file is refused with its line, the field as the file spells it, and the cause",
        arguments: Example.bad.indices)
    func refused(_ place: Int) throws {
        let found = try #require(fault(Example.bad[place].text), "\(Example.bad[place].text)")
        #expect(found.hasPrefix(Example.bad[place].place), "\(found)")
    }

    @Test("so is one that does not agree with itself", arguments: Example.inconsistent.indices)
    func inconsistent(_ place: Int) throws {
        let found = try #require(fault(Example.inconsistent[place].text), "\(Example.inconsistent[place].text)")
        #expect(found.hasPrefix(Example.inconsistent[place].place), "\(found)")
    }

    @Test("schema and decoder agree on good and bad files")
    func schema() throws {
        var texts = Example.good
        let site = String(decoding: try SmallFile.read(Self.root + "/proxies/example.yaml"), as: UTF8.self)
        texts.append(site)
        for text in texts { #expect(fault(text) == nil, "\(text)") }
        let wrong = texts.count
        texts += Example.bad.map(\.text)
        let verdicts = try Self.verdicts(of: try texts.map { try YAMLValue(parsing: Array($0.utf8)).json })
        for (place, verdict) in verdicts.enumerated() {
            #expect((verdict == "ok") == (place < wrong), "\(verdict)\n\(texts[place])")
        }
    }

    /// What the schema says of values: `ok`, or why not.
    static func verdicts(of values: [JSON]) throws -> [String] {
        let input = "/tmp/weft-schema-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).json"
        try SmallFile.replace(input, with: Array(JSON.array(values).text.utf8))
        defer { unlink(input) }
        let said = try output(
            "'\(root)/.build/tools/bin/python' '\(root)/Tests/ProxyTests/schema_verdicts.py' '\(root)/proxies/standalone.schema.json' < \(input)"
        )
        let verdicts = said.split(separator: "\n").map(String.init)
        try #require(verdicts.count == values.count, "\(said)")
        return verdicts
    }

    private static func output(_ command: String) throws -> String {
        let pipe = try #require(popen(command, "r"))
        var text = ""
        var line = [CChar](repeating: 0, count: 4096)
        while fgets(&line, Int32(line.count), pipe) != nil {
            text += String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        pclose(pipe)
        return text
    }

    @Test("the first route whose host and match fit takes the request, whatever the other hosts are")
    func hostsInOrder() {
        func route(_ name: String, _ hosts: [String]) -> StandaloneRoute {
            StandaloneRoute(hosts: hosts, rule: RouteRule(name: name, directStatus: 204))
        }
        let hosts = StandaloneRoute.virtualHosts([
            route("one", ["a.example"]), route("two", ["*.example"]), route("three", ["*"]),
            route("four", ["a.example", "b.example"]),
        ])
        func names(_ authority: String) -> [String] {
            chooseHost(in: hosts, for: authority).map { hosts[$0].rules.map(\.name) } ?? []
        }
        #expect(names("a.example") == ["one", "two", "three", "four"])
        #expect(names("b.example") == ["two", "three", "four"])
        #expect(names("c.example") == ["two", "three"])
        #expect(names("other.test") == ["three"])
    }

    @Test("YAML is bounded: depth, aliases that multiply, a key that stands twice, a second document")
    func bounds() {
        func fault(_ text: String) -> String? {
            do throws(YAMLFault) {
                _ = try YAMLValue(parsing: Array(text.utf8))
                return nil
            } catch { return error.message }
        }
        #expect(
            fault(String(repeating: "[", count: 100) + String(repeating: "]", count: 100))?.contains("deeper") == true)
        var bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        for (name, other) in zip("bcdefghi", "abcdefgh") {
            let list = Array(repeating: "*\(other)", count: 10).joined(separator: ", ")
            bomb += "\(name): &\(name) [\(list)]\n"
        }
        #expect(fault(bomb)?.contains("values") == true)
        #expect(fault("a: 1\na: 2")?.contains("stands twice") == true)
        #expect(fault("a: 1\n---\nb: 2")?.contains("second document") == true)
        #expect(fault("a: *b") != nil && fault("a: [1") != nil && fault("") != nil)
        #expect(fault("a: &b 1\nc: *b") == nil)
    }

    @Test("only true, false, null and numbers are not text")
    func schemaOfScalars() throws {
        let json = try YAMLValue(
            parsing: Array("[yes, no, on, 1, 0x10, -2.5, .5, 1e3, ~, true, '1', 1.2.3, 12:30, '', 010]".utf8)
        ).json
        let expected: JSON = [
            "yes", "no", "on", 1, 16, -2.5, 0.5, 1000.0, .null, true, "1", "1.2.3", "12:30", "", 10,
        ]
        #expect(json == expected)
    }

    @Test(
        "the file is followed: a good change is taken, a bad one is refused and changes nothing, while requests go on")
    func followed() throws {
        let first = Origin(name: "first")
        let second = Origin(name: "second")
        let directory = "/tmp/weft-run-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try SmallFile.makeDirectories(directory)
        defer { try? FileTree.remove(directory) }
        let path = directory + "/proxy.yaml"
        let port = freePort()
        func write(_ origin: Origin, _ extra: String = "") throws {
            let text = """
                listeners: [{address: 127.0.0.1, port: \(port), routes: [{to: origin}]}]
                clusters: [{name: origin, endpoints: ["127.0.0.1:\(origin.port)"]}]
                \(extra)
                """
            try SmallFile.replace(path, with: Array(text.utf8))
        }
        try write(first)
        var options = ProgramOptions(role: .run)
        options.configFile = path
        options.concurrency = 2
        (options.adminPort, options.healthPort, options.metricsPort) = (0, 0, 0)
        let program = try Program(options)
        defer { program.state.plane.stop() }
        func answer() -> String? {
            let visitor = Visitor(port: port)
            defer { visitor.end() }
            return visitor.get("/name")?.text
        }
        #expect(eventually { answer() == "first" })
        let load = Load(port: port, connections: 4)
        for round in 0..<20 {
            let wanted = round % 2 == 0 ? second : first
            try write(wanted)
            #expect(eventually { answer() == wanted.name })
        }
        try write(second, "colour: red")
        #expect(eventually { program.state.lastFault.contains("proxy.yaml:3: colour: ") })
        #expect(answer() == "first")
        try write(second)
        #expect(eventually { answer() == "second" && program.state.lastFault.isEmpty })
        let taken = freePort()
        let holder = try #require(Optional(Origin(name: "holder")))
        try SmallFile.replace(
            path,
            with: Array(
                "listeners: [{port: \(holder.port), routes: [{directStatus: 204}]}, {port: \(taken), routes: [{directStatus: 204}]}]"
                    .utf8))
        #expect(eventually { program.state.lastFault.contains("\(holder.port)") })
        #expect(answer() == "second")
        let result = load.finish()
        #expect(result.failed == 0, "\(result.reasons)")
        for origin in [first, second, holder] { origin.stop() }
    }
}
