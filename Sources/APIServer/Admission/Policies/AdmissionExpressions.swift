import CEL
import KubeTypes
import Wire

/// What expressions of admission may name, and how they are made ready.
enum AdmissionExpressions {
    /// Conditions of webhooks.
    static let plain: Environment = {
        var environment = Environment.kubernetes
        environment.add(.authorization)
        environment.declare("object", .dyn)
        environment.declare("oldObject", .dyn)
        environment.declare("request", .object(requestType))
        environment.declare("authorizer", .named("kubernetes.authorization.Authorizer"))
        environment.declare("authorizer.requestResource", .named("kubernetes.authorization.ResourceCheck"))
        return environment
    }()

    /// Of policies: also the namespace, and the parameters where the policy has some.
    static func ofPolicy(hasParams: Bool) -> Environment {
        var environment = plain
        environment.declare("namespaceObject", .dyn)
        if hasParams { environment.declare("params", .dyn) }
        return environment
    }

    private static let requestType: ObjectType = {
        let kind = ObjectType(
            "kubernetes.GroupVersionKind", ["group": .string, "version": .string, "kind": .string])
        let resource = ObjectType(
            "kubernetes.GroupVersionResource", ["group": .string, "version": .string, "resource": .string])
        let user = ObjectType(
            "kubernetes.UserInfo",
            [
                "username": .string, "uid": .string, "groups": .list(.string),
                "extra": .map(.string, .list(.string)),
            ])
        return ObjectType(
            "kubernetes.AdmissionRequest",
            [
                "uid": .string, "kind": .object(kind), "resource": .object(resource), "subResource": .string,
                "requestKind": .object(kind), "requestResource": .object(resource), "requestSubResource": .string,
                "name": .string, "namespace": .string, "operation": .string, "userInfo": .object(user),
                "dryRun": .bool, "options": .dyn,
            ])
    }()

    static let requestValueType = ValueType.object(requestType)

    static func compile(
        _ text: String, _ expected: ValueType?, _ environment: Environment
    ) -> Result<Program, CompilationFault> {
        do throws(CompilationFault) {
            return .success(try environment.compile(text, expected: expected))
        } catch {
            return .failure(error)
        }
    }
}

/// The variables' values for one request, in the order the environments declare them.
struct AdmissionInputs: Sendable {
    /// Of `AdmissionExpressions.plain`.
    let values: [Value?]
    /// `namespaceObject`: null for what is in no namespace.
    let namespace: Value

    init(
        _ request: AdmissionRequest, as type: ResourceType, object: KubeObject?, old: KubeObject?,
        namespace: KubeObject?, authorizer: AdmissionAuthorizer
    ) {
        let review = AdmissionReview.question(request, uid: "", as: type, object: nil, old: nil)
        let start = CEL.Authorizer { authorizer.answer($0, for: request.user) }
        values = [
            object.map { Value($0.json) } ?? .null, old.map { Value($0.json) } ?? .null,
            Value(review["request"] ?? [:], as: AdmissionExpressions.requestValueType), .opaque(start),
            .opaque(CEL.Authorizer(Self.question(request)) { authorizer.answer($0, for: request.user) }),
        ]
        self.namespace = namespace.map { Value($0.json) } ?? .null
    }

    private static func question(_ request: AdmissionRequest) -> AccessQuestion {
        var question = AccessQuestion()
        question.group = request.type.group
        question.resource = request.type.resource
        question.subresource = request.subresource ?? ""
        question.namespace = request.type.isNamespaced ? request.namespace : ""
        question.name = request.name
        return question
    }
}

/// Whom expressions ask whether somebody may do something.
struct AdmissionAuthorizer: Sendable {
    let authorizer: any Authorizer

    func answer(_ question: AccessQuestion, for user: User) -> AccessAnswer {
        let asker = question.serviceAccount.map { User.account($0.namespace, $0.name) } ?? user
        let target: Attempt.Target
        if let path = question.path {
            target = .path(path)
        } else {
            target = .resource(
                group: question.group, version: "*", resource: question.resource, subresource: question.subresource,
                namespace: question.namespace, name: question.name)
        }
        let decision = authorizer.decide(Attempt(user: asker, verb: question.verb, target: target))
        return AccessAnswer(isAllowed: decision.isAllowed, reason: decision.reason.description)
    }
}
