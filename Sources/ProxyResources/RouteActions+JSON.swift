package import Wire

extension RouteActions {
    /// Reads the members a rule has for its actions, beside those it has for its backends.
    init(rule fields: ResourceFields) throws(ResourceFault) {
        self.init()
        if let rewrite = try fields.object("rewrite") {
            path = try rewrite.part("path")
            host = try rewrite.host("host")
        }
        redirect = try fields.part("redirect")
        directBody = try fields.part("directBody")
        response = try HeaderEdits(fields, of: "Response")
        mirrors = try fields.parts("mirrors")
        cors = try fields.part("cors")
        fault = try fields.part("fault")
    }

    func write(to out: inout ResourceWriter) {
        if path != nil || host != nil {
            var rewrite = ResourceWriter()
            rewrite.write("path", path)
            rewrite.write("host", host ?? "")
            out.write("rewrite", rewrite.json)
        }
        out.write("redirect", redirect)
        out.write("directBody", directBody)
        response.write(to: &out, of: "Response")
        out.write("mirrors", mirrors)
        out.write("cors", cors)
        out.write("fault", fault)
    }
}

extension HeaderEdits {
    /// `message`: `Request` or `Response`, as in `setRequestHeaders`.
    init(_ fields: ResourceFields, of message: String) throws(ResourceFault) {
        self.init()
        set = try fields.parts("set\(message)Headers")
        add = try fields.parts("add\(message)Headers")
        remove = try fields.strings("remove\(message)Headers")
        for (index, name) in remove.enumerated() {
            if let fault = HeaderRules.fault(name: name) {
                throw fields.fault("remove\(message)Headers[\(index)]", fault)
            }
        }
    }

    func write(to out: inout ResourceWriter, of message: String) {
        out.write("set\(message)Headers", set)
        out.write("add\(message)Headers", add)
        out.write("remove\(message)Headers", remove)
    }
}

extension PathRewrite: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let words = ["full", "prefix", "matched", "regex"].filter { fields.json[$0] != nil }
        guard words.count == 1, let word = words.first else {
            throw fields.fault("", "must have one of the members full, prefix, matched and regex")
        }
        let value = try fields.string(word)
        if let fault = HeaderRules.fault(path: value), word != "regex" { throw fields.fault(word, fault) }
        switch word {
        case "full": self = .full(value)
        case "prefix": self = .prefix(value)
        case "matched": self = .matched(value)
        default:
            let substitution = try fields.string("substitution")
            try fields.checkPattern(word, value)
            if let fault = HeaderRules.fault(path: substitution) { throw fields.fault("substitution", fault) }
            self = .regex(pattern: value, substitution: substitution)
        }
    }

    package var json: JSON {
        switch self {
        case .full(let value): ["full": .string(value)]
        case .prefix(let value): ["prefix": .string(value)]
        case .matched(let value): ["matched": .string(value)]
        case .regex(let pattern, let substitution):
            ["regex": .string(pattern), "substitution": .string(substitution)]
        }
    }
}

extension Redirect: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        let scheme = try fields.string("scheme")
        if !["", "http", "https"].contains(scheme) { throw fields.fault("scheme", "must be http or https") }
        self.scheme = scheme.isEmpty ? nil : scheme
        host = try fields.host("host")
        port = try fields.integer("port", in: 1...65535)
        path = try fields.object("path").map { path throws(ResourceFault) in try PathRewrite(path) }
        status = try fields.integer("status", in: 300...399) ?? 302
        if !Self.statuses.contains(status) {
            throw fields.fault("status", "is \(status), must be 301, 302, 303, 307 or 308")
        }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("scheme", scheme ?? "")
        out.write("host", host ?? "")
        out.write("port", port)
        if let path { out.write("path", path.json) }
        out.write("status", status)
        return out.json
    }
}

extension DirectBody: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let type = try fields.string("contentType")
        self.init(text: try fields.string("text"), contentType: type.isEmpty ? "text/plain" : type)
        if text.utf8.count > Self.limit {
            throw fields.fault("text", "has \(text.utf8.count) bytes, \(Self.limit) at most")
        }
        if let fault = HeaderRules.fault(value: contentType) { throw fields.fault("contentType", fault) }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("text", text)
        out.write("contentType", contentType)
        return out.json
    }
}

extension Mirror: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            backend: try fields.requiredString("backend"),
            millionths: try fields.integer("millionths", in: 0...1_000_000) ?? 1_000_000)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("backend", backend)
        out.write("millionths", millionths)
        return out.json
    }
}

extension CORSPolicy: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(origins: [])
        for origin in try fields.objects("origins") { origins.append(try TextMatch(origin)) }
        methods = try fields.strings("methods")
        headers = try fields.strings("headers")
        exposedHeaders = try fields.strings("exposedHeaders")
        for (field, values) in [("methods", methods), ("headers", headers), ("exposedHeaders", exposedHeaders)] {
            for value in values where value != "*" {
                if HeaderRules.isToken(value) { continue }
                throw fields.fault(field, "\"\(value)\" is not a token")
            }
        }
        maxAgeSeconds = try fields.integer("maxAgeSeconds", in: 0...Int(Int32.max))
        allowsCredentials = try fields.flag("credentials")
        forwardsUnmatched = try fields.flag("forwardUnmatched")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("origins", origins.map(\.json))
        out.write("methods", methods)
        out.write("headers", headers)
        out.write("exposedHeaders", exposedHeaders)
        out.write("maxAgeSeconds", maxAgeSeconds)
        out.write("credentials", allowsCredentials)
        out.write("forwardUnmatched", forwardsUnmatched)
        return out.json
    }
}

extension Fault: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        if let delay = try fields.object("delay") {
            self.delay = Delay(
                milliseconds: try delay.requiredInteger("milliseconds", in: 0...Self.longestDelay),
                millionths: try delay.integer("millionths", in: 0...1_000_000) ?? 1_000_000)
        }
        if let abort = try fields.object("abort") {
            let share = try abort.integer("millionths", in: 0...1_000_000) ?? 1_000_000
            if let status = try abort.integer("httpStatus", in: 200...599) {
                self.abort = Abort(.http(status), millionths: share)
            } else {
                self.abort = Abort(.grpc(try abort.requiredInteger("grpcStatus", in: 0...16)), millionths: share)
            }
        }
        isHeaderControlled = try fields.flag("headerControlled")
    }

    package var json: JSON {
        var out = ResourceWriter()
        if let delay {
            out.write(
                "delay",
                ["milliseconds": .int(Int64(delay.milliseconds)), "millionths": .int(Int64(delay.millionths))])
        }
        if let abort {
            let share = JSON.int(Int64(abort.millionths))
            switch abort.answer {
            case .http(let status): out.write("abort", ["httpStatus": .int(Int64(status)), "millionths": share])
            case .grpc(let status): out.write("abort", ["grpcStatus": .int(Int64(status)), "millionths": share])
            }
        }
        out.write("headerControlled", isHeaderControlled)
        return out.json
    }
}
