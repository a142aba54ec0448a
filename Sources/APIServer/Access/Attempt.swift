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
    /// get list watch create update patch delete deletecollection, and verbs of their own: bind, escalate, impersonate,
    /// approve, sign; for paths the method, lower case.
    package var verb: String
    package var target: Target
    /// Which objects of a list are asked for: `spec.nodeName=node-1`.
    package var fields = ""

    package init(user: User, verb: String, target: Target, fields: String = "") {
        self.user = user
        self.verb = verb
        self.target = target
        self.fields = fields
    }

    package init(
        _ user: User, _ verb: String, _ type: ResourceType, namespace: String = "", name: String = "",
        subresource: String? = nil, fields: String = ""
    ) {
        let target = Target.resource(
            group: type.group, version: type.version, resource: type.resource, subresource: subresource ?? "",
            namespace: type == .namespaces ? name : namespace, name: name)
        self.init(user: user, verb: verb, target: target, fields: fields)
    }

    /// The value all objects of a list have in a field: the node of `spec.nodeName=node-1,status.phase!=Failed`.
    func selected(_ field: String) -> String? { FieldSelector.value(of: field, in: fields) }

    /// What a refused client is told.
    func refusal(_ reason: String = "") -> APIFailure {
        let why = reason.isEmpty ? "" : ": \(reason)"
        switch target {
        case .path(let path):
            return APIFailure(
                code: 403, reason: "Forbidden",
                message: "forbidden: User \"\(user.name)\" cannot \(verb) path \"\(path)\"\(why)", details: [:])
        case .resource(let group, _, let resource, let subresource, let namespace, let name):
            let what = subresource.isEmpty ? resource : "\(resource)/\(subresource)"
            let qualified = group.isEmpty ? resource : "\(resource).\(group)"
            let place = namespace.isEmpty ? "at the cluster scope" : "in the namespace \"\(namespace)\""
            let subject = name.isEmpty ? qualified : "\(qualified) \"\(name)\""
            return APIFailure(
                code: 403, reason: "Forbidden",
                message: "\(subject) is forbidden: User \"\(user.name)\" cannot \(verb) resource \"\(what)\""
                    + " in API group \"\(group)\" \(place)\(why)",
                details: ["name": .string(name), "group": .string(group), "kind": .string(resource)])
        }
    }
}
