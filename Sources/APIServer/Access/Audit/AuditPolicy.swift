import KubeTypes
import Wire

/// How much of a request an audit event holds.
enum AuditLevel: String, Sendable, Comparable {
    case none = "None", metadata = "Metadata", request = "Request", requestResponse = "RequestResponse"

    private var rank: Int {
        switch self {
        case .none: 0
        case .metadata: 1
        case .request: 2
        case .requestResponse: 3
        }
    }
    static func < (one: AuditLevel, other: AuditLevel) -> Bool { one.rank < other.rank }
}

enum AuditStage: String, Sendable, CaseIterable {
    case received = "RequestReceived", started = "ResponseStarted", complete = "ResponseComplete", panic = "Panic"
}

/// What of which request is recorded: `audit.k8s.io/v1` Policy. The first rule that fits a request decides.
struct AuditPolicy: Sendable {
    struct Verdict: Sendable, Hashable {
        var level = AuditLevel.none
        var omitsStages: Set<AuditStage> = []
        var omitsManagedFields = false
    }

    struct Rule: Sendable {
        var verdict: Verdict
        var users: [String]
        var groups: [String]
        var verbs: [String]
        var namespaces: [String]
        var resources: [GroupResources]
        var paths: [String]
    }

    struct GroupResources: Sendable {
        var group: String
        var resources: [String]
        var names: [String]
    }

    private let rules: [Rule]
    private let fallback: Verdict

    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    init(_ json: JSON) throws(Fault) {
        guard json["kind"]?.string == "Policy", json["apiVersion"]?.string == "audit.k8s.io/v1" else {
            throw Fault(description: "it must be a Policy of audit.k8s.io/v1")
        }
        let stages = try Self.stages(json["omitStages"], "omitStages")
        let omitsFields = json["omitManagedFields"]?.bool ?? false
        guard let given = json["rules"]?.array, !given.isEmpty else {
            throw Fault(description: "rules: there must be at least one")
        }
        var rules: [Rule] = []
        for (index, rule) in given.enumerated() {
            rules.append(try Self.rule(rule, "rules[\(index)]", stages, omitsFields))
        }
        self.rules = rules
        fallback = Verdict(level: .none, omitsStages: stages, omitsManagedFields: omitsFields)
    }

    private static func rule(
        _ json: JSON, _ path: String, _ stages: Set<AuditStage>, _ omitsFields: Bool
    ) throws(Fault) -> Rule {
        func list(_ json: JSON, _ name: String) -> [String] { json[name]?.array?.compactMap(\.string) ?? [] }
        guard let level = AuditLevel(rawValue: json["level"]?.string ?? "") else {
            throw Fault(
                description: "\(path).level: \(json["level"]?.text ?? "missing"): allowed are None, Metadata, Request,"
                    + " RequestResponse")
        }
        let paths = list(json, "nonResourceURLs")
        let resources = (json["resources"]?.array ?? []).map { entry in
            GroupResources(
                group: entry["group"]?.string ?? "", resources: list(entry, "resources"),
                names: list(entry, "resourceNames"))
        }
        if !paths.isEmpty, !resources.isEmpty || !list(json, "namespaces").isEmpty {
            throw Fault(description: "\(path): rules cannot apply to both regular resources and non-resource URLs")
        }
        for text in paths where text != "*" {
            guard text.hasPrefix("/"), !text.dropLast().contains("*") else {
                throw Fault(
                    description:
                        "\(path).nonResourceURLs: \"\(text)\" must begin with a slash, and have '*' at its end only")
            }
        }
        let verdict = Verdict(
            level: level, omitsStages: stages.union(try Self.stages(json["omitStages"], "\(path).omitStages")),
            omitsManagedFields: json["omitManagedFields"]?.bool ?? omitsFields)
        return Rule(
            verdict: verdict, users: list(json, "users"), groups: list(json, "userGroups"), verbs: list(json, "verbs"),
            namespaces: list(json, "namespaces"), resources: resources, paths: paths)
    }

    private static func stages(_ json: JSON?, _ path: String) throws(Fault) -> Set<AuditStage> {
        var found: Set<AuditStage> = []
        for text in json?.array?.compactMap(\.string) ?? [] {
            guard let stage = AuditStage(rawValue: text) else {
                throw Fault(
                    description: "\(path): \"\(text)\": allowed are "
                        + AuditStage.allCases.map(\.rawValue).joined(separator: ", "))
            }
            found.insert(stage)
        }
        return found
    }

    func verdict(_ attempt: Attempt) -> Verdict {
        rules.first { $0.fits(attempt) }?.verdict ?? fallback
    }
}

extension AuditPolicy.Rule {
    func fits(_ attempt: Attempt) -> Bool {
        if !users.isEmpty, !users.contains(attempt.user.name) { return false }
        if !groups.isEmpty, !attempt.user.groups.contains(where: groups.contains) { return false }
        if !verbs.isEmpty, !verbs.contains(attempt.verb) { return false }
        switch attempt.target {
        case .path(let path):
            if !namespaces.isEmpty || !resources.isEmpty { return false }
            return paths.isEmpty || paths.contains { Self.path($0, covers: path) }
        case .resource(let group, _, let resource, let subresource, let namespace, let name):
            if !paths.isEmpty { return false }
            if !namespaces.isEmpty, !namespaces.contains(namespace) { return false }
            if resources.isEmpty { return true }
            return resources.contains { entry in
                guard entry.group == group || entry.group == "*" else { return false }
                if entry.resources.isEmpty { return true }
                guard entry.names.isEmpty || entry.names.contains(name) else { return false }
                return entry.resources.contains { Self.resource($0, covers: resource, subresource) }
            }
        }
    }

    private static func path(_ rule: String, covers path: String) -> Bool {
        rule == "*" || rule == path || (rule.hasSuffix("*") && path.hasPrefix(rule.dropLast()))
    }

    /// `pods` is the pods only, `pods/log` one subresource, `pods/*` all of theirs, `*/scale` that of all resources.
    private static func resource(_ rule: String, covers resource: String, _ subresource: String) -> Bool {
        if rule == "*" { return true }
        let whole = subresource.isEmpty ? resource : "\(resource)/\(subresource)"
        if rule == whole { return true }
        if !subresource.isEmpty, rule == "*/\(subresource)" { return true }
        return rule.hasSuffix("/*") && rule.dropLast(2) == resource
    }
}
