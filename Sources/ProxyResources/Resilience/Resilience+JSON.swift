package import Wire

extension RouteResilience {
    init(_ fields: ResourceFields?) throws(ResourceFault) {
        self.init()
        guard let fields else { return }
        retry = try fields.part("retry")
        limits = try fields.part("limits")
        rateLimits = try RateLimit.list(fields, "rateLimits")
        idleTimeoutMilliseconds = try fields.milliseconds("idleTimeoutMilliseconds")
        streamTimeoutMilliseconds = try fields.milliseconds("streamTimeoutMilliseconds")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("retry", retry)
        out.write("limits", limits)
        out.write("rateLimits", rateLimits.map(\.json))
        out.write("idleTimeoutMilliseconds", idleTimeoutMilliseconds)
        out.write("streamTimeoutMilliseconds", streamTimeoutMilliseconds)
        return out.json
    }
}

extension BackendResilience {
    init(_ fields: ResourceFields?) throws(ResourceFault) {
        self.init()
        guard let fields else { return }
        limits = try fields.part("limits")
        retryBudget = try fields.part("retryBudget")
        adaptiveConcurrency = try fields.part("adaptiveConcurrency")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("limits", limits)
        out.write("retryBudget", retryBudget)
        out.write("adaptiveConcurrency", adaptiveConcurrency)
        return out.json
    }
}

extension ResourceFields {
    /// 1 ms to 24 days.
    func milliseconds(_ field: String) throws(ResourceFault) -> Int? { try integer(field, in: 1...Int(Int32.max)) }
}

extension RetryPolicy: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        attempts = try fields.integer("attempts", in: 0...Self.mostAttempts) ?? attempts
        conditions = try fields.words("conditions")
        for (index, element) in try fields.array("statusCodes").enumerated() {
            guard let code = element.int, (200...599).contains(code) else {
                throw fields.fault("statusCodes[\(index)]", "must be a status from 200 to 599")
            }
            statusCodes.append(code)
        }
        responseHeaders = try fields.parts("responseHeaders")
        perTryTimeoutMilliseconds = try fields.milliseconds("perTryTimeoutMilliseconds")
        backoffBaseMilliseconds =
            try fields.integer("backoffBaseMilliseconds", in: 0...60_000) ?? backoffBaseMilliseconds
        backoffMaxMilliseconds =
            try fields.integer("backoffMaxMilliseconds", in: 0...600_000) ?? backoffBaseMilliseconds * 10
        retryAfterMaxMilliseconds =
            try fields.integer("retryAfterMaxMilliseconds", in: 0...300_000) ?? retryAfterMaxMilliseconds
        bodyBytes = try fields.integer("bodyBytes", in: 0...Self.mostBodyBytes) ?? bodyBytes
        idempotentOnly = try fields.flag("idempotentOnly", or: idempotentOnly)
        avoidsTried = try fields.flag("avoidsTried", or: avoidsTried)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("attempts", attempts)
        out.write("conditions", conditions.map(\.rawValue))
        out.write("statusCodes", statusCodes.map { JSON.int(Int64($0)) })
        out.write("responseHeaders", responseHeaders)
        out.write("perTryTimeoutMilliseconds", perTryTimeoutMilliseconds)
        out.write("backoffBaseMilliseconds", backoffBaseMilliseconds)
        out.write("backoffMaxMilliseconds", backoffMaxMilliseconds)
        out.write("retryAfterMaxMilliseconds", retryAfterMaxMilliseconds)
        out.write("bodyBytes", bodyBytes)
        out.write("idempotentOnly", .bool(idempotentOnly))
        out.write("avoidsTried", .bool(avoidsTried))
        return out.json
    }
}

extension RetryBudget: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        percent = try fields.integer("percent", in: 0...100) ?? percent
        minPerSecond = try fields.integer("minPerSecond", in: 0...1_000_000) ?? minPerSecond
        windowMilliseconds = try fields.integer("windowMilliseconds", in: 1000...3_600_000) ?? windowMilliseconds
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("percent", percent)
        out.write("minPerSecond", minPerSecond)
        out.write("windowMilliseconds", windowMilliseconds)
        return out.json
    }
}

extension CircuitLimits: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        let most = Int(Int32.max)
        maxConnections = try fields.integer("maxConnections", in: 1...most)
        maxPending = try fields.integer("maxPending", in: 0...most) ?? maxPending
        pendingTimeoutMilliseconds =
            try fields.milliseconds("pendingTimeoutMilliseconds") ?? pendingTimeoutMilliseconds
        maxRequests = try fields.integer("maxRequests", in: 1...most)
        maxRetries = try fields.integer("maxRetries", in: 0...most)
        maxRequestsPerConnection = try fields.integer("maxRequestsPerConnection", in: 1...most)
        connectTimeoutMilliseconds = try fields.milliseconds("connectTimeoutMilliseconds")
        idleTimeoutMilliseconds = try fields.milliseconds("idleTimeoutMilliseconds")
        tunnelIdleTimeoutMilliseconds = try fields.milliseconds("tunnelIdleTimeoutMilliseconds")
        keepAlive = try fields.part("keepAlive")
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("maxConnections", maxConnections)
        out.write("maxPending", maxPending)
        out.write("pendingTimeoutMilliseconds", pendingTimeoutMilliseconds)
        out.write("maxRequests", maxRequests)
        out.write("maxRetries", maxRetries)
        out.write("maxRequestsPerConnection", maxRequestsPerConnection)
        out.write("connectTimeoutMilliseconds", connectTimeoutMilliseconds)
        out.write("idleTimeoutMilliseconds", idleTimeoutMilliseconds)
        out.write("tunnelIdleTimeoutMilliseconds", tunnelIdleTimeoutMilliseconds)
        out.write("keepAlive", keepAlive)
        return out.json
    }
}

extension TCPKeepAlive: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            probes: try fields.integer("probes", in: 0...127) ?? 0,
            timeSeconds: try fields.integer("timeSeconds", in: 0...32_767) ?? 0,
            intervalSeconds: try fields.integer("intervalSeconds", in: 0...32_767) ?? 0)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("probes", probes)
        out.write("timeSeconds", timeSeconds)
        out.write("intervalSeconds", intervalSeconds)
        return out.json
    }
}

extension AdaptiveConcurrency: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        minLimit = try fields.integer("minLimit", in: 1...100_000) ?? minLimit
        maxLimit = try fields.integer("maxLimit", in: 1...100_000) ?? maxLimit
        if maxLimit < minLimit { throw fields.fault("maxLimit", "is \(maxLimit), less than minLimit (\(minLimit))") }
        windowMilliseconds = try fields.integer("windowMilliseconds", in: 1...60_000) ?? windowMilliseconds
        calmIntervalMilliseconds =
            try fields.integer("calmIntervalMilliseconds", in: 100...3_600_000) ?? calmIntervalMilliseconds
        calmRequests = try fields.integer("calmRequests", in: 1...10_000) ?? calmRequests
        percentile = try fields.integer("percentile", in: 1...100) ?? percentile
        bufferPercent = try fields.integer("bufferPercent", in: 0...1000) ?? bufferPercent
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("minLimit", minLimit)
        out.write("maxLimit", maxLimit)
        out.write("windowMilliseconds", windowMilliseconds)
        out.write("calmIntervalMilliseconds", calmIntervalMilliseconds)
        out.write("calmRequests", calmRequests)
        out.write("percentile", percentile)
        out.write("bufferPercent", bufferPercent)
        return out.json
    }
}

extension RateLimit {
    static func list(_ fields: ResourceFields, _ field: String) throws(ResourceFault) -> [RateLimit] {
        var limits: [RateLimit] = []
        for limit in try fields.objects(field) { limits.append(try RateLimit(limit)) }
        return limits
    }

    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(requests: try fields.requiredInteger("requests", in: 0...1_000_000_000))
        name = try fields.string("name")
        perMilliseconds = try fields.integer("perMilliseconds", in: 1...86_400_000) ?? perMilliseconds
        burst = try fields.integer("burst", in: 0...1_000_000_000) ?? 0
        maxKeys = try fields.integer("maxKeys", in: 1...Self.mostKeys) ?? maxKeys
        global = try GlobalQuota.read(fields)
        headers = try fields.word("headers", or: .prefixed)
        headersAlways = try fields.flag("headersAlways")
        let word = try fields.string("key")
        switch word {
        case "": key = .none
        case "principal": key = .principal
        case "address": key = .address
        case "path": key = .path
        default:
            guard word.hasPrefix("header:"), word.utf8.count > 7 else {
                throw fields.fault("key", "has the unknown value \"\(word)\"")
            }
            key = .header(String(word.dropFirst(7)).lowercased())
        }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("requests", requests)
        out.write("perMilliseconds", perMilliseconds)
        out.write("burst", burst)
        switch key {
        case .none: break
        case .principal: out.write("key", "principal")
        case .address: out.write("key", "address")
        case .path: out.write("key", "path")
        case .header(let name): out.write("key", "header:\(name)")
        }
        out.write("maxKeys", maxKeys)
        if let global { out.write("global", global.json) }
        out.write("headers", headers.rawValue)
        out.write("headersAlways", headersAlways)
        return out.json
    }
}

extension RouteResilience {
    /// As users write it. `resource`: what a fault shall name.
    package init(json: JSON, of resource: String) throws(ResourceFault) {
        try self.init(try ResourceFields(json, of: resource))
        rateLimits = try rateLimits.checkedAsWritten(resource, "rateLimits")
    }
}

extension BackendResilience {
    package init(json: JSON, of resource: String) throws(ResourceFault) {
        try self.init(try ResourceFields(json, of: resource))
    }
}

extension RateLimit {
    package static func list(json: JSON, of resource: String) throws(ResourceFault) -> [RateLimit] {
        try list(try ResourceFields(["limits": json], of: resource), "limits").checkedAsWritten(resource, "limits")
    }
}
