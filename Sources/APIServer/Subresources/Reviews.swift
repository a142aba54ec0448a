import KubeTypes
import Wire

/// Questions about who may do what. They are answered, not stored.
enum Reviews {
    /// - Returns: `nil` for kinds that are no such question.
    static func answer(
        _ object: KubeObject, _ type: ResourceType, _ user: User, _ tokens: AccountTokens
    ) -> KubeObject? {
        var answer = object
        switch type.resource {
        case "selfsubjectreviews" where type.group == "authentication.k8s.io":
            answer.json["status"] = ["userInfo": userInfo(user)]
        case "selfsubjectaccessreviews" where type.group == "authorization.k8s.io":
            answer.json["status"] = access(object.spec, user)
        case "tokenreviews" where type.group == "authentication.k8s.io":
            if let found = tokens.user(object.spec["token"]?.string ?? "") {
                answer.json["status"] = [
                    "authenticated": true, "user": userInfo(found), "audiences": [.string(AccountTokens.issuer)],
                ]
            } else {
                answer.json["status"] = [
                    "authenticated": false, "error": "the token is not one of this cluster, or is over",
                ]
            }
            answer.json[path: ["spec", "token"]] = nil
        case "subjectaccessreviews" where type.group == "authorization.k8s.io",
            "localsubjectaccessreviews" where type.group == "authorization.k8s.io":
            let groups = object.spec["groups"]?.array?.compactMap(\.string) ?? []
            answer.json["status"] = access(object.spec, User(name: object.spec["user"]?.string ?? "", groups: groups))
        case "selfsubjectrulesreviews" where type.group == "authorization.k8s.io": answer.json["status"] = rules(user)
        default: return nil
        }
        return answer
    }

    private static func userInfo(_ user: User) -> JSON {
        ["username": .string(user.name), "groups": .array(user.groups.map(JSON.string))]
    }

    private static func access(_ spec: JSON, _ user: User) -> JSON {
        let target: Attempt.Target
        let verb: String
        if let asked = spec["resourceAttributes"] {
            verb = asked["verb"]?.string ?? ""
            target = .resource(
                group: asked["group"]?.string ?? "", version: asked["version"]?.string ?? "",
                resource: asked["resource"]?.string ?? "", subresource: asked["subresource"]?.string ?? "",
                namespace: asked["namespace"]?.string ?? "", name: asked["name"]?.string ?? "")
        } else {
            verb = spec["nonResourceAttributes"]?["verb"]?.string ?? ""
            target = .path(spec["nonResourceAttributes"]?["path"]?.string ?? "")
        }
        let isAllowed = Authorization.allows(Attempt(user: user, verb: verb, target: target))
        return isAllowed ? ["allowed": true] : ["allowed": false, "reason": "no rule allows it"]
    }

    private static func rules(_ user: User) -> JSON {
        let mayAll = Authorization.allows(
            Attempt(
                user: user, verb: "*",
                target: .resource(
                    group: "*", version: "*", resource: "*", subresource: "", namespace: "", name: "")))
        let resources: JSON =
            mayAll
            ? [["verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]]]
            : [
                [
                    "verbs": ["create"], "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
                    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"],
                ]
            ]
        let paths: JSON =
            mayAll
            ? [["verbs": ["*"], "nonResourceURLs": ["*"]]]
            : [["verbs": ["get"], "nonResourceURLs": ["/livez", "/readyz", "/healthz", "/version"]]]
        return ["resourceRules": resources, "nonResourceRules": paths, "incomplete": false]
    }
}
