import ProxyResources
import Wire

/// A pattern of a policy, as bytes.
struct PatternEntry {
    enum Kind: UInt8 { case present, exact, prefix, suffix, template, block, port }
    var kind: Kind
    /// Of `template`, its parts are in `parts`.
    var text = TextRange()
    var parts = Run()
    /// An address and its mask, or a port.
    var number: UInt32 = 0
    var mask: UInt32 = 0
    /// No peer of ours is in this block.
    var isForeign = false
}

struct TemplatePartEntry {
    enum Kind: UInt8 { case text, element, rest }
    var kind: Kind
    var text = TextRange()
}

struct AccessTestEntry {
    var attribute: AccessTest.Attribute
    var isNegated: Bool
    var isOfRequests: Bool
    var key: TextRange
    var patterns: Run
}

struct AccessRuleEntry {
    /// Runs of `clauses`, each a run of `tests`.
    var sources: Run
    var operations: Run
    /// Of `tests`.
    var conditions: Run
    var asksOfRequests: Bool
}

struct PolicyEntry {
    var action: AuthorizationPolicy.Action
    var isDryRun: Bool
    var name: TextRange
    /// The same name in the book of labels, for counting and records.
    var label: UInt32
    var ports: Run
    var rules: Run
    /// CUSTOM: place of the authorizer.
    var authorizer: Int32
}

/// Where a token of a rule may stand in a request.
struct TokenPlaceEntry {
    enum Kind: UInt8 { case header, parameter, cookie }
    var kind: Kind
    var rule: Int
    var name: TextRange
    var prefix = TextRange()
    /// The prefix is the usual scheme, which is the same in any case.
    var isBearer = false
}

struct TokenRuleEntry {
    /// Two rules have the same only when they are the same.
    var number: UInt64
    var forwardsToken: Bool
}

/// A workload's policies compiled for looking at bytes: plain memory, made once for a table and freed with it.
struct AccessTable {
    var text: UnsafeMutablePointer<UInt8>
    /// CUSTOM first, then DENY, ALLOW and AUDIT, as they are asked.
    var policies: UnsafeMutablePointer<PolicyEntry>
    var policyCount: Int
    var rules: UnsafeMutablePointer<AccessRuleEntry>
    var clauses: UnsafeMutablePointer<Run>
    var tests: UnsafeMutablePointer<AccessTestEntry>
    var patterns: UnsafeMutablePointer<PatternEntry>
    var parts: UnsafeMutablePointer<TemplatePartEntry>
    var ports: UnsafeMutablePointer<UInt16>
    var tokenPlaces: UnsafeMutablePointer<TokenPlaceEntry>
    var tokenPlaceCount: Int
    var tokenRules: UnsafeMutablePointer<TokenRuleEntry>
    var verifiers: Unmanaged<TokenVerifiers>
    var authorizers: UnsafeMutablePointer<AuthorizerEntry>
    /// As `Grants`: headers that tell of tokens, which no client may bring itself.
    var strippedGrants: UnsafeMutablePointer<UInt8>
    var strippedCount: Int
    var normalization: PathNormalization
    var trustedProxies: Int
    var explainsDenials: Bool
    var hasCustom: Bool
    var hasTrials: Bool
}

/// Compiles policies. The order of policies within an action stays.
struct AccessTableBuilder {
    private var text: [UInt8] = []
    private var policies: [PolicyEntry] = []
    private var rules: [AccessRuleEntry] = []
    private var clauses: [Run] = []
    private var tests: [AccessTestEntry] = []
    private var patterns: [PatternEntry] = []
    private var parts: [TemplatePartEntry] = []
    private var ports: [UInt16] = []
    private var tokenPlaces: [TokenPlaceEntry] = []
    private var stripped: [UInt8] = []
    private var authorizers: [AuthorizerEntry] = []

    /// `nil` when nothing is asked of anyone.
    ///
    /// - Parameter backends: places in the table, by name.
    static func table(
        of security: WorkloadSecurity, labels: LabelBook, backends: [String: Int32] = [:], in memory: TableMemory
    ) -> UnsafeMutablePointer<AccessTable>? {
        if security.isEmpty { return nil }
        var builder = AccessTableBuilder()
        for action in AuthorizationPolicy.Action.allCases {
            for policy in security.policies where policy.action == action {
                let place = security.authorizers.firstIndex { $0.name == policy.provider }
                builder.add(policy, label: labels.number(ofName: policy.name), authorizer: Int32(place ?? -1))
            }
        }
        for authorizer in security.authorizers {
            builder.add(authorizer, backends[authorizer.backend] ?? -1, label: labels.number(ofName: authorizer.name))
        }
        for (index, rule) in security.tokenRules.enumerated() { builder.add(rule, index) }
        return memory.keep([builder.finish(security, in: memory)])
    }

    private func finish(_ security: WorkloadSecurity, in memory: TableMemory) -> AccessTable {
        AccessTable(
            text: memory.keep(text), policies: memory.keep(policies), policyCount: policies.count,
            rules: memory.keep(rules),
            clauses: memory.keep(clauses), tests: memory.keep(tests), patterns: memory.keep(patterns),
            parts: memory.keep(parts),
            ports: memory.keep(ports), tokenPlaces: memory.keep(tokenPlaces), tokenPlaceCount: tokenPlaces.count,
            tokenRules: memory.keep(
                security.tokenRules.map {
                    TokenRuleEntry(number: UInt64(bitPattern: Int64($0.hashValue)), forwardsToken: $0.forwardsToken)
                }), verifiers: memory.keep(object: TokenVerifiers(security.tokenRules)),
            authorizers: memory.keep(authorizers),
            strippedGrants: memory.keep(stripped),
            strippedCount: stripped.count, normalization: security.pathNormalization,
            trustedProxies: security.trustedProxies,
            explainsDenials: security.explainsDenials,
            hasCustom: security.policies.contains { $0.action == .custom && !$0.isDryRun },
            hasTrials: security.policies.contains { $0.isDryRun || $0.action == .audit })
    }

    private mutating func add(_ authorizer: ExternalAuthorizer, _ backend: Int32, label: UInt32) {
        // `context_extensions` of the `AttributeContext`, the same in all checks.
        var extensions = ProtobufWriter()
        for member in authorizer.contextExtensions {
            extensions.stringEntry(10, key: member.name, value: member.value)
        }
        let added = authorizer.addedHeaders.map { "\($0.name): \($0.value)\r\n" }.joined()
        authorizers.append(
            AuthorizerEntry(
                backend: backend, label: label, timeout: UInt64(authorizer.timeoutMilliseconds) * 1_000_000,
                failsOpen: authorizer.failsOpen, statusOnError: authorizer.statusOnError,
                pathPrefix: add(text: authorizer.pathPrefix), shown: add(names: authorizer.shownHeaders),
                onAllow: add(names: authorizer.headersOnAllow), onDeny: add(names: authorizer.headersOnDeny),
                added: add(text: added), isGRPC: authorizer.form == .grpc,
                authority: add(text: authorizer.authority.isEmpty ? "authorizer" : authorizer.authority),
                extensions: add(bytes: extensions.bytes), shownBody: authorizer.shownBody,
                allowsPartialBody: authorizer.allowsPartialBody, packsBodyAsBytes: authorizer.packsBodyAsBytes,
                includesCertificate: authorizer.includesCertificate))
    }

    private mutating func add(names: [String]) -> Run {
        let entries = names.map { name in
            let isPrefix = name.hasSuffix("*")
            return PatternEntry(
                kind: isPrefix ? .prefix : .exact, text: add(text: isPrefix ? String(name.dropLast()) : name))
        }
        let run = Run(start: Int32(patterns.count), count: Int32(entries.count))
        patterns += entries
        return run
    }

    private mutating func add(_ rule: TokenRule, _ index: Int) {
        for header in rule.headers {
            tokenPlaces.append(
                TokenPlaceEntry(
                    kind: .header, rule: index, name: add(text: header.name), prefix: add(text: header.prefix)))
        }
        for name in rule.parameters {
            tokenPlaces.append(TokenPlaceEntry(kind: .parameter, rule: index, name: add(text: name)))
        }
        for name in rule.cookies {
            tokenPlaces.append(TokenPlaceEntry(kind: .cookie, rule: index, name: add(text: name)))
        }
        if rule.headers.isEmpty, rule.parameters.isEmpty, rule.cookies.isEmpty {
            tokenPlaces.append(
                TokenPlaceEntry(
                    kind: .header, rule: index, name: add(text: "authorization"), prefix: add(text: "bearer "),
                    isBearer: true))
            tokenPlaces.append(TokenPlaceEntry(kind: .parameter, rule: index, name: add(text: "access_token")))
        }
        if !rule.payloadHeader.isEmpty { Grants.add(drop: rule.payloadHeader, to: &stripped) }
        for output in rule.claimHeaders { Grants.add(drop: output.header, to: &stripped) }
    }

    private mutating func add(_ policy: AuthorizationPolicy, label: UInt32, authorizer: Int32) {
        var entries: [AccessRuleEntry] = []
        for rule in policy.rules {
            let all = (rule.sources + rule.operations).flatMap { $0 } + rule.conditions
            entries.append(
                AccessRuleEntry(
                    sources: add(clauses: rule.sources), operations: add(clauses: rule.operations),
                    conditions: add(tests: rule.conditions),
                    asksOfRequests: all.contains(where: \.attribute.isOfRequests)))
        }
        let ruleRun = Run(start: Int32(rules.count), count: Int32(entries.count))
        rules += entries
        let portRun = Run(start: Int32(ports.count), count: Int32(policy.ports.count))
        ports += policy.ports.map { UInt16(clamping: $0) }
        policies.append(
            PolicyEntry(
                action: policy.action, isDryRun: policy.isDryRun, name: add(text: policy.name), label: label,
                ports: portRun, rules: ruleRun, authorizer: authorizer))
    }

    private mutating func add(clauses list: [[AccessTest]]) -> Run {
        let runs = list.map { add(tests: $0) }
        let run = Run(start: Int32(clauses.count), count: Int32(runs.count))
        clauses += runs
        return run
    }

    private mutating func add(tests list: [AccessTest]) -> Run {
        let entries = list.map { test in
            AccessTestEntry(
                attribute: test.attribute, isNegated: test.isNegated, isOfRequests: test.attribute.isOfRequests,
                key: add(text: test.key), patterns: add(patterns: test.values, of: test.attribute))
        }
        let run = Run(start: Int32(tests.count), count: Int32(entries.count))
        tests += entries
        return run
    }

    private mutating func add(patterns values: [String], of attribute: AccessTest.Attribute) -> Run {
        let entries = values.map { pattern(of: $0, attribute) }
        let run = Run(start: Int32(patterns.count), count: Int32(entries.count))
        patterns += entries
        return run
    }

    private mutating func pattern(of value: String, _ attribute: AccessTest.Attribute) -> PatternEntry {
        switch attribute {
        case .sourceAddress, .remoteAddress, .destinationAddress:
            guard let block = AddressBlock(value) else { return PatternEntry(kind: .block, isForeign: true) }
            return PatternEntry(
                kind: .block, number: block.address, mask: block.mask, isForeign: block.isForeign)
        case .port: return PatternEntry(kind: .port, number: UInt32(value) ?? .max)
        case .serviceAccount: return PatternEntry(kind: .exact, text: add(text: value))
        case .path:
            if let template = PathTemplate(value) { return add(template) }
        case .host: return plainPattern(value.lowercased())
        default: break
        }
        return plainPattern(value)
    }

    private mutating func plainPattern(_ value: String) -> PatternEntry {
        switch ValuePattern(value) {
        case .present: PatternEntry(kind: .present)
        case .exact(let text): PatternEntry(kind: .exact, text: add(text: text))
        case .prefix(let text): PatternEntry(kind: .prefix, text: add(text: text))
        case .suffix(let text): PatternEntry(kind: .suffix, text: add(text: text))
        }
    }

    private mutating func add(_ template: PathTemplate) -> PatternEntry {
        let entries = template.parts.map { part in
            switch part {
            case .text(let text): TemplatePartEntry(kind: .text, text: add(text: text))
            case .element: TemplatePartEntry(kind: .element)
            case .rest: TemplatePartEntry(kind: .rest)
            }
        }
        let run = Run(start: Int32(parts.count), count: Int32(entries.count))
        parts += entries
        return PatternEntry(kind: .template, parts: run)
    }

    private mutating func add(text string: String) -> TextRange { add(bytes: Array(string.utf8)) }

    private mutating func add(bytes: [UInt8]) -> TextRange {
        let range = TextRange(offset: Int32(text.count), count: Int32(bytes.count))
        text += bytes
        return range
    }
}
