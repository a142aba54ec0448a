package import KubeTypes
import Wire

/// What somebody wants to do: to an object, or to a path that is no object.
package struct Attempt: Sendable, Hashable {
    package enum Target: Sendable, Hashable {
        case resource(
            group: String, version: String, resource: String, subresource: String, namespace: String, name: String)
        case path(String)
    }
    package var user: User
    /// get list watch create update patch delete deletecollection; for paths the method, lower case.
    package var verb: String
    package var target: Target

    package init(user: User, verb: String, target: Target) {
        self.user = user
        self.verb = verb
        self.target = target
    }

    package init(
        _ user: User, _ verb: String, _ type: ResourceType, namespace: String = "", name: String = "",
        subresource: String? = nil
    ) {
        self.user = user
        self.verb = verb
        target = .resource(
            group: type.group, version: type.version, resource: type.resource, subresource: subresource ?? "",
            namespace: namespace, name: name)
    }
}

/// The rules until there are roles: administrators and the cluster's own parts may do all, everybody may ask about themselves
/// and about health.
package enum Authorization {
    private static let openPaths: Set<String> = ["/livez", "/readyz", "/healthz", "/version", "/version/"]
    private static let selfReviews: Set<String> = [
        "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews",
    ]

    package static func allows(_ attempt: Attempt) -> Bool {
        let user = attempt.user
        if user.groups.contains("system:masters") || user.name.hasPrefix("system:weft:") { return true }
        let isKnown = user.groups.contains("system:authenticated")
        switch attempt.target {
        case .path(let path):
            if attempt.verb == "get",
                openPaths.contains(path) || path.hasPrefix("/livez/") || path.hasPrefix("/readyz/")
            {
                return true
            }
            let isDiscovery =
                path == "/api" || path == "/apis" || path.hasPrefix("/api/") || path.hasPrefix("/apis/")
                || path.hasPrefix("/openapi/")
            return isKnown && attempt.verb == "get" && isDiscovery
        case .resource(_, _, let resource, _, _, _):
            return isKnown && attempt.verb == "create" && selfReviews.contains(resource)
        }
    }

    package static func check(_ attempt: Attempt) throws(APIFailure) {
        if allows(attempt) { return }
        throw refusal(attempt)
    }

    static func refusal(_ attempt: Attempt) -> APIFailure {
        switch attempt.target {
        case .path(let path):
            return APIFailure(
                code: 403, reason: "Forbidden",
                message: "forbidden: User \"\(attempt.user.name)\" cannot \(attempt.verb) path \"\(path)\"",
                details: [:])
        case .resource(let group, _, let resource, let subresource, let namespace, let name):
            let what = subresource.isEmpty ? resource : "\(resource)/\(subresource)"
            let qualified = group.isEmpty ? resource : "\(resource).\(group)"
            let place = namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(namespace)\""
            let subject = name.isEmpty ? qualified : "\(qualified) \"\(name)\""
            return APIFailure(
                code: 403, reason: "Forbidden",
                message:
                    "\(subject) is forbidden: User \"\(attempt.user.name)\" cannot \(attempt.verb) resource \"\(what)\""
                    + " in API group \"\(group)\" \(place)",
                details: ["name": .string(name), "group": .string(group), "kind": .string(resource)])
        }
    }
}
