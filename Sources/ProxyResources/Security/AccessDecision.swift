package import Wire

/// What authorization looks at.
package struct AccessFacts: Sendable, Hashable {
    /// False for opaque bytes, which have no method, path, headers or token.
    package var isRequest: Bool
    package var principal: String  // `spiffe://…`; empty without mutual TLS
    package var sourceAddress: UInt32  // of the TCP peer
    package var remoteAddress: UInt32  // of the client the peer speaks for
    package var destinationAddress: UInt32
    package var destinationPort: Int
    package var serverName: String  // SNI
    package var method: String
    package var path: String  // normalized, without its query
    package var host: String  // as sent
    package var headers: [HeaderValue]
    package var token: JSON?  // a verified token's claims

    package init(
        isRequest: Bool = true, principal: String = "", sourceAddress: UInt32 = 0, remoteAddress: UInt32 = 0,
        destinationAddress: UInt32 = 0, destinationPort: Int = 80, serverName: String = "", method: String = "GET",
        path: String = "/", host: String = "", headers: [HeaderValue] = [], token: JSON? = nil
    ) {
        self.isRequest = isRequest
        self.principal = principal
        self.sourceAddress = sourceAddress
        self.remoteAddress = remoteAddress
        self.destinationAddress = destinationAddress
        self.destinationPort = destinationPort
        self.serverName = serverName
        self.method = method
        self.path = path
        self.host = host
        self.headers = headers
        self.token = token
    }
}

/// What the policies say, and which of them: places in the list of policies, and in their rules.
package struct AccessVerdict: Sendable, Hashable {
    package var isAllowed = true
    /// The policy that decided. None when no policy speaks against the request, or when it matches no ALLOW policy.
    package var policy: Int?
    package var rule: Int?
    /// What the policies on trial alone would have decided; `nil` when none is on trial.
    package var trialAllows: Bool?
    package var trialPolicy: Int?
    /// Policies that only want to be told.
    package var audits: [Int] = []

    package init() {}
}

/// The authorizer to ask first, as a CUSTOM policy wants it.
package func authorizer(
    _ policies: [AuthorizationPolicy], for facts: AccessFacts
) -> (provider: String, policy: Int)? {
    for (index, policy) in policies.enumerated() where policy.action == .custom && !policy.isDryRun {
        if policy.matchingRule(facts) != nil { return (policy.provider, index) }
    }
    return nil
}

/// Istio's order, after CUSTOM: a DENY policy that matches refuses; without ALLOW policies all else passes; with them one must match.
///
/// - Source: Istio's documentation of AuthorizationPolicy, "Policy enforcement".
package func authorize(_ policies: [AuthorizationPolicy], _ facts: AccessFacts) -> AccessVerdict {
    var verdict = AccessVerdict()
    let speaking = policies.indices.filter { policies[$0].covers(port: facts.destinationPort) }
    let enforced = decide(policies, speaking.filter { !policies[$0].isDryRun }, facts)
    (verdict.isAllowed, verdict.policy, verdict.rule) = (enforced.isAllowed, enforced.policy, enforced.rule)
    let onTrial = speaking.filter { policies[$0].isDryRun }
    if !onTrial.isEmpty {
        let trial = decide(policies, onTrial, facts)
        (verdict.trialAllows, verdict.trialPolicy) = (trial.isAllowed, trial.policy)
    }
    verdict.audits = speaking.filter { policies[$0].action == .audit && policies[$0].matchingRule(facts) != nil }
    return verdict
}

private func decide(
    _ policies: [AuthorizationPolicy], _ places: [Int], _ facts: AccessFacts
) -> (isAllowed: Bool, policy: Int?, rule: Int?) {
    for place in places where policies[place].action == .deny {
        if let rule = policies[place].matchingRule(facts) { return (false, place, rule) }
    }
    var isLimited = false
    for place in places where policies[place].action == .allow {
        isLimited = true
        if let rule = policies[place].matchingRule(facts) { return (true, place, rule) }
    }
    return (!isLimited, nil, nil)
}

extension AuthorizationPolicy {
    func covers(port: Int) -> Bool { ports.isEmpty || ports.contains(port) }

    package func matchingRule(_ facts: AccessFacts) -> Int? {
        covers(port: facts.destinationPort) ? rules.firstIndex { $0.matches(facts, for: action) } : nil
    }
}

extension AuthorizationRule {
    /// On opaque bytes what only requests have cannot be tested: an ALLOW rule that asks for it never matches, and the other
    /// kinds match by what is left.
    func matches(_ facts: AccessFacts, for action: AuthorizationPolicy.Action) -> Bool {
        func holds(_ test: AccessTest) -> Bool {
            if !facts.isRequest && test.attribute.isOfRequests { return action != .allow }
            return test.holds(facts)
        }
        func allows(_ clauses: [[AccessTest]]) -> Bool {
            clauses.isEmpty || clauses.contains { $0.allSatisfy(holds) }
        }
        // All must be testable for ALLOW, even beside an alternative that is.
        if !facts.isRequest && action == .allow {
            let tests = (sources + operations).flatMap { $0 } + conditions
            if tests.contains(where: \.attribute.isOfRequests) { return false }
        }
        return allows(sources) && allows(operations) && conditions.allSatisfy(holds)
    }
}

extension AccessTest {
    func holds(_ facts: AccessFacts) -> Bool { values.contains { admits($0, facts) } != isNegated }

    private func admits(_ value: String, _ facts: AccessFacts) -> Bool {
        let pattern = ValuePattern(value)
        switch attribute {
        case .principal: return pattern.admits(Self.withoutScheme(facts.principal))
        case .namespace: return pattern.admits(SPIFFE.namespace(of: facts.principal))
        case .trustDomain: return pattern.admits(SPIFFE.trustDomain(of: facts.principal))
        case .serviceAccount: return SPIFFE.account(of: facts.principal) == value
        case .sourceAddress: return AddressBlock(value)?.admits(facts.sourceAddress) ?? false
        case .remoteAddress: return AddressBlock(value)?.admits(facts.remoteAddress) ?? false
        case .destinationAddress: return AddressBlock(value)?.admits(facts.destinationAddress) ?? false
        case .port: return Int(value) == facts.destinationPort
        case .serverName: return pattern.admits(facts.serverName)
        case .host: return ValuePattern(Self.lower(value)).admits(Self.lower(facts.host))
        case .method: return pattern.admits(facts.method)
        case .path: return PathTemplate(value)?.admits(facts.path) ?? pattern.admits(facts.path)
        case .header:
            let found = facts.headers.filter { Self.lower($0.name) == key }.map(\.value)
            // Several lines are one value (RFC 9110 §5.3). A header may be there and empty.
            return !found.isEmpty && (pattern == .present || pattern.admits(found.joined(separator: ",")))
        case .requestPrincipal: return pattern.admits(TokenClaims.principal(facts.token))
        case .audience: return TokenClaims.texts(facts.token, ["aud"]).contains(where: pattern.admits)
        case .presenter: return TokenClaims.texts(facts.token, ["azp"]).contains(where: pattern.admits)
        case .claim:
            let names = key.split(separator: "\u{1F}").map(String.init)
            return TokenClaims.texts(facts.token, names).contains(where: pattern.admits)
        }
    }

    /// Principals are written without it.
    private static func withoutScheme(_ principal: String) -> String {
        principal.hasPrefix("spiffe://") ? String(principal.dropFirst(9)) : principal
    }

    private static func lower(_ text: String) -> String {
        String(decoding: text.utf8.map { (65...90).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}

/// The parts of `spiffe://domain/ns/<namespace>/sa/<account>`.
package enum SPIFFE {
    package static func namespace(of principal: String) -> String { parts(principal)?.namespace ?? "" }

    /// Empty for what is no SPIFFE ID.
    package static func trustDomain(of principal: String) -> String {
        guard principal.hasPrefix("spiffe://") else { return "" }
        return String(principal.dropFirst(9).prefix { $0 != "/" })
    }

    /// `namespace/account`; empty when the ID is of another form.
    package static func account(of principal: String) -> String {
        parts(principal).map { "\($0.namespace)/\($0.account)" } ?? ""
    }

    private static func parts(_ principal: String) -> (namespace: String, account: String)? {
        let parts = principal.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 7, parts[0] == "spiffe:", parts[1].isEmpty, parts[3] == "ns", parts[5] == "sa" else {
            return nil
        }
        return (String(parts[4]), String(parts[6]))
    }
}

/// What policies read of a token.
package enum TokenClaims {
    /// `issuer/subject`; empty unless the token has both.
    package static func principal(_ token: JSON?) -> String {
        guard let issuer = token?["iss"]?.string, let subject = token?["sub"]?.string, !issuer.isEmpty, !subject.isEmpty
        else { return "" }
        return "\(issuer)/\(subject)"
    }

    /// A claim's texts: one, or those of a list. `scope` and `permission` are lists parted by spaces (RFC 8693 §4.2).
    package static func texts(_ token: JSON?, _ names: [String]) -> [String] {
        token?[path: names].map { texts(of: $0, names) } ?? []
    }

    /// `names`: the way to the claim.
    package static func texts(of claim: JSON, _ names: [String]) -> [String] {
        if let text = claim.string {
            let isList = names == ["scope"] || names == ["permission"]
            return isList ? text.split(separator: " ").map(String.init) : [text]
        }
        return claim.array?.compactMap(\.string) ?? []
    }
}
