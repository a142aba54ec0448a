package import Wire

/// Who asks.
package struct User: Sendable, Hashable {
    package var name: String
    package var uid: String
    package var groups: [String]
    /// What the authenticator knows beside, for authorizers and audit.
    package var extra: [String: [String]]

    package init(name: String, uid: String = "", groups: [String] = [], extra: [String: [String]] = [:]) {
        self.name = name
        self.uid = uid
        self.groups = groups
        self.extra = extra
    }

    package static let authenticated = "system:authenticated"
    package static let unauthenticated = "system:unauthenticated"
    package static let masters = "system:masters"
    package static let nodes = "system:nodes"

    package static let anonymous = User(name: "system:anonymous", groups: [unauthenticated])
    /// The server itself, when it writes objects of its own accord.
    package static let apiServer = User(name: "system:apiserver", groups: [masters, authenticated])
    /// Whoever holds the cluster's kubeconfig.
    package static let administrator = User(name: "kubernetes-admin", groups: [masters, authenticated])

    /// One of our own programs: `system:weft:controllers`, `system:weft:scheduler`. Of `network:node-1` every node has one;
    /// they share the group `system:weft:network`. What each may do is said by the roles of these names.
    package static func component(_ name: String) -> User {
        let kind = name.prefix { $0 != ":" }
        let shared = kind.count < name.count ? ["system:weft:\(kind)"] : []
        return User(name: "system:weft:\(name)", groups: shared + [authenticated])
    }

    /// The agent of a node of ours: it reads what its own pods refer to, by the Node authorizer, and a little more than a
    /// kubelet would, by the role `system:weft:node`.
    package static func node(_ name: String) -> User {
        User(name: "system:node:\(name)", groups: [nodes, "system:weft:node", authenticated])
    }

    /// `system:serviceaccount:<namespace>:<name>` with the groups all accounts have.
    package static func account(_ namespace: String, _ name: String, uid: String = "") -> User {
        User(
            name: accountName(namespace, name), uid: uid,
            groups: ["system:serviceaccounts", "system:serviceaccounts:\(namespace)", authenticated])
    }

    static func accountName(_ namespace: String, _ name: String) -> String {
        "system:serviceaccount:\(namespace):\(name)"
    }

    /// The account a user's name says it is.
    static func accountParts(_ name: String) -> (namespace: String, name: String)? {
        let parts = name.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "system", parts[1] == "serviceaccount", !parts[2].isEmpty, !parts[3].isEmpty
        else { return nil }
        return (String(parts[2]), String(parts[3]))
    }

    package var isMaster: Bool { groups.contains(Self.masters) }

    /// `userInfo`, as reviews, admission webhooks and audit events carry it.
    package var json: JSON {
        var json: JSON = ["username": .string(name)]
        if !uid.isEmpty { json["uid"] = .string(uid) }
        if !groups.isEmpty { json["groups"] = .array(groups.map(JSON.string)) }
        if !extra.isEmpty { json["extra"] = Self.json(extra: extra) }
        return json
    }

    static func json(extra: [String: [String]]) -> JSON {
        .object(
            JSONObject(
                extra.sorted { $0.key < $1.key }.map { .init($0.key, .array($0.value.map(JSON.string))) }))
    }

    static func extra(_ json: JSON?) -> [String: [String]] {
        var found: [String: [String]] = [:]
        for member in json?.object ?? JSONObject() {
            found[member.key] = member.value.array?.compactMap(\.string) ?? []
        }
        return found
    }
}
