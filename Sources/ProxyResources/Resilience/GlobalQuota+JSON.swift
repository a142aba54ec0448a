import Wire

extension GlobalQuota {
    /// `true`, or an object with more to say; `nil` when the limit is one proxy's own.
    static func read(_ fields: ResourceFields) throws(ResourceFault) -> GlobalQuota? {
        guard let value = try fields.value("global", as: .object) else { return nil }
        if value.bool == false { return nil }
        try check(fields)
        if value.bool == true { return GlobalQuota(budget: "") }
        guard value.object != nil, let own = try fields.object("global") else {
            throw fields.fault("global", "must be true, false or an object")
        }
        return GlobalQuota(budget: try own.string("budget"), whenLost: try own.word("whenLost", or: .share))
    }

    private static func check(_ fields: ResourceFields) throws(ResourceFault) {
        if fields.spelling != nil {
            throw fields.fault("global", "is for proxies of a mesh: a proxy alone has nobody to share a limit with")
        }
        // One control plane remembers them for all proxies.
        _ = try fields.integer("maxKeys", in: 1...65_536)
        if try fields.string("name").isEmpty {
            throw fields.fault("name", "is required of a global limit: limits of one name share one budget")
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("budget", budget)
        if whenLost != .share { out.write("whenLost", whenLost.rawValue) }
        return out.json
    }
}

extension [RateLimit] {
    /// As users write them, who do not say what budgets are called.
    func checkedAsWritten(_ resource: String, _ field: String) throws(ResourceFault) -> [RateLimit] {
        for (place, limit) in enumerated() where limit.global?.budget.isEmpty == false {
            throw ResourceFault(
                resource: resource, field: "\(field)[\(place)].global.budget",
                message: "is given by the mesh: limits of one namespace and name share one budget")
        }
        return self
    }

    /// Gives global limits the budgets of a namespace.
    package mutating func nameBudgets(in namespace: String) {
        for place in indices where self[place].global != nil {
            let name = self[place].name
            self[place].global?.budget = "\(namespace)/\(name)"
        }
    }
}
