import ProxyResources
import Testing
import Wire

@testable import Proxy

/// A policy from its JSON.
func policy(_ text: String) throws -> AuthorizationPolicy {
    let json = try JSON(
        parsing: Array(#"{"security":{"policies":[\#(text)],"authorizers":[{"name":"a","backend":"b"}]}}"#.utf8))
    var whole = workload("x").json
    whole["security"] = json["security"]
    return try Workload(json: whole).security.policies[0]
}

@Suite struct AccessDecisionTests {
    static let caller = "spiffe://cluster.local/ns/demo/sa/frontend"

    @Test(
        "one rule, one request",
        arguments: [
            (#"{}"#, true),
            (#"{"from":[{"principals":["cluster.local/ns/demo/sa/frontend"]}]}"#, true),
            (#"{"from":[{"principals":["*/sa/frontend"]}]}"#, true),
            (#"{"from":[{"principals":["cluster.local/ns/demo/*"]}]}"#, true),
            (#"{"from":[{"principals":["spiffe://cluster.local/ns/demo/sa/frontend"]}]}"#, false),
            (#"{"from":[{"notPrincipals":["*"]}]}"#, false),
            (#"{"from":[{"namespaces":["de*"]}]}"#, true),
            (#"{"from":[{"namespaces":["demo"],"notPrincipals":["*/frontend"]}]}"#, false),
            (#"{"from":[{"namespaces":["shop"]},{"serviceAccounts":["demo/frontend"]}]}"#, true),
            (#"{"from":[{"trustDomains":["cluster.local"],"notTrustDomains":["other"]}]}"#, true),
            (#"{"from":[{"trustDomains":["local"]}]}"#, false),
            (#"{"from":[{"ipBlocks":["10.1.0.0/16"]}]}"#, true),
            (#"{"from":[{"ipBlocks":["10.1.2.4"]}]}"#, false),
            (#"{"from":[{"notIpBlocks":["::1/128"]}]}"#, true),
            (#"{"from":[{"remoteIpBlocks":["192.0.2.0/24"]}]}"#, true),
            (#"{"from":[{"requestPrincipals":["*"]}]}"#, true),
            (#"{"from":[{"requestPrincipals":["https://issuer.example/alice"]}]}"#, true),
            (#"{"to":[{"hosts":["SHOP.example.com"]}]}"#, true),
            (#"{"to":[{"hosts":["shop.example.com:*"]}]}"#, false),
            (#"{"to":[{"methods":["GET"],"ports":["8080"]}]}"#, true),
            (#"{"to":[{"methods":["get"]}]}"#, false),
            (#"{"to":[{"notMethods":["GET"]}]}"#, false),
            (#"{"to":[{"paths":["/books/*"]}]}"#, true),
            (#"{"to":[{"paths":["*/pages"]}]}"#, true),
            (#"{"to":[{"paths":["/books"]}]}"#, false),
            (#"{"to":[{"paths":["/books/{*}/pages"]}]}"#, true),
            (#"{"to":[{"paths":["/{*}/pages"]}]}"#, false),
            (#"{"to":[{"paths":["/books/{**}"]}]}"#, true),
            (#"{"to":[{"paths":["/{*}/{**}/pages"]}]}"#, true),
            (#"{"to":[{"paths":["/books/{*}/pages/{*}"]}]}"#, false),
            (#"{"to":[{"paths":["/books/7/pages/{**}"]}]}"#, false),
            (#"{"to":[{"notPaths":["/admin*"]}]}"#, true),
            (#"{"when":[{"key":"request.headers[X-Tag]","values":["one,two"]}]}"#, true),
            (#"{"when":[{"key":"request.headers[x-tag]","values":["one"]}]}"#, false),
            (#"{"when":[{"key":"request.headers[x-empty]","values":["*"]}]}"#, true),
            (#"{"when":[{"key":"request.headers[x-none]","notValues":["*"]}]}"#, true),
            (#"{"when":[{"key":"request.auth.audiences","values":["books"]}]}"#, true),
            (#"{"when":[{"key":"request.auth.presenter","values":["app*"]}]}"#, true),
            (
                #"{"when":[{"key":"request.auth.claims[realm][roles]","values":["reader"],"notValues":["admin"]}]}"#,
                true
            ),
            (#"{"when":[{"key":"request.auth.claims[scope]","values":["write"]}]}"#, true),
            (#"{"when":[{"key":"request.auth.claims[age]","values":["7"]}]}"#, false),
            (
                #"{"when":[{"key":"destination.port","values":["8080"]},{"key":"destination.ip","values":["10.9.9.9"]}]}"#,
                true
            ),
            (#"{"when":[{"key":"connection.sni","values":["*.example.com"]}]}"#, true),
            (#"{"when":[{"key":"source.namespace","notValues":["demo"]}]}"#, false),
        ])
    func rules(rule: String, matches: Bool) throws {
        let allow = try policy(#"{"name":"p","action":"ALLOW","rules":[\#(rule)]}"#)
        let deny = try policy(#"{"name":"p","action":"DENY","rules":[\#(rule)]}"#)
        #expect(authorize([allow], Self.facts).isAllowed == matches)
        #expect(authorize([deny], Self.facts).isAllowed != matches)
        for policy in [allow, deny] {
            #expect(try compiled([policy], Self.facts) == authorize([policy], Self.facts).isAllowed)
        }
    }

    static let token: JSON = [
        "iss": "https://issuer.example", "sub": "alice", "aud": ["shop", "books"], "azp": "app-1", "age": 7,
        "scope": "read write", "realm": ["roles": ["reader", "writer"]],
    ]
    static let facts = AccessFacts(
        principal: caller, sourceAddress: 0x0A01_0203, remoteAddress: 0xC000_0201, destinationAddress: 0x0A09_0909,
        destinationPort: 8080, serverName: "shop.example.com", method: "GET", path: "/books/7/pages",
        host: "shop.example.com",
        headers: [
            HeaderValue(name: "X-Tag", value: "one"), HeaderValue(name: "x-tag", value: "two"),
            HeaderValue(name: "x-empty", value: ""),
        ], token: token)

    @Test(
        "the order of actions is Istio's: DENY before ALLOW; without ALLOW all passes; an ALLOW without rules passes nothing"
    )
    func order() throws {
        let all = "[{}]"
        let allow = try policy(#"{"name":"allow","rules":\#(all)}"#)
        let deny = try policy(#"{"name":"deny","action":"DENY","rules":\#(all)}"#)
        let nothing = try policy(#"{"name":"nothing"}"#)
        let denyNothing = try policy(#"{"name":"deny-nothing","action":"DENY"}"#)
        let audit = try policy(#"{"name":"audit","action":"AUDIT","rules":\#(all)}"#)
        let custom = try policy(#"{"name":"custom","action":"CUSTOM","provider":"a","rules":\#(all)}"#)
        #expect(authorize([], Self.facts).isAllowed)
        #expect(authorize([allow, deny], Self.facts) == verdict(false, 1, 0))
        #expect(authorize([nothing], Self.facts) == verdict(false, nil, nil))
        #expect(authorize([nothing, allow], Self.facts) == verdict(true, 1, 0))
        #expect(authorize([denyNothing], Self.facts).isAllowed)
        #expect(authorize([audit], Self.facts).audits == [0])
        #expect(authorizer([deny, custom], for: Self.facts)?.provider == "a")
        var trial = deny
        trial.isDryRun = true
        let tried = authorize([allow, trial], Self.facts)
        #expect(tried.isAllowed && tried.trialAllows == false && tried.trialPolicy == 1)
        var elsewhere = deny
        elsewhere.ports = [9]
        #expect(authorize([elsewhere], Self.facts).isAllowed)
    }

    private func verdict(_ isAllowed: Bool, _ policy: Int?, _ rule: Int?) -> AccessVerdict {
        var verdict = AccessVerdict()
        (verdict.isAllowed, verdict.policy, verdict.rule) = (isAllowed, policy, rule)
        return verdict
    }

    @Test(
        "opaque bytes have no method: ALLOW rules that ask for one never match, DENY rules match by the rest",
        arguments: [
            (#"{"action":"ALLOW","to":[{"methods":["GET"]}]}"#, false),
            (#"{"action":"ALLOW","to":[{"ports":["8080"]}]}"#, true),
            (#"{"action":"ALLOW","to":[{"ports":["8080"]},{"paths":["/x"]}]}"#, false),
            (#"{"action":"DENY","to":[{"methods":["GET"],"ports":["8080"]}]}"#, false),
            (#"{"action":"DENY","to":[{"methods":["GET"],"ports":["9000"]}]}"#, true),
            (#"{"action":"DENY","to":[{"methods":["GET"]}]}"#, false),
        ])
    func opaque(rule: String, isAllowed: Bool) throws {
        let json = try JSON(parsing: Array(rule.utf8))
        let action = json["action"]?.string ?? ""
        let parsed = try policy(#"{"name":"p","action":"\#(action)","rules":[{"to":\#(json["to"]?.text ?? "")}]}"#)
        var facts = Self.facts
        facts.isRequest = false
        #expect(authorize([parsed], facts).isAllowed == isAllowed)
        #expect(try compiled([parsed], facts) == isAllowed)
    }

    @Test("what cannot be meant is refused and named")
    func faults() {
        for (text, field) in [
            (#"{"name":"p","rules":[{"from":[{}]}]}"#, "from[0]"),
            (#"{"name":"p","rules":[{"from":[{"hosts":["a"]}]}]}"#, "from[0].hosts"),
            (#"{"name":"p","rules":[{"from":[{"ipBlocks":["10.0.0.300"]}]}]}"#, "ipBlocks[0]"),
            (#"{"name":"p","rules":[{"to":[{"ports":["http"]}]}]}"#, "ports[0]"),
            (#"{"name":"p","rules":[{"to":[{"paths":["/a{*}b"]}]}]}"#, "paths[0]"),
            (#"{"name":"p","rules":[{"to":[{"paths":["/{**}/{*}"]}]}]}"#, "paths[0]"),
            (#"{"name":"p","rules":[{"when":[{"key":"request.body","values":["a"]}]}]}"#, "key"),
            (#"{"name":"p","rules":[{"when":[{"key":"source.ip"}]}]}"#, "values"),
            (#"{"name":"p","action":"CUSTOM"}"#, "provider"),
            (#"{"name":"p","action":"CUSTOM","provider":"nobody"}"#, "provider"),
        ] {
            do throws(any Error) {
                _ = try policy(text)
                Issue.record("\(text) was taken")
            } catch { #expect("\(error)".contains(field), "\(error)") }
        }
    }

    @Test("the compiled form decides as the values do, for random policies and requests")
    func agreement() throws {
        var chance = SystemRandomNumberGenerator()
        for _ in 0..<3000 {
            let policies = (0..<Int.random(in: 0...4, using: &chance)).map { _ in RandomAccess.policy(&chance) }
            let facts = RandomAccess.facts(&chance)
            let expected = authorize(policies, facts)
            let found = try compiled(policies, facts)
            #expect(found == expected.isAllowed, "\(policies) \(facts)")
            if found != expected.isAllowed { return }
        }
    }
}

/// What the engine's tables say.
func compiled(_ policies: [AuthorizationPolicy], _ facts: AccessFacts) throws -> Bool {
    var security = WorkloadSecurity(policies: policies)
    security.trustedProxies = 1
    let labels = LabelBook()
    let memory = TableMemory()
    defer { withExtendedLifetime(memory) {} }
    guard let access = AccessTableBuilder.table(of: security, labels: labels, in: memory) else { return true }
    var text = "\(facts.method) \(facts.path) HTTP/1.1\r\nhost: \(facts.host)\r\n"
    for header in facts.headers { text += "\(header.name): \(header.value)\r\n" }
    text += "\r\n"
    let head = Array(text.utf8)
    let principal = Array(facts.principal.utf8)
    let name = Array(facts.serverName.utf8)
    var parser = HeadParser()
    return try head.withUnsafeBufferPointer { space in
        let bytes = try #require(space.baseAddress)
        try #require(parser.request(bytes, space.count) == .complete)
        var view = AccessView(isRequest: facts.isRequest)
        view.sourceAddress = facts.sourceAddress
        view.remoteAddress = facts.remoteAddress
        view.destinationAddress = facts.destinationAddress
        view.destinationPort = UInt16(facts.destinationPort)
        view.method = ByteView(start: bytes, count: parser.head.methodLength)
        view.path = ByteView(start: bytes + parser.head.pathOffset, count: parser.head.pathLength)
        view.host = ByteView(start: bytes + parser.head.hostOffset, count: parser.head.hostLength)
        view.head = bytes
        view.lines = parser.lines
        view.lineCount = parser.head.lineCount
        let token = UnsafeMutablePointer<LiveToken>.allocate(capacity: 1)
        defer { token.deallocate() }
        if let claims = facts.token {
            token.initialize(to: LiveToken(claims))
            view.token = UnsafePointer(token)
        }
        defer { if facts.token != nil { token.pointee.deallocate() } }
        return principal.withUnsafeBufferPointer { principal in
            name.withUnsafeBufferPointer { name in
                if let start = principal.baseAddress, principal.count > 0 {
                    view.principal = ByteView(start: start, count: principal.count)
                }
                if let start = name.baseAddress, name.count > 0 {
                    view.serverName = ByteView(start: start, count: name.count)
                }
                return access.pointee.decide(view).isAllowed
            }
        }
    }
}

/// Policies and requests from small sets of words, so that they often meet.
private enum RandomAccess {
    static func policy(_ chance: inout SystemRandomNumberGenerator) -> AuthorizationPolicy {
        func some(_ attributes: [AccessTest.Attribute]) -> [AccessTest] {
            (0..<Int.random(in: 1...2, using: &chance)).map { _ in test(attributes, &chance) }
        }
        let rules = (0..<Int.random(in: 0...3, using: &chance)).map { _ in
            AuthorizationRule(
                sources: (0..<Int.random(in: 0...2, using: &chance)).map { _ in some(AccessTest.Attribute.ofSources) },
                operations: (0..<Int.random(in: 0...2, using: &chance)).map { _ in
                    some(AccessTest.Attribute.ofOperations)
                },
                conditions: (0..<Int.random(in: 0...1, using: &chance)).map { _ in
                    test(
                        [.header, .audience, .presenter, .claim, .destinationAddress, .serverName, .remoteAddress],
                        &chance)
                })
        }
        return AuthorizationPolicy(
            name: "p", action: [.allow, .deny, .audit].randomElement(using: &chance) ?? .allow,
            isDryRun: Int.random(in: 0..<8, using: &chance) == 0,
            ports: Int.random(in: 0..<5, using: &chance) == 0 ? [80, 90] : [], rules: rules)
    }

    static func test(_ attributes: [AccessTest.Attribute], _ chance: inout SystemRandomNumberGenerator) -> AccessTest {
        let attribute = attributes.randomElement(using: &chance) ?? .path
        let words: [String]
        var key = ""
        switch attribute {
        case .sourceAddress, .remoteAddress, .destinationAddress:
            words = ["10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.2/31", "::/0"]
        case .port: words = ["80", "8080"]
        case .serviceAccount: words = ["demo/a", "demo/ab", "shop/a"]
        case .path: words = ["/", "/a", "/a*", "*b", "*", "/{*}", "/{*}/b", "/a/{**}", "/{**}/b", "/a/{*}/{**}"]
        case .header:
            key = ["x-a", "x-b"].randomElement(using: &chance) ?? ""
            words = ["1", "1,2", "*2", "1*", "*"]
        case .claim:
            key = ["role", "in\u{1F}role", "scope"].randomElement(using: &chance) ?? ""
            words = ["a", "b", "a*", "*"]
        case .method: words = ["GET", "P*", "*T", "*"]
        case .principal: words = ["d/ns/demo/sa/a", "d/ns/*", "*/a", "*"]
        case .trustDomain: words = ["d", "d*", "other", "*"]
        case .namespace: words = ["demo", "d*", "*p", "*"]
        case .host: words = ["a.example", "A.EXAMPLE", "*.example", "a.*", "*"]
        case .requestPrincipal: words = ["i/s", "i/*", "*"]
        case .audience, .presenter, .serverName: words = ["a", "b", "a*", "*b", "*"]
        }
        let values = (0..<Int.random(in: 1...2, using: &chance)).map { _ in words.randomElement(using: &chance) ?? "" }
        return AccessTest(attribute, key: key, values, isNegated: Int.random(in: 0..<3, using: &chance) == 0)
    }

    static func facts(_ chance: inout SystemRandomNumberGenerator) -> AccessFacts {
        func pick(_ words: [String]) -> String { words.randomElement(using: &chance) ?? "" }
        var headers: [HeaderValue] = []
        for _ in 0..<Int.random(in: 0...3, using: &chance) {
            headers.append(HeaderValue(name: pick(["X-A", "x-a", "x-b"]), value: pick(["1", "2", "", "12"])))
        }
        var token: JSON?
        if Bool.random(using: &chance) {
            token = [
                "iss": .string(pick(["i", ""])), "sub": "s", "aud": [.string(pick(["a", "b"])), "c"],
                "azp": .string(pick(["a", "ab"])), "role": .string(pick(["a", "b"])), "in": ["role": ["b", 3]],
                "scope": "a b",
            ]
        }
        return AccessFacts(
            isRequest: Int.random(in: 0..<5, using: &chance) > 0,
            principal: pick([
                "", "spiffe://d/ns/demo/sa/a", "spiffe://d/ns/demo/sa/ab", "spiffe://d/ns/shop/sa/a",
                "spiffe://d/other",
            ]), sourceAddress: 0x0A00_0000 + UInt32.random(in: 0...3, using: &chance),
            remoteAddress: 0x0A00_0000 + UInt32.random(in: 0...3, using: &chance),
            destinationAddress: 0x0B00_0001, destinationPort: Int(pick(["80", "8080"])) ?? 80,
            serverName: pick(["", "a", "ab"]), method: pick(["GET", "POST", "PUT"]),
            path: pick(["/", "/a", "/a/b", "/a/c/b", "/ab", "/c/b"]), host: pick(["a.example", "A.Example:80", "b"]),
            headers: headers, token: token)
    }
}
