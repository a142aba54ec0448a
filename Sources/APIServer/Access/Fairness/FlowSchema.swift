import KubeTypes
import Wire

/// A FlowSchema, made ready to be compared with requests.
struct FlowSchema: Sendable {
    let name: String
    let uid: String
    let level: String
    let precedence: Int
    /// How requests of one schema are told apart: those of one flow wait behind each other.
    let distinguisher: Distinguisher
    private let rules: [Rule]

    enum Distinguisher: Sendable { case none, byUser, byNamespace }

    private struct Rule: Sendable {
        var users: [String] = []
        var groups: [String] = []
        /// A name of "*" is all of the namespace's.
        var accounts: [(namespace: String, name: String)] = []
        var resources: [Resources] = []
        var paths: [Paths] = []
    }
    private struct Resources: Sendable {
        let verbs: [String]
        let groups: [String]
        let resources: [String]
        let namespaces: [String]
        let clusterScope: Bool
    }
    private struct Paths: Sendable {
        let verbs: [String]
        let urls: [String]
    }

    init(_ object: KubeObject) {
        func list(_ json: JSON, _ name: String) -> [String] { json[name]?.array?.compactMap(\.string) ?? [] }
        let spec = object.spec
        name = object.name
        uid = object.uid
        level = spec["priorityLevelConfiguration"]?["name"]?.string ?? ""
        precedence = spec["matchingPrecedence"]?.int ?? 1000
        switch spec["distinguisherMethod"]?["type"]?.string {
        case "ByUser": distinguisher = .byUser
        case "ByNamespace": distinguisher = .byNamespace
        default: distinguisher = .none
        }
        rules = (spec["rules"]?.array ?? []).map { json in
            var rule = Rule()
            for subject in json["subjects"]?.array ?? [] {
                switch subject["kind"]?.string {
                case "User": rule.users.append(subject["user"]?["name"]?.string ?? "")
                case "Group": rule.groups.append(subject["group"]?["name"]?.string ?? "")
                default:
                    let account = subject["serviceAccount"]
                    rule.accounts.append((account?["namespace"]?.string ?? "", account?["name"]?.string ?? ""))
                }
            }
            rule.resources = (json["resourceRules"]?.array ?? []).map { entry in
                Resources(
                    verbs: list(entry, "verbs"), groups: list(entry, "apiGroups"), resources: list(entry, "resources"),
                    namespaces: list(entry, "namespaces"), clusterScope: entry["clusterScope"]?.bool ?? false)
            }
            rule.paths = (json["nonResourceRules"]?.array ?? []).map { entry in
                Paths(verbs: list(entry, "verbs"), urls: list(entry, "nonResourceURLs"))
            }
            return rule
        }
    }

    func fits(_ attempt: Attempt) -> Bool {
        rules.contains { rule in Self.names(rule, attempt.user) && Self.covers(rule, attempt) }
    }

    private static func names(_ rule: Rule, _ user: User) -> Bool {
        if rule.groups.contains(where: { $0 == "*" || user.groups.contains($0) }) { return true }
        if rule.users.contains(where: { $0 == "*" || $0 == user.name }) { return true }
        if rule.accounts.isEmpty { return false }
        guard let account = User.accountParts(user.name) else { return false }
        return rule.accounts.contains { entry in
            entry.namespace == account.namespace && (entry.name == "*" || entry.name == account.name)
        }
    }

    private static func holds(_ list: [String], _ word: String) -> Bool { list.contains { $0 == "*" || $0 == word } }

    private static func covers(_ rule: Rule, _ attempt: Attempt) -> Bool {
        switch attempt.target {
        case .path(let path):
            return rule.paths.contains { entry in
                holds(entry.verbs, attempt.verb)
                    && entry.urls.contains { url in
                        url == "*" || url == path || (url.hasSuffix("/*") && path.hasPrefix(url.dropLast()))
                    }
            }
        case .resource(let group, _, let resource, let subresource, let namespace, _):
            return rule.resources.contains { entry in
                guard holds(entry.verbs, attempt.verb), holds(entry.groups, group) else { return false }
                guard namespace.isEmpty ? entry.clusterScope : holds(entry.namespaces, namespace) else { return false }
                return holds(entry.resources, subresource.isEmpty ? resource : "\(resource)/\(subresource)")
            }
        }
    }

    /// The number of the flow a request belongs to.
    func flow(_ attempt: Attempt) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(name)
        switch distinguisher {
        case .none: break
        case .byUser: hasher.combine(attempt.user.name)
        case .byNamespace:
            if case .resource(_, _, _, _, let namespace, _) = attempt.target { hasher.combine(namespace) }
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
