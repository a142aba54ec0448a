import KubeTypes
import Wire

/// Which requests a webhook or a policy is about: groups, versions, resources, operations, scope.
struct RequestRule: Sendable, Hashable {
    enum Scope: String, Sendable { case all = "*", cluster = "Cluster", namespaced = "Namespaced" }

    var groups: [String]
    var versions: [String]
    /// With parts: `pods`, `pods/exec`, `*/scale`, `*/*`.
    var resources: [String]
    var operations: [String]
    var scope: Scope
    /// Empty for any.
    var names: [String]

    init(_ json: JSON) {
        func texts(_ member: String) -> [String] { json[member]?.array?.compactMap(\.string) ?? [] }
        groups = texts("apiGroups")
        versions = texts("apiVersions")
        resources = texts("resources")
        operations = texts("operations")
        names = texts("resourceNames")
        scope = json["scope"]?.string.flatMap(Scope.init) ?? .all
    }

    /// - Parameter type: the request's, or the same resource in another version.
    func matches(_ request: AdmissionRequest, as type: ResourceType) -> Bool {
        func holds(_ list: [String], _ text: String) -> Bool { list.contains { $0 == "*" || $0 == text } }
        guard holds(operations, request.operation.rawValue) else { return false }
        guard holds(groups, type.group), holds(versions, type.version) else { return false }
        guard resources.contains(where: { Self.names($0, type.resource, request.subresource ?? "") }) else {
            return false
        }
        if !names.isEmpty, !names.contains(request.name) { return false }
        switch scope {
        case .all: return true
        case .namespaced: return type.isNamespaced && !request.namespace.isEmpty
        case .cluster: return !type.isNamespaced
        }
    }

    private static func names(_ pattern: String, _ resource: String, _ part: String) -> Bool {
        let pieces = pattern.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let wanted = pieces.count > 1 ? pieces[1] : ""
        return (pieces[0] == "*" || pieces[0] == resource) && (wanted == "*" || wanted == part)
    }
}

/// What a webhook or a policy looks at before it is asked: rules, and selectors over labels.
struct RequestMatch: Sendable {
    var rules: [RequestRule]
    var excluded: [RequestRule]
    /// Other versions of a resource count too.
    var isEquivalent: Bool
    var namespaceSelector: LabelSelector
    var objectSelector: LabelSelector

    /// - Parameter rules: the member that has them: `rules` of a webhook, `resourceRules` of a policy.
    init(_ json: JSON, rules member: String) {
        rules = (json[member]?.array ?? []).map(RequestRule.init)
        excluded = (json["excludeResourceRules"]?.array ?? []).map(RequestRule.init)
        isEquivalent = json["matchPolicy"]?.string != "Exact"
        namespaceSelector = Self.selector(json["namespaceSelector"])
        objectSelector = Self.selector(json["objectSelector"])
    }

    /// A selector that makes no sense was refused when it was stored.
    private static func selector(_ json: JSON?) -> LabelSelector {
        guard let json, json.object != nil else { return .everything }
        return (try? LabelSelector(json)) ?? .everything
    }

    /// - Parameter versions: the request's resource in all served versions, best first.
    /// - Returns: the version the rules name, in which the object is to be shown.
    func version(of request: AdmissionRequest, among versions: [ResourceType]) -> ResourceType? {
        if isExcluded(request, versions) { return nil }
        if rules.contains(where: { $0.matches(request, as: request.type) }) { return request.type }
        guard isEquivalent else { return nil }
        for rule in rules {
            for other in versions where other != request.type && rule.matches(request, as: other) { return other }
        }
        return nil
    }

    private func isExcluded(_ request: AdmissionRequest, _ versions: [ResourceType]) -> Bool {
        if excluded.isEmpty { return false }
        let types = isEquivalent ? versions + [request.type] : [request.type]
        return excluded.contains { rule in types.contains { rule.matches(request, as: $0) } }
    }

    func selectsObject(_ request: AdmissionRequest) -> Bool {
        if objectSelector.isEmpty { return true }
        if let object = request.newObject, objectSelector.matches(object) { return true }
        if let old = request.oldObject, objectSelector.matches(old) { return true }
        return false
    }

    func selectsNamespace(_ request: AdmissionRequest, _ objects: AdmissionObjects) async throws(APIFailure) -> Bool {
        if namespaceSelector.isEmpty { return true }
        if request.type == .namespaces, request.subresource == nil || request.operation == .update {
            // A namespace that is being made is known only from the request.
            return namespaceSelector.matches(request.object)
        }
        guard request.type.isNamespaced else { return true }
        guard let namespace = try await objects.namespace(request.namespace) else {
            throw .notFound(.namespaces, request.namespace)
        }
        return namespaceSelector.matches(namespace)
    }
}

extension AdmissionRequest {
    /// What decides over admission is not itself admitted by it: nobody could take back a mistake.
    var isOfAdmissionItself: Bool {
        guard type.group == "admissionregistration.k8s.io" else { return false }
        return [
            "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "validatingadmissionpolicies",
            "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
        ].contains(type.resource)
    }
}
