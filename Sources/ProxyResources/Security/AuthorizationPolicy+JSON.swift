import Wire

extension AuthorizationPolicy: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var rules: [AuthorizationRule] = []
        for rule in try fields.objects("rules") { rules.append(try AuthorizationRule(rule)) }
        self.init(
            name: try fields.requiredString("name"), action: try fields.word("action", or: .allow),
            isDryRun: try fields.flag("dryRun"), ports: try fields.ports("ports"),
            provider: try fields.string("provider"), rules: rules)
        if action == .custom, provider.isEmpty { throw fields.fault("provider", "is required for the action CUSTOM") }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("action", action.rawValue)
        out.write("dryRun", isDryRun)
        out.write("ports", ports.map { JSON.int(Int64($0)) })
        out.write("provider", provider)
        out.write("rules", rules.map(\.json))
        return out.json
    }
}

extension AuthorizationRule {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var sources: [[AccessTest]] = []
        for source in try fields.objects("from") {
            sources.append(try Self.tests(source, AccessTest.Attribute.ofSources, "source"))
        }
        var operations: [[AccessTest]] = []
        for operation in try fields.objects("to") {
            operations.append(try Self.tests(operation, AccessTest.Attribute.ofOperations, "operation"))
        }
        var conditions: [AccessTest] = []
        for condition in try fields.objects("when") {
            let key = try condition.requiredString("key")
            guard let subject = AccessTest.subject(ofCondition: key) else {
                throw condition.fault("key", "has the unknown value \"\(key)\"")
            }
            let wanted = try condition.strings("values")
            let unwanted = try condition.strings("notValues")
            if wanted.isEmpty, unwanted.isEmpty { throw condition.fault("values", "is required without notValues") }
            if !wanted.isEmpty {
                conditions.append(AccessTest(subject.attribute, key: subject.key, wanted))
                try conditions.last?.check(condition, "values")
            }
            if !unwanted.isEmpty {
                conditions.append(AccessTest(subject.attribute, key: subject.key, unwanted, isNegated: true))
                try conditions.last?.check(condition, "notValues")
            }
        }
        self.init(sources: sources, operations: operations, conditions: conditions)
    }

    private static func tests(
        _ fields: ResourceFields, _ known: [AccessTest.Attribute], _ what: String
    ) throws(ResourceFault) -> [AccessTest] {
        var tests: [AccessTest] = []
        var names: Set<String> = []
        for attribute in known {
            for isNegated in [false, true] {
                let name = attribute.field(isNegated: isNegated)
                names.insert(name)
                let values = try fields.strings(name)
                if values.isEmpty { continue }
                let test = AccessTest(attribute, values, isNegated: isNegated)
                try test.check(fields, name)
                tests.append(test)
            }
        }
        for member in fields.json.object ?? JSONObject() where !names.contains(member.key) {
            throw fields.fault(member.key, "is no field of a \(what)")
        }
        if tests.isEmpty { throw fields.fault("", "must name at least one thing; leave it out to match all") }
        return tests
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("from", sources.map(Self.written))
        out.write("to", operations.map(Self.written))
        let conditions = conditions.map { test -> JSON in
            var out = ResourceWriter()
            out.write("key", test.conditionKey)
            out.write(test.isNegated ? "notValues" : "values", test.values)
            return out.json
        }
        out.write("when", conditions)
        return out.json
    }

    private static func written(_ tests: [AccessTest]) -> JSON {
        var out = ResourceWriter()
        for test in tests { out.write(test.attribute.field(isNegated: test.isNegated), test.values) }
        return out.json
    }
}

extension AccessTest.Attribute {
    package static let ofSources: [Self] = [
        .principal, .namespace, .serviceAccount, .trustDomain, .sourceAddress, .remoteAddress, .requestPrincipal,
    ]
    package static let ofOperations: [Self] = [.host, .port, .method, .path]

    /// The name of a source's or operation's field: `principals`, `notPrincipals`.
    package func field(isNegated: Bool) -> String {
        let name =
            switch self {
            case .principal: "principals"
            case .namespace: "namespaces"
            case .serviceAccount: "serviceAccounts"
            case .trustDomain: "trustDomains"
            case .sourceAddress: "ipBlocks"
            case .remoteAddress: "remoteIpBlocks"
            case .requestPrincipal: "requestPrincipals"
            case .host: "hosts"
            case .port: "ports"
            case .method: "methods"
            case .path: "paths"
            case .header, .audience, .presenter, .claim, .destinationAddress, .serverName: ""
            }
        return isNegated && !name.isEmpty ? "not\(name.prefix(1).uppercased())\(name.dropFirst())" : name
    }
}

extension AccessTest {
    /// What a condition's key speaks of: `request.headers[user-agent]`, `request.auth.claims[realm][roles]`; `nil` when nothing.
    package static func subject(ofCondition key: String) -> (attribute: Attribute, key: String)? {
        switch key {
        case "source.ip": return (.sourceAddress, "")
        case "remote.ip": return (.remoteAddress, "")
        case "source.namespace": return (.namespace, "")
        case "source.principal": return (.principal, "")
        case "source.serviceAccount": return (.serviceAccount, "")
        case "request.auth.principal": return (.requestPrincipal, "")
        case "request.auth.audiences": return (.audience, "")
        case "request.auth.presenter": return (.presenter, "")
        case "destination.ip": return (.destinationAddress, "")
        case "destination.port": return (.port, "")
        case "connection.sni": return (.serverName, "")
        default: break
        }
        if let names = bracketed(key, after: "request.headers"), names.count == 1 {
            return (.header, names[0].lowercased())
        }
        if let names = bracketed(key, after: "request.auth.claims") {
            return (.claim, names.joined(separator: separator))
        }
        return nil
    }

    /// `[a][b]` as its names; `nil` when the text is not of this form.
    private static func bracketed(_ text: String, after prefix: String) -> [String]? {
        guard text.hasPrefix(prefix) else { return nil }
        var rest = text.dropFirst(prefix.count)
        var names: [String] = []
        while !rest.isEmpty {
            guard rest.first == "[", let end = rest.firstIndex(of: "]") else { return nil }
            let name = rest[rest.index(after: rest.startIndex)..<end]
            if name.isEmpty || name.contains("[") || name.contains(separator) { return nil }
            names.append(String(name))
            rest = rest[rest.index(after: end)...]
        }
        return names.isEmpty ? nil : names
    }

    var conditionKey: String {
        switch attribute {
        case .principal: "source.principal"
        case .namespace: "source.namespace"
        case .serviceAccount: "source.serviceAccount"
        case .sourceAddress: "source.ip"
        case .remoteAddress: "remote.ip"
        case .requestPrincipal: "request.auth.principal"
        case .audience: "request.auth.audiences"
        case .presenter: "request.auth.presenter"
        case .destinationAddress: "destination.ip"
        case .port: "destination.port"
        case .serverName: "connection.sni"
        case .header: "request.headers[\(key)]"
        case .claim: "request.auth.claims" + key.split(separator: "\u{1F}").map { "[\($0)]" }.joined()
        case .host, .method, .path, .trustDomain: ""
        }
    }

    /// Why a value cannot be one of this attribute; `nil` when it can.
    package func fault(in value: String) -> String? {
        switch attribute {
        case .sourceAddress, .remoteAddress, .destinationAddress:
            return AddressBlock(value) == nil ? "\"\(value)\" is not an address or a block such as 10.0.0.0/8" : nil
        case .port:
            let isPort = Int(value).map { (1...65535).contains($0) } ?? false
            return isPort ? nil : "\"\(value)\" is not a port number"
        case .serviceAccount:
            let parts = value.split(separator: "/", omittingEmptySubsequences: false)
            if parts.count != 2 || parts.contains(where: \.isEmpty) { return "\"\(value)\" is not namespace/name" }
            return value.contains("*") ? "\"\(value)\": a service account is written in full" : nil
        case .path: return PathTemplate.fault(in: value)
        default: return value.isEmpty ? "holds an empty value" : nil
        }
    }

    func check(_ fields: ResourceFields, _ field: String) throws(ResourceFault) {
        for (index, value) in values.enumerated() {
            if let fault = fault(in: value) { throw fields.fault("\(field)[\(index)]", fault) }
        }
    }
}
