package import Wire

extension VirtualHost {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var rules: [RouteRule] = []
        for rule in try fields.objects("rules") { rules.append(try RouteRule(rule)) }
        self.init(hosts: try fields.strings("hosts"), rules: rules)
        if hosts.isEmpty { throw fields.fault("hosts", "is required") }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("hosts", hosts)
        out.write("rules", rules.map(\.json))
        return out.json
    }
}

extension RouteRule {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var matches: [RouteMatch] = []
        for match in try fields.objects("matches") { matches.append(try RouteMatch(match)) }
        var backends: [WeightedBackend] = []
        for backend in try fields.objects("backends") { backends.append(try WeightedBackend(backend)) }
        var headers: [HeaderValue] = []
        for header in try fields.objects("setRequestHeaders") { headers.append(try HeaderValue(header)) }
        var added: [HeaderValue] = []
        for header in try fields.objects("addRequestHeaders") { added.append(try HeaderValue(header)) }
        self.init(
            name: try fields.string("name"), matches: matches, backends: backends,
            timeoutMilliseconds: try fields.integer("timeoutMilliseconds", in: 0...Int(Int32.max)),
            setRequestHeaders: headers, addRequestHeaders: added,
            removeRequestHeaders: try fields.strings("removeRequestHeaders"),
            directStatus: try fields.integer("directStatus", in: 200...599),
            actions: try RouteActions(rule: fields))
        isNoRoute = try fields.flag("noRoute", or: false)
        if let found = try fields.object("session") { session = try SessionPolicy(found) }
        resilience = try RouteResilience(try fields.object("resilience"))
        if backends.isEmpty, directStatus == nil, actions.redirect == nil {
            throw fields.fault("backends", "is required when neither directStatus nor redirect is set")
        }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("matches", matches.map(\.json))
        out.write("backends", backends.map(\.json))
        out.write("timeoutMilliseconds", timeoutMilliseconds)
        out.write("setRequestHeaders", setRequestHeaders.map(\.json))
        out.write("addRequestHeaders", addRequestHeaders.map(\.json))
        out.write("removeRequestHeaders", removeRequestHeaders)
        out.write("directStatus", directStatus)
        if isNoRoute { out.write("noRoute", true) }
        if let session { out.write("session", session.json) }
        actions.write(to: &out)
        if resilience != .none { out.write("resilience", resilience.json) }
        return out.json
    }
}

extension RouteMatch {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var path = PathMatch.any
        if let place = try fields.object("path") {
            let words = place.json.object?.keys ?? []
            guard words.count == 1, let word = words.first else {
                throw place.fault("", "must have one member: exact, prefix, textPrefix or regex")
            }
            let value = try place.requiredString(word)
            switch word {
            case "exact": path = .exact(value)
            case "prefix": path = .prefix(value)
            case "textPrefix": path = .textPrefix(value)
            case "regex":
                try place.checkPattern(word, value)
                path = .regex(value)
            default: throw place.fault(word, "is not a way to match a path this proxy knows")
            }
        }
        var headers: [HeaderMatch] = []
        for header in try fields.objects("headers") { headers.append(try HeaderMatch(header)) }
        let method = try fields.string("method")
        var query: [QueryMatch] = []
        for parameter in try fields.objects("query") { query.append(try QueryMatch(parameter)) }
        func text(_ field: String) throws(ResourceFault) -> TextMatch? {
            guard let inside = try fields.object(field) else { return nil }
            return try TextMatch(inside)
        }
        var source = SourceMatch()
        if let inside = try fields.object("source") { source = try SourceMatch(inside) }
        self.init(
            path: path, ignoresPathCase: try fields.flag("ignorePathCase"), method: method.isEmpty ? nil : method,
            methodText: try text("methodText"), scheme: try text("scheme"), authority: try text("authority"),
            headers: headers, query: query, source: source, port: try fields.integer("port", in: 1...65535))
    }

    package var json: JSON {
        var out = ResourceWriter()
        switch path {
        case .any: break
        case .exact(let value): out.write("path", ["exact": .string(value)])
        case .prefix(let value): out.write("path", ["prefix": .string(value)])
        case .textPrefix(let value): out.write("path", ["textPrefix": .string(value)])
        case .regex(let value): out.write("path", ["regex": .string(value)])
        }
        out.write("ignorePathCase", ignoresPathCase)
        out.write("method", method ?? "")
        for (field, text) in [("methodText", methodText), ("scheme", scheme), ("authority", authority)] {
            if let text { out.write(field, text.json) }
        }
        out.write("headers", headers.map(\.json))
        out.write("query", query.map(\.json))
        if !source.isAnyone { out.write("source", source.json) }
        out.write("port", port)
        return out.json
    }
}

extension HeaderMatch: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let text = try TextMatch(fields)
        self.init(
            name: try fields.requiredString("name"), kind: text.kind, value: text.value, ignoresCase: text.ignoresCase,
            isInverted: try fields.flag("invert"))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        text.write(to: &out)
        out.write("invert", isInverted)
        return out.json
    }
}

extension HeaderValue: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(name: try fields.requiredString("name"), value: try fields.string("value"))
        if let fault = HeaderRules.fault(name: name) { throw fields.fault("name", fault) }
        if let fault = HeaderRules.fault(value: value) { throw fields.fault("value", fault) }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("value", value)
        return out.json
    }
}

extension WeightedBackend: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            backend: try fields.string("backend"),
            weight: try fields.requiredInteger("weight", in: 0...1_000_000),
            request: try HeaderEdits(fields, of: "Request"), response: try HeaderEdits(fields, of: "Response"))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("backend", backend)
        out.write("weight", weight)
        request.write(to: &out, of: "Request")
        response.write(to: &out, of: "Response")
        return out.json
    }
}
