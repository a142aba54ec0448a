import KubeTypes
import Wire

/// The answer to `serviceaccounts/token`: a token for the account, bound as asked.
struct TokenRequest: Sendable {
    static let type = ResourceType(
        group: "authentication.k8s.io", version: "v1", resource: "tokenrequests", kind: "TokenRequest")
    /// Seconds.
    private static let shortest: Int64 = 600
    private static let longest: Int64 = 1 << 32

    let registry: Registry
    let tokens: AccountTokens
    /// Seconds; longer wishes are cut to it.
    let mostLifetime: Int64

    /// - Parameter body: a TokenRequest; a missing spec asks for an hour, unbound.
    func answer(_ key: ObjectKey, _ body: JSON) throws(APIFailure) -> KubeObject {
        let account = try registry.get(try registry.definition(of: .serviceAccounts), key)
        if let name = body["metadata"]?["name"]?.string, !name.isEmpty, name != key.name {
            throw .badRequest("metadata.name: \(name) does not match the service account \(key.name)")
        }
        let spec = body["spec"] ?? [:]
        let audiences = spec["audiences"]?.array?.compactMap(\.string) ?? []
        let asked = Int64(spec["expirationSeconds"]?.int ?? 3600)
        var fault: String?
        if asked < Self.shortest { fault = "may not specify a duration less than 10 minutes" }
        if asked > Self.longest { fault = "may not specify a duration larger than 2^32 seconds" }
        if let fault {
            throw .invalid(
                Self.type, key.name, [FieldFault(.invalid, "spec.expirationSeconds", value: .int(asked), fault)])
        }
        let lifetime = min(asked, mostLifetime)
        let reference = spec["boundObjectRef"].flatMap { $0.isNull ? nil : $0 }
        let bound = try reference.map { json throws(APIFailure) in try binding(json, account) }
        let issued = try tokens.token(
            account, audiences: audiences, lifetime: lifetime, boundTo: bound?.object, node: bound?.node)
        var answer = KubeObject(
            apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", namespace: key.namespace, name: key.name)
        answer.json[path: ["metadata", "creationTimestamp"]] = Timestamp.now().json
        answer.json["spec"] = [
            "audiences": .array((audiences.isEmpty ? tokens.audiences : audiences).map(JSON.string)),
            "expirationSeconds": .int(lifetime), "boundObjectRef": reference ?? .null,
        ]
        answer.json["status"] = ["token": .string(issued.text), "expirationTimestamp": issued.expires.json]
        return answer
    }

    private func binding(
        _ json: JSON, _ account: KubeObject
    ) throws(APIFailure) -> (object: AccountTokens.Binding, node: AccountTokens.Binding?) {
        let kind = json["kind"]?.string ?? ""
        let name = json["name"]?.string ?? ""
        let types: [String: (ResourceType, AccountTokens.Binding.Kind)] = [
            "Pod": (.pods, .pod), "Secret": (.secrets, .secret), "Node": (.nodes, .node),
        ]
        guard json["apiVersion"]?.string == "v1", let (type, bound) = types[kind] else {
            throw .badRequest(
                "cannot bind token to object of type \(json["apiVersion"]?.string ?? ""), Kind=\(kind)")
        }
        let namespace = type.isNamespaced ? account.namespace : ""
        let found = try registry.get(
            try registry.definition(of: type), ObjectKey(namespace: namespace, name: name))
        if let uid = json["uid"]?.string, !uid.isEmpty, uid != found.uid {
            throw .conflict(
                type, name,
                "the UID in the bound object reference (\(uid)) does not match the UID in record (\(found.uid)). The object"
                    + " might have been deleted and then recreated")
        }
        var node: AccountTokens.Binding?
        if type == .pods {
            let runsAs = found.spec["serviceAccountName"]?.string ?? "default"
            guard runsAs == account.name else {
                throw .badRequest(
                    "cannot bind token for serviceaccount \"\(account.name)\" to pod running with different serviceaccount"
                        + " name.")
            }
            if let place = found.spec["nodeName"]?.string, !place.isEmpty {
                let object = try? registry.get(try registry.definition(of: .nodes), ObjectKey(name: place))
                node = AccountTokens.Binding(kind: .node, name: place, uid: object?.uid ?? "")
            }
        }
        return (AccountTokens.Binding(kind: bound, name: name, uid: found.uid), node)
    }
}
