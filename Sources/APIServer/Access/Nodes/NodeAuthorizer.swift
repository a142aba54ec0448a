import KubeTypes
import Wire

/// What the nodes' agents (`system:node:<name>` in the group `system:nodes`) may do: much for all of them by fixed rules, but of
/// secrets, config maps, claims, volumes, tokens, pods, leases and nodes only what belongs to their own pods and themselves.
struct NodeAuthorizer: Authorizer {
    let graph: NodeGraph
    /// The rules of the ClusterRole `system:node`, which no binding need give.
    let general: [PolicyRule]

    init(graph: NodeGraph) {
        self.graph = graph
        general = PolicyRule.list(AccessDefaults.clusterRole("system:node")?.json["rules"])
    }

    /// The node whose agent the user is.
    static func nodeName(_ user: User) -> String? {
        let prefix = "system:node:"
        guard user.name.hasPrefix(prefix), user.name.utf8.count > prefix.utf8.count, user.groups.contains(User.nodes)
        else { return nil }
        return String(user.name.dropFirst(prefix.count))
    }

    func decide(_ attempt: Attempt) -> Decision {
        guard let node = Self.nodeName(attempt.user) else { return .noOpinion(.none) }
        guard case .resource(let group, _, let resource, let subresource, let namespace, let name) = attempt.target
        else { return byRules(attempt) }
        let key = ObjectKey(namespace: namespace, name: name)
        switch (group, resource) {
        case ("", "secrets"): return read(attempt, node, .secret, key, subresource)
        case ("", "configmaps"): return read(attempt, node, .configMap, key, subresource)
        case ("", "persistentvolumeclaims"):
            if subresource == "status" {
                guard ["get", "update", "patch"].contains(attempt.verb) else {
                    return Self.only("get, update and patch")
                }
                return related(node, graph.refers(node, to: .claim, key))
            }
            return get(attempt, node, subresource) { graph.refers(node, to: .claim, key) }
        case ("", "persistentvolumes"): return get(attempt, node, subresource) { graph.usesVolume(node, name) }
        case ("storage.k8s.io", "volumeattachments"):
            return get(attempt, node, subresource) { graph.node(ofAttachment: name) == node }
        case ("", "serviceaccounts"):
            if subresource == "token", attempt.verb == "create" {
                return related(node, !name.isEmpty && graph.refers(node, to: .account, key))
            }
            return get(attempt, node, subresource) { graph.refers(node, to: .account, key) }
        case ("coordination.k8s.io", "leases"): return lease(attempt, node, key, subresource)
        case ("storage.k8s.io", "csinodes"): return ownName(attempt, node, name, subresource)
        case ("", "pods"): return pod(attempt, node, key, subresource)
        case ("", "nodes"): return nodes(attempt, node, name, subresource)
        default: return byRules(attempt)
        }
    }

    func rules(of user: User, in namespace: String) -> SubjectRules {
        guard Self.nodeName(user) != nil else { return SubjectRules() }
        return SubjectRules(gaps: ["node authorizer does not support user rule resolution"])
    }

    private func byRules(_ attempt: Attempt) -> Decision {
        let question = PolicyRule.Question(attempt)
        return general.contains { $0.allows(question) } ? .allow(.none) : .noOpinion(.none)
    }

    private func related(_ node: String, _ isRelated: Bool) -> Decision {
        isRelated ? .allow(.none) : .noOpinion(.said("no relationship found between node '\(node)' and this object"))
    }

    private static func only(_ verbs: String) -> Decision {
        .noOpinion(.said("can only \(verbs) this type of resource"))
    }

    /// One object at a time: a list or a watch must name it.
    private func read(
        _ attempt: Attempt, _ node: String, _ kind: NodeGraph.Kind, _ key: ObjectKey, _ subresource: String
    ) -> Decision {
        guard ["get", "list", "watch"].contains(attempt.verb), subresource.isEmpty else {
            return .noOpinion(.said("can only read resources of this type"))
        }
        guard !key.name.isEmpty, !key.namespace.isEmpty else {
            return .noOpinion(.said("No Object name found"))
        }
        return related(node, graph.refers(node, to: kind, key))
    }

    private func get(
        _ attempt: Attempt, _ node: String, _ subresource: String, _ isRelated: () -> Bool
    ) -> Decision {
        guard attempt.verb == "get", subresource.isEmpty else { return Self.only("get") }
        guard case .resource(_, _, _, _, _, let name) = attempt.target, !name.isEmpty else {
            return .noOpinion(.said("No Object name found"))
        }
        return related(node, isRelated())
    }

    private func lease(_ attempt: Attempt, _ node: String, _ key: ObjectKey, _ subresource: String) -> Decision {
        guard ["get", "create", "update", "patch", "delete"].contains(attempt.verb), subresource.isEmpty else {
            return Self.only("get, create, update, patch, or delete")
        }
        guard key.namespace == "kube-node-lease" else {
            return .noOpinion(.said("can only access leases in the \"kube-node-lease\" system namespace"))
        }
        // A creation's name is in its body, where admission looks.
        guard attempt.verb == "create" || key.name == node else {
            return .noOpinion(.said("can only access node lease with the same name as the requesting node"))
        }
        return .allow(.none)
    }

    private func ownName(_ attempt: Attempt, _ node: String, _ name: String, _ subresource: String) -> Decision {
        guard ["get", "create", "update", "patch", "delete"].contains(attempt.verb), subresource.isEmpty else {
            return Self.only("get, create, update, patch, or delete")
        }
        guard attempt.verb == "create" || name == node else {
            return .noOpinion(.said("can only access an object with the same name as the requesting node"))
        }
        return .allow(.none)
    }

    private func pod(_ attempt: Attempt, _ node: String, _ key: ObjectKey, _ subresource: String) -> Decision {
        switch (attempt.verb, subresource) {
        case ("get", ""):
            return related(node, graph.node(ofPod: key) == node)
        case ("list", ""), ("watch", ""):
            if attempt.selected("spec.nodeName") == node { return .allow(.none) }
            if !key.name.isEmpty, graph.node(ofPod: key) == node { return .allow(.none) }
            return .noOpinion(.said("can only list/watch pods with spec.nodeName field selector"))
        default: return byRules(attempt)
        }
    }

    private func nodes(_ attempt: Attempt, _ node: String, _ name: String, _ subresource: String) -> Decision {
        switch attempt.verb {
        case "create", "update", "patch": return byRules(attempt)
        case "get", "list", "watch":
            if subresource.isEmpty, name == node { return .allow(.none) }
            return .noOpinion(.said("node '\(node)' cannot read '\(name)', only its own Node object"))
        default: return byRules(attempt)
        }
    }
}
