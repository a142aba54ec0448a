import KubeTypes
import Wire

/// Nobody gives more than they have: a role may be written, and a binding made, only by who holds all its permissions, or may
/// `escalate` the role, or `bind` it.
struct RoleEscalation: ValidatingAdmission {
    let authorizer: any Authorizer
    let roles: RoleIndex

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard request.type.group == "rbac.authorization.k8s.io", request.subresource == nil, !request.user.isMaster
        else { return [] }
        switch (request.operation, request.type.kind) {
        case (.create, "Role"), (.create, "ClusterRole"), (.update, "Role"), (.update, "ClusterRole"):
            try checkRole(request)
        case (.create, "RoleBinding"), (.create, "ClusterRoleBinding"), (.update, "RoleBinding"),
            (.update, "ClusterRoleBinding"):
            try checkBinding(request)
        default: break
        }
        return []
    }

    private func checkRole(_ request: AdmissionRequest) throws(APIFailure) {
        let object = request.object.json
        if let old = request.oldObject?.json, old["rules"] == object["rules"],
            old["aggregationRule"] == object["aggregationRule"]
        {
            return
        }
        let name = request.operation == .create ? "" : request.name
        if authorizer.allows(
            Attempt(request.user, "escalate", request.type, namespace: request.namespace, name: name))
        {
            return
        }
        // Whoever writes what an aggregated role selects decides what it gives: that may be anything.
        let isAggregated = object["aggregationRule"].map { !$0.isNull } ?? false
        let wasAggregated = request.oldObject?.json["aggregationRule"].map { !$0.isNull } ?? false
        if isAggregated || wasAggregated { try require(PolicyRule.everything, request) }
        try require(PolicyRule.list(object["rules"]), request)
    }

    private func checkBinding(_ request: AdmissionRequest) throws(APIFailure) {
        let object = request.object.json
        if let old = request.oldObject?.json, old["roleRef"] == object["roleRef"],
            old["subjects"] == object["subjects"]
        {
            return
        }
        let role = RoleReference(object["roleRef"], namespace: request.namespace)
        let type: ResourceType = role.namespace.isEmpty ? .clusterRoles : .roles
        if authorizer.allows(Attempt(request.user, "bind", type, namespace: request.namespace, name: role.name)) {
            return
        }
        guard let rules = roles.rules(of: role) else { throw .notFound(type, role.name) }
        try require(rules, request)
    }

    private func require(_ wanted: [PolicyRule], _ request: AdmissionRequest) throws(APIFailure) {
        let held = authorizer.rules(of: request.user, in: request.namespace)
        let missing = PolicyRule.missing(wanted, from: held.rules)
        if missing.isEmpty { return }
        let texts = Set(PolicyRule.compacted(missing).map(\.compactText)).sorted()
        let groups = request.user.groups.map { "\"\($0)\"" }.joined(separator: " ")
        var message =
            "\(request.type.qualifiedName) \"\(request.name)\" is forbidden: user \"\(request.user.name)\""
            + " (groups=[\(groups)]) is attempting to grant RBAC permissions not currently held:\n"
            + texts.joined(separator: "\n")
        if !held.gaps.isEmpty { message += "; resolution errors: [\(held.gaps.joined(separator: ", "))]" }
        throw APIFailure(
            code: 403, reason: "Forbidden", message: message,
            details: [
                "name": .string(request.name), "group": .string(request.type.group),
                "kind": .string(request.type.resource),
            ])
    }
}
