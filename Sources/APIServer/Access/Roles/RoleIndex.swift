package import KubeTypes
import Synchronization
import Wire

/// Why RBAC allowed something: one binding of one role to one subject.
package struct RoleGrant: Sendable, CustomStringConvertible {
    let binding: RoleBinding
    let subject: RoleSubject

    package var description: String {
        let kind = binding.namespace.isEmpty ? "ClusterRoleBinding" : "RoleBinding"
        let place = binding.namespace.isEmpty ? binding.name : "\(binding.name)/\(binding.namespace)"
        let who: String
        if let account = User.accountParts(subject.name), !subject.isGroup {
            who = "ServiceAccount \"\(account.name)/\(account.namespace)\""
        } else {
            who = "\(subject.isGroup ? "Group" : "User") \"\(subject.name)\""
        }
        return "RBAC: allowed by \(kind) \"\(place)\" of \(binding.role.kind) \"\(binding.role.name)\" to \(who)"
    }
}

/// Somebody a binding names, or a group of them. A service account is the user of its name.
struct RoleSubject: Sendable, Hashable {
    let isGroup: Bool
    let name: String

    /// - Parameter namespace: the binding's, for accounts that name none.
    init?(_ json: JSON, namespace: String) {
        guard let name = json["name"]?.string, !name.isEmpty else { return nil }
        switch json["kind"]?.string {
        case "User": self.init(isGroup: false, name: name)
        case "Group": self.init(isGroup: true, name: name)
        case "ServiceAccount":
            let own = json["namespace"]?.string ?? ""
            let place = own.isEmpty ? namespace : own
            if place.isEmpty { return nil }
            self.init(isGroup: false, name: User.accountName(place, name))
        default: return nil
        }
    }

    init(isGroup: Bool, name: String) {
        self.isGroup = isGroup
        self.name = name
    }
}

/// A role by where it is; the namespace is empty for a ClusterRole.
struct RoleReference: Sendable, Hashable {
    let namespace: String
    let name: String

    var kind: String { namespace.isEmpty ? "ClusterRole" : "Role" }

    init(namespace: String = "", name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// What a binding's `roleRef` means, in the binding's namespace.
    init(_ json: JSON?, namespace: String) {
        self.init(
            namespace: json?["kind"]?.string == "Role" ? namespace : "", name: json?["name"]?.string ?? "")
    }
}

/// A RoleBinding, or with an empty namespace a ClusterRoleBinding.
package final class RoleBinding: Sendable {
    let namespace: String
    let name: String
    let role: RoleReference
    let subjects: [RoleSubject]

    init(_ object: KubeObject) {
        namespace = object.namespace
        name = object.name
        role = RoleReference(object.json["roleRef"], namespace: object.namespace)
        let place = object.namespace
        subjects = (object.json["subjects"]?.array ?? []).compactMap { RoleSubject($0, namespace: place) }
    }
}

/// RBAC, from an index of all roles and bindings that follows the store.
package final class RoleIndex: Authorizer {
    private struct Place: Hashable {
        let namespace: String
        let subject: RoleSubject
    }
    private struct State {
        var roles: [RoleReference: [PolicyRule]] = [:]
        var bindings: [ObjectKey: RoleBinding] = [:]
        var bySubject: [Place: [RoleBinding]] = [:]
    }

    private let state = Mutex(State())

    init() {}

    /// Follows the four kinds from now on; complete when it returns.
    func follow(_ registry: Registry) throws(APIFailure) {
        for type in [ResourceType.clusterRoles, .roles] {
            try RegistryFollower(registry: registry, type: type).start {
                self.takeRole($0, isCluster: !type.isNamespaced)
            }
        }
        for type in [ResourceType.clusterRoleBindings, .roleBindings] {
            try RegistryFollower(registry: registry, type: type).start {
                self.takeBinding($0, isCluster: !type.isNamespaced)
            }
        }
    }

    // MARK: Kept up to date

    func takeRole(_ step: RegistryFollower.Step, isCluster: Bool) {
        func put(_ object: KubeObject, _ state: inout State) {
            state.roles[RoleReference(namespace: object.namespace, name: object.name)] = PolicyRule.list(
                object.json["rules"])
        }
        state.withLock { state in
            switch step {
            case .all(let objects):
                state.roles = state.roles.filter { $0.key.namespace.isEmpty != isCluster }
                for object in objects { put(object, &state) }
            case .changed(let object): put(object, &state)
            case .deleted(let object):
                state.roles[RoleReference(namespace: object.namespace, name: object.name)] = nil
            }
        }
    }

    func takeBinding(_ step: RegistryFollower.Step, isCluster: Bool) {
        state.withLock { state in
            switch step {
            case .all(let objects):
                for binding in state.bindings.values where binding.namespace.isEmpty == isCluster {
                    Self.remove(binding, &state)
                }
                for object in objects { Self.put(RoleBinding(object), &state) }
            case .changed(let object): Self.put(RoleBinding(object), &state)
            case .deleted(let object):
                if let old = state.bindings[object.key] { Self.remove(old, &state) }
            }
        }
    }

    private static func put(_ binding: RoleBinding, _ state: inout State) {
        let key = ObjectKey(namespace: binding.namespace, name: binding.name)
        if let old = state.bindings[key] { remove(old, &state) }
        state.bindings[key] = binding
        for subject in Set(binding.subjects) {
            state.bySubject[Place(namespace: binding.namespace, subject: subject), default: []].append(binding)
        }
    }

    private static func remove(_ binding: RoleBinding, _ state: inout State) {
        state.bindings[ObjectKey(namespace: binding.namespace, name: binding.name)] = nil
        for subject in Set(binding.subjects) {
            let place = Place(namespace: binding.namespace, subject: subject)
            state.bySubject[place]?.removeAll { $0 === binding }
            if state.bySubject[place]?.isEmpty == true { state.bySubject[place] = nil }
        }
    }

    // MARK: Asked

    package func decide(_ attempt: Attempt) -> Decision {
        let question = PolicyRule.Question(attempt)
        var namespace = ""
        if case .resource(_, _, _, _, let place, _) = attempt.target { namespace = place }
        var missing: [RoleReference] = []
        let grant = state.withLock { state -> RoleGrant? in
            var found: RoleGrant?
            Self.visit(state, attempt.user, namespace) { binding, subject in
                guard let rules = state.roles[binding.role] else {
                    missing.append(binding.role)
                    return true
                }
                guard rules.contains(where: { $0.allows(question) }) else { return true }
                found = RoleGrant(binding: binding, subject: subject)
                return false
            }
            return found
        }
        if let grant { return .allow(.role(grant)) }
        if missing.isEmpty { return .noOpinion(.none) }
        let texts = missing.map { Self.missingText($0) }
        return .noOpinion(.said("RBAC: " + (texts.count == 1 ? texts[0] : "[\(texts.joined(separator: ", "))]")))
    }

    private static func missingText(_ role: RoleReference) -> String {
        "\(role.kind.lowercased()).rbac.authorization.k8s.io \"\(role.name)\" not found"
    }

    /// The bindings of a user in the whole cluster, then in the namespace, until `body` answers false.
    private static func visit(
        _ state: State, _ user: User, _ namespace: String, _ body: (RoleBinding, RoleSubject) -> Bool
    ) {
        func among(_ namespace: String, _ subject: RoleSubject) -> Bool {
            for binding in state.bySubject[Place(namespace: namespace, subject: subject)] ?? [] {
                guard body(binding, subject) else { return false }
            }
            return true
        }
        for place in namespace.isEmpty ? [""] : ["", namespace] {
            guard among(place, RoleSubject(isGroup: false, name: user.name)) else { return }
            for group in user.groups {
                guard among(place, RoleSubject(isGroup: true, name: group)) else { return }
            }
        }
    }

    package func rules(of user: User, in namespace: String) -> SubjectRules {
        state.withLock { state in
            var found = SubjectRules()
            Self.visit(state, user, namespace) { binding, _ in
                if let rules = state.roles[binding.role] {
                    // A namespace's binding of a ClusterRole gives nothing outside objects.
                    found.rules += binding.namespace.isEmpty ? rules : rules.filter { $0.nonResourceURLs.isEmpty }
                } else {
                    found.gaps.append(Self.missingText(binding.role))
                }
                return true
            }
            return found
        }
    }

    /// The rules of a role; `nil` when there is none of that name.
    func rules(of role: RoleReference) -> [PolicyRule]? { state.withLock { $0.roles[role] } }
}

extension ResourceType {
    package static let roles = ResourceType(
        group: "rbac.authorization.k8s.io", version: "v1", resource: "roles", kind: "Role")
    package static let roleBindings = ResourceType(
        group: "rbac.authorization.k8s.io", version: "v1", resource: "rolebindings", kind: "RoleBinding")
    package static let clusterRoles = ResourceType(
        group: "rbac.authorization.k8s.io", version: "v1", resource: "clusterroles", kind: "ClusterRole",
        isNamespaced: false)
    package static let clusterRoleBindings = ResourceType(
        group: "rbac.authorization.k8s.io", version: "v1", resource: "clusterrolebindings", kind: "ClusterRoleBinding",
        isNamespaced: false)
}
