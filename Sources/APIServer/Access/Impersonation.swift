import KubeTypes
import NIOHTTP1
import Wire

/// Acting as somebody else, by the headers `Impersonate-User`, `-Group`, `-Uid` and `-Extra-…`, where the roles allow it.
struct Impersonation: Sendable {
    let authorizer: any Authorizer

    /// What the headers ask for.
    struct Wish: Hashable {
        var user = ""
        var groups: [String] = []
        var uid = ""
        var extra: [String: [String]] = [:]

        /// `nil` when no header asks.
        ///
        /// - Throws: 400 when no user is named.
        init?(_ headers: HTTPHeaders) throws(APIFailure) {
            var isAsked = false
            for (name, value) in headers {
                // Most headers are told by their first letter.
                guard let first = name.utf8.first, first | 0x20 == UInt8(ascii: "i"), name.utf8.count > 12,
                    name.prefix(12).lowercased() == "impersonate-"
                else { continue }
                isAsked = true
                let rest = name.dropFirst(12).lowercased()
                switch rest {
                case "user": user = value
                case "group": groups.append(value)
                case "uid": uid = value
                case _ where rest.hasPrefix("extra-"):
                    let key = Query.decoded(String(rest.dropFirst(6)), plusIsSpace: false)
                    extra[key, default: []].append(value)
                default: break
                }
            }
            if !isAsked { return nil }
            guard !user.isEmpty else {
                if groups.isEmpty, uid.isEmpty, extra.isEmpty { return nil }
                throw .badRequest("requested impersonation of groups, a uid or extra without impersonating a user")
            }
        }
    }

    /// The user a request is treated as from here on.
    ///
    /// - Throws: 403 for what the caller may not impersonate.
    func user(_ headers: HTTPHeaders, asking caller: User) throws(APIFailure) -> User {
        guard let wish = try Wish(headers) else { return caller }
        var found = User(name: wish.user, uid: wish.uid, groups: wish.groups, extra: wish.extra)
        if let account = User.accountParts(wish.user) {
            try check(caller, resource: "serviceaccounts", namespace: account.namespace, name: account.name)
            if wish.groups.isEmpty {
                found.groups = ["system:serviceaccounts", "system:serviceaccounts:\(account.namespace)"]
            }
        } else {
            try check(caller, resource: "users", name: wish.user)
        }
        for group in wish.groups { try check(caller, resource: "groups", name: group) }
        let authentication = "authentication.k8s.io"
        for (key, values) in wish.extra.sorted(by: { $0.key < $1.key }) {
            for value in values {
                try check(caller, group: authentication, resource: "userextras", subresource: key, name: value)
            }
        }
        if !wish.uid.isEmpty { try check(caller, group: authentication, resource: "uids", name: wish.uid) }
        let isStranger = wish.user == User.anonymous.name || found.groups.contains(User.unauthenticated)
        let status = isStranger ? User.unauthenticated : User.authenticated
        if !found.groups.contains(status) { found.groups.append(status) }
        return found
    }

    private func check(
        _ caller: User, group: String = "", resource: String, subresource: String = "", namespace: String = "",
        name: String
    ) throws(APIFailure) {
        let target = Attempt.Target.resource(
            group: group, version: "v1", resource: resource, subresource: subresource, namespace: namespace, name: name)
        try authorizer.check(Attempt(user: caller, verb: "impersonate", target: target))
    }
}
