package import Wire

extension OutlierPolicy {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let usual = OutlierPolicy()
        let counts = 0...1_000_000
        let times = 1...86_400_000
        self.init(
            consecutiveErrors: try fields.integer("consecutiveErrors", in: counts) ?? usual.consecutiveErrors,
            consecutiveGatewayErrors: try fields.integer("consecutiveGatewayErrors", in: counts)
                ?? usual.consecutiveGatewayErrors,
            consecutiveLocalFailures: try fields.integer("consecutiveLocalFailures", in: counts)
                ?? usual.consecutiveLocalFailures,
            localFailures: try fields.word("localFailures", or: .asErrors),
            intervalMilliseconds: try fields.integer("intervalMilliseconds", in: times) ?? usual.intervalMilliseconds,
            ejectionMilliseconds: try fields.integer("ejectionMilliseconds", in: times) ?? usual.ejectionMilliseconds,
            longestEjectionMilliseconds: try fields.integer("longestEjectionMilliseconds", in: times)
                ?? usual.longestEjectionMilliseconds,
            mostEjectedPercent: try fields.integer("mostEjectedPercent", in: 0...100) ?? usual.mostEjectedPercent,
            successRateDeviationPercent: try fields.integer("successRateDeviationPercent", in: 0...100_000)
                ?? usual.successRateDeviationPercent,
            failurePercent: try fields.integer("failurePercent", in: 0...100) ?? usual.failurePercent,
            rateMinimumHosts: try fields.integer("rateMinimumHosts", in: 1...1_000_000) ?? usual.rateMinimumHosts,
            rateMinimumRequests: try fields.integer("rateMinimumRequests", in: 1...1_000_000)
                ?? usual.rateMinimumRequests)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("consecutiveErrors", consecutiveErrors)
        out.write("consecutiveGatewayErrors", consecutiveGatewayErrors)
        out.write("consecutiveLocalFailures", consecutiveLocalFailures)
        out.write("localFailures", localFailures.rawValue)
        out.write("intervalMilliseconds", intervalMilliseconds)
        out.write("ejectionMilliseconds", ejectionMilliseconds)
        out.write("longestEjectionMilliseconds", longestEjectionMilliseconds)
        out.write("mostEjectedPercent", mostEjectedPercent)
        out.write("successRateDeviationPercent", successRateDeviationPercent)
        out.write("failurePercent", failurePercent)
        out.write("rateMinimumHosts", rateMinimumHosts)
        out.write("rateMinimumRequests", rateMinimumRequests)
        return out.json
    }
}

extension HealthCheck {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let usual = HealthCheck(.tcp)
        let path = try fields.string("path")
        var statuses: [Int] = []
        for (index, element) in try fields.array("statuses").enumerated() {
            guard let status = element.int, (100...599).contains(status) else {
                throw fields.fault("statuses[\(index)]", "must be a status from 100 to 599")
            }
            statuses.append(status)
        }
        self.init(
            try fields.requiredWord("kind"), path: path.isEmpty ? usual.path : path, host: try fields.string("host"),
            grpcService: try fields.string("grpcService"), port: try fields.integer("port", in: 1...65535),
            statuses: statuses,
            intervalMilliseconds: try fields.integer("intervalMilliseconds", in: 10...86_400_000)
                ?? usual.intervalMilliseconds,
            timeoutMilliseconds: try fields.integer("timeoutMilliseconds", in: 1...60_000)
                ?? usual.timeoutMilliseconds,
            healthyThreshold: try fields.integer("healthyThreshold", in: 1...1000) ?? usual.healthyThreshold,
            unhealthyThreshold: try fields.integer("unhealthyThreshold", in: 1...1000) ?? usual.unhealthyThreshold)
        func check(_ field: String, _ text: String) throws(ResourceFault) {
            let isClean = text.utf8.count <= 1024 && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
            if !isClean { throw fields.fault(field, "contains a character that no request line or host can have") }
        }
        try check("path", self.path)
        try check("host", host)
        try check("grpcService", grpcService)
        if !self.path.hasPrefix("/") { throw fields.fault("path", "is \"\(path)\", must begin with /") }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("kind", kind.rawValue)
        if path != "/" { out.write("path", path) }
        out.write("host", host)
        out.write("grpcService", grpcService)
        out.write("port", port)
        out.write("statuses", statuses.map { JSON.int(Int64($0)) })
        out.write("intervalMilliseconds", intervalMilliseconds)
        out.write("timeoutMilliseconds", timeoutMilliseconds)
        out.write("healthyThreshold", healthyThreshold)
        out.write("unhealthyThreshold", unhealthyThreshold)
        return out.json
    }
}
