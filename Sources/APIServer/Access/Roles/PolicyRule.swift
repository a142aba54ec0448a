import Wire

/// One rule of a role.
package struct PolicyRule: Sendable, Hashable {
    package var verbs: [String]
    package var apiGroups: [String] = []
    package var resources: [String] = []
    /// Empty for all names.
    package var resourceNames: [String] = []
    package var nonResourceURLs: [String] = []

    package init(
        verbs: [String], apiGroups: [String] = [], resources: [String] = [], resourceNames: [String] = [],
        nonResourceURLs: [String] = []
    ) {
        self.verbs = verbs
        self.apiGroups = apiGroups
        self.resources = resources
        self.resourceNames = resourceNames
        self.nonResourceURLs = nonResourceURLs
    }

    init(_ json: JSON) {
        func list(_ key: String) -> [String] { json[key]?.array?.compactMap(\.string) ?? [] }
        self.init(
            verbs: list("verbs"), apiGroups: list("apiGroups"), resources: list("resources"),
            resourceNames: list("resourceNames"), nonResourceURLs: list("nonResourceURLs"))
    }

    static func list(_ json: JSON?) -> [PolicyRule] { json?.array?.map { PolicyRule($0) } ?? [] }

    static let everything = [
        PolicyRule(verbs: ["*"], apiGroups: ["*"], resources: ["*"]), PolicyRule(verbs: ["*"], nonResourceURLs: ["*"]),
    ]

    var json: JSON {
        var json: JSON = [:]
        func put(_ key: String, _ list: [String]) {
            if !list.isEmpty { json[key] = .array(list.map(JSON.string)) }
        }
        put("verbs", verbs)
        put("apiGroups", apiGroups)
        put("resources", resources)
        put("resourceNames", resourceNames)
        put("nonResourceURLs", nonResourceURLs)
        return json
    }

    // MARK: Asked

    /// An attempt in the words of rules, made once for all rules it is compared with.
    struct Question {
        let verb: String
        let group: String
        /// `deployments`, or `deployments/scale`.
        let resource: String
        let subresource: String
        let name: String
        /// Set for attempts on paths.
        let path: String?

        init(_ attempt: Attempt) {
            verb = attempt.verb
            switch attempt.target {
            case .path(let path):
                (group, resource, subresource, name) = ("", "", "", "")
                self.path = path
            case .resource(let group, _, let resource, let subresource, _, let name):
                self.group = group
                self.resource = subresource.isEmpty ? resource : "\(resource)/\(subresource)"
                self.subresource = subresource
                self.name = name
                path = nil
            }
        }
    }

    func allows(_ question: Question) -> Bool {
        guard verbs.contains(where: { $0 == "*" || $0 == question.verb }) else { return false }
        if let path = question.path { return nonResourceURLs.contains { Self.path($0, covers: path) } }
        guard apiGroups.contains(where: { $0 == "*" || $0 == question.group }) else { return false }
        guard resources.contains(where: { Self.resource($0, covers: question.resource, question.subresource) }) else {
            return false
        }
        return resourceNames.isEmpty || resourceNames.contains(question.name)
    }

    private static func resource(_ rule: String, covers resource: String, _ subresource: String) -> Bool {
        if rule == "*" || rule == resource { return true }
        // `*/scale` is the subresource of whatever resource.
        return !subresource.isEmpty && rule.hasPrefix("*/") && rule.dropFirst(2) == subresource
    }

    private static func path(_ rule: String, covers path: String) -> Bool {
        if rule == "*" || rule == path { return true }
        return rule.hasSuffix("*") && path.hasPrefix(rule.dropLast())
    }

    // MARK: Granted

    /// The rule as rules of one verb, one group and resource or one path, and one name each.
    var singles: [PolicyRule] {
        var found: [PolicyRule] = []
        let names = resourceNames.isEmpty ? [[]] : resourceNames.map { [$0] }
        for verb in verbs {
            for group in apiGroups {
                for resource in resources {
                    for name in names {
                        found.append(
                            PolicyRule(verbs: [verb], apiGroups: [group], resources: [resource], resourceNames: name))
                    }
                }
            }
            for path in nonResourceURLs { found.append(PolicyRule(verbs: [verb], nonResourceURLs: [path])) }
        }
        return found
    }

    /// Whether this rule gives all a single rule gives.
    func covers(_ single: PolicyRule) -> Bool {
        guard single.verbs.allSatisfy({ verbs.contains("*") || verbs.contains($0) }) else { return false }
        if let path = single.nonResourceURLs.first {
            return nonResourceURLs.contains { Self.path($0, covers: path) }
        }
        guard let group = single.apiGroups.first, let resource = single.resources.first else { return false }
        guard apiGroups.contains("*") || apiGroups.contains(group) else { return false }
        let parts = resource.split(separator: "/", maxSplits: 1)
        let subresource = parts.count > 1 ? String(parts[1]) : ""
        guard resources.contains(where: { Self.resource($0, covers: resource, subresource) }) else { return false }
        if resourceNames.isEmpty { return true }
        guard let name = single.resourceNames.first else { return false }
        return resourceNames.contains(name)
    }

    /// What of `wanted` the rules of `held` do not give.
    static func missing(_ wanted: [PolicyRule], from held: [PolicyRule]) -> [PolicyRule] {
        wanted.flatMap(\.singles).filter { single in !held.contains { $0.covers(single) } }
    }

    /// Rules that differ in their verb only, as one.
    static func compacted(_ rules: [PolicyRule]) -> [PolicyRule] {
        var order: [PolicyRule] = []
        var verbs: [PolicyRule: [String]] = [:]
        for rule in rules {
            var key = rule
            key.verbs = []
            if verbs[key] == nil { order.append(key) }
            verbs[key, default: []] += rule.verbs.filter { !(verbs[key]?.contains($0) ?? false) }
        }
        return order.map { key in
            var rule = key
            rule.verbs = verbs[key] ?? []
            return rule
        }
    }

    /// As messages about missing permissions show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
    var compactText: String {
        func list(_ name: String, _ items: [String]) -> [String] {
            items.isEmpty ? [] : ["\(name):[" + items.map { "\"\($0)\"" }.joined(separator: " ") + "]"]
        }
        let parts =
            list("APIGroups", apiGroups) + list("Resources", resources) + list("ResourceNames", resourceNames)
            + list("NonResourceURLs", nonResourceURLs) + list("Verbs", verbs)
        return "{" + parts.joined(separator: ", ") + "}"
    }
}
