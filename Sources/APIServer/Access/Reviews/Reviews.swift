import KubeTypes
import Wire

/// Questions about who somebody is and what they may do. They are answered, not stored.
struct Reviews: Sendable {
    let authorizer: any Authorizer
    let tokens: TokenAuthenticators
    private static let resources: Set<String> = [
        "selfsubjectreviews", "tokenreviews", "selfsubjectaccessreviews", "subjectaccessreviews",
        "localsubjectaccessreviews", "selfsubjectrulesreviews",
    ]

    /// Whether objects of a kind are such questions.
    static func isAnswered(_ type: ResourceType) -> Bool {
        (type.group == "authentication.k8s.io" || type.group == "authorization.k8s.io")
            && resources.contains(type.resource)
    }

    /// - Parameter namespace: the request's.
    func answer(
        _ object: KubeObject, _ type: ResourceType, namespace: String, _ user: User
    ) async throws(APIFailure) -> KubeObject {
        var answer = object
        switch (type.group, type.resource) {
        case ("authentication.k8s.io", "selfsubjectreviews"): answer.json["status"] = ["userInfo": user.json]
        case ("authentication.k8s.io", "tokenreviews"): answer.json["status"] = try await token(object, type)
        case ("authorization.k8s.io", "selfsubjectaccessreviews"):
            answer.json["status"] = decision(try attempt(object, type, user))
        case ("authorization.k8s.io", "subjectaccessreviews"):
            answer.json["status"] = decision(try attempt(object, type, try subject(object, type)))
        case ("authorization.k8s.io", "localsubjectaccessreviews"):
            let asked = object.spec["resourceAttributes"]?["namespace"]?.string ?? ""
            guard object.spec["resourceAttributes"] != nil, asked == namespace else {
                throw .invalid(
                    type, object.name,
                    [
                        FieldFault(
                            .invalid, "spec.resourceAttributes.namespace", value: .string(asked),
                            "must match metadata.namespace")
                    ])
            }
            answer.json["status"] = decision(try attempt(object, type, try subject(object, type)))
        case ("authorization.k8s.io", "selfsubjectrulesreviews"):
            let asked = object.spec["namespace"]?.string ?? ""
            guard !asked.isEmpty else { throw .badRequest("no namespace on request") }
            answer.json["status"] = rules(user, asked)
        default: break
        }
        answer.json[path: ["metadata", "creationTimestamp"]] = Timestamp.now().json
        return answer
    }

    // MARK: Access

    private func subject(_ object: KubeObject, _ type: ResourceType) throws(APIFailure) -> User {
        let spec = object.spec
        let name = spec["user"]?.string ?? ""
        let groups = spec["groups"]?.array?.compactMap(\.string) ?? []
        guard !name.isEmpty || !groups.isEmpty else {
            throw .invalid(
                type, object.name,
                [FieldFault(.invalid, "spec.user", value: "", "at least one of user or group must be specified")])
        }
        return User(name: name, uid: spec["uid"]?.string ?? "", groups: groups, extra: User.extra(spec["extra"]))
    }

    private func attempt(_ object: KubeObject, _ type: ResourceType, _ user: User) throws(APIFailure) -> Attempt {
        func text(_ json: JSON, _ name: String) -> String { json[name]?.string ?? "" }
        let spec = object.spec
        switch (spec["resourceAttributes"], spec["nonResourceAttributes"]) {
        case (let asked?, nil):
            let target = Attempt.Target.resource(
                group: text(asked, "group"), version: text(asked, "version"), resource: text(asked, "resource"),
                subresource: text(asked, "subresource"), namespace: text(asked, "namespace"), name: text(asked, "name"))
            let fields = asked["fieldSelector"]?["rawSelector"]?.string ?? Self.fields(asked["fieldSelector"])
            return Attempt(user: user, verb: text(asked, "verb"), target: target, fields: fields)
        case (nil, let asked?):
            return Attempt(user: user, verb: text(asked, "verb"), target: .path(text(asked, "path")))
        case (nil, nil), (.some, .some):
            throw .invalid(
                type, object.name,
                [
                    FieldFault(
                        .invalid, "spec.resourceAttributes", value: spec["resourceAttributes"],
                        "exactly one of nonResourceAttributes or resourceAttributes must be specified")
                ])
        }
    }

    /// `In` with one value is what an authorizer can use.
    private static func fields(_ json: JSON?) -> String {
        (json?["requirements"]?.array ?? []).compactMap { requirement in
            guard requirement["operator"]?.string == "In", let values = requirement["values"]?.array,
                values.count == 1, let key = requirement["key"]?.string, let value = values[0].string
            else { return nil }
            return "\(key)=\(value)"
        }.joined(separator: ",")
    }

    private func decision(_ attempt: Attempt) -> JSON {
        let decision = authorizer.decide(attempt)
        var status: JSON = ["allowed": .bool(decision.isAllowed)]
        if case .deny = decision { status["denied"] = true }
        let reason = decision.reason.description
        if !reason.isEmpty { status["reason"] = .string(reason) }
        return status
    }

    private func rules(_ user: User, _ namespace: String) -> JSON {
        let found = authorizer.rules(of: user, in: namespace)
        var resources: [JSON] = []
        var paths: [JSON] = []
        for rule in PolicyRule.compacted(found.rules) {
            if rule.nonResourceURLs.isEmpty { resources.append(rule.json) } else { paths.append(rule.json) }
        }
        var status: JSON = [
            "resourceRules": .array(resources), "nonResourceRules": .array(paths),
            "incomplete": .bool(!found.gaps.isEmpty),
        ]
        if !found.gaps.isEmpty { status["evaluationError"] = .string(found.gaps.joined(separator: ", ")) }
        return status
    }

    // MARK: Tokens

    private func token(_ object: KubeObject, _ type: ResourceType) async throws(APIFailure) -> JSON {
        let text = object.spec["token"]?.string ?? ""
        guard !text.isEmpty else { throw .badRequest("token is required for TokenReview in authentication") }
        let asked = object.spec["audiences"]?.array?.compactMap(\.string) ?? []
        switch await tokens.check(text, audiences: asked.isEmpty ? tokens.audiences : asked) {
        case .accepted(let user, let audiences):
            return [
                "authenticated": true, "user": user.json, "audiences": .array(audiences.map(JSON.string)),
            ]
        case .refused(let why): return ["user": [:], "error": .string("[invalid bearer token, \(why)]")]
        case .unknown: return ["user": [:], "error": "invalid bearer token"]
        }
    }
}
