/// What an expression asks the authorizer about.
package struct AccessQuestion: Sendable, Hashable {
    /// `nil` for who makes the request.
    package var serviceAccount: (namespace: String, name: String)? {
        accountName.map { (accountNamespace, $0) }
    }
    private var accountNamespace = ""
    private var accountName: String?
    /// Not of a resource but of a path.
    package var path: String?
    package var group = ""
    package var resource = ""
    package var subresource = ""
    package var namespace = ""
    package var name = ""
    package var fieldSelector: String?
    package var labelSelector: String?
    package var verb = ""

    fileprivate mutating func setAccount(_ namespace: String, _ name: String) {
        accountNamespace = namespace
        accountName = name
    }

    package init() {}
}

package struct AccessAnswer: Sendable, Hashable {
    package var isAllowed: Bool
    package var reason: String
    /// Why there is no answer; empty when there is one.
    package var error: String

    package init(isAllowed: Bool, reason: String = "", error: String = "") {
        self.isAllowed = isAllowed
        self.reason = reason
        self.error = error
    }
}

/// `authorizer`: a question that an expression puts together, and who answers it.
package final class Authorizer: OpaqueValue {
    package typealias Ask = @Sendable (AccessQuestion) -> AccessAnswer

    /// How much of a question there is.
    fileprivate enum Stage: String, Sendable {
        case start = "kubernetes.authorization.Authorizer"
        case path = "kubernetes.authorization.PathCheck"
        case group = "kubernetes.authorization.GroupCheck"
        case resource = "kubernetes.authorization.ResourceCheck"

        var type: ValueType { .named(rawValue) }
    }

    fileprivate let stage: Stage
    fileprivate let question: AccessQuestion
    fileprivate let ask: Ask

    package convenience init(_ question: AccessQuestion = AccessQuestion(), ask: @escaping Ask) {
        let stage: Stage = !question.resource.isEmpty ? .resource : question.path != nil ? .path : .start
        self.init(stage, question, ask)
    }

    private init(_ stage: Stage, _ question: AccessQuestion, _ ask: @escaping Ask) {
        self.stage = stage
        self.question = question
        self.ask = ask
    }

    package var type: ValueType { stage.type }
    package func equals(_ other: any OpaqueValue) -> Bool {
        guard let other = other as? Authorizer else { return false }
        return other.stage == stage && other.question == question
    }

    fileprivate func with(_ stage: Stage, _ change: (inout AccessQuestion) -> Void) -> Value {
        var next = question
        change(&next)
        return .opaque(Authorizer(stage, next, ask))
    }
}

private final class AccessDecision: OpaqueValue {
    static let type = ValueType.named("kubernetes.authorization.Decision")
    let answer: AccessAnswer

    init(_ answer: AccessAnswer) { self.answer = answer }

    var type: ValueType { Self.type }
    func equals(_ other: any OpaqueValue) -> Bool { (other as? AccessDecision)?.answer == answer }
}

extension Library {
    /// Questions to the authorizer. A check costs so much that an expression can do two.
    package static let authorization = Library(
        [
            Function(
                "path",
                step("authorizer_path", .start, .path) { (question, values) throws(EvaluationFault) in
                    question.path = try values[0].text()
                }),
            Function(
                "group",
                step("authorizer_group", .start, .group) { (question, values) throws(EvaluationFault) in
                    question.group = try values[0].text()
                }),
            Function(
                "serviceAccount",
                step("authorizer_serviceaccount", .start, .start, texts: 2) {
                    (question, values) throws(EvaluationFault) in
                    question.setAccount(try values[0].text(), try values[1].text())
                }),
            Function(
                "resource",
                step("groupcheck_resource", .group, .resource) { (question, values) throws(EvaluationFault) in
                    question.resource = try values[0].text()
                }),
            Function(
                "subresource",
                step("resourcecheck_subresource", .resource, .resource) { (question, values) throws(EvaluationFault) in
                    question.subresource = try values[0].text()
                }),
            Function(
                "namespace",
                step("resourcecheck_namespace", .resource, .resource) { (question, values) throws(EvaluationFault) in
                    question.namespace = try values[0].text()
                }),
            Function(
                "name",
                step("resourcecheck_name", .resource, .resource) { (question, values) throws(EvaluationFault) in
                    question.name = try values[0].text()
                }),
            Function(
                "fieldSelector",
                step("authorizer_fieldselector", .resource, .resource, cost: .traversal(1, times: 30)) {
                    (question, values) throws(EvaluationFault) in question.fieldSelector = try values[0].text()
                }),
            Function(
                "labelSelector",
                step("authorizer_labelselector", .resource, .resource, cost: .traversal(1, times: 30)) {
                    (question, values) throws(EvaluationFault) in question.labelSelector = try values[0].text()
                }),
            Function("check", check("pathcheck_check", .path), check("resourcecheck_check", .resource)),
            told("allowed", .bool) { .bool($0.isAllowed) },
            told("reason", .string) { .string($0.reason) },
            told("errored", .bool) { .bool(!$0.error.isEmpty) },
            told("error", .string) { .string($0.error) },
        ],
        types: [
            Authorizer.Stage.start.type, Authorizer.Stage.path.type, Authorizer.Stage.group.type,
            Authorizer.Stage.resource.type, AccessDecision.type,
        ])

    private static func step(
        _ id: String, _ from: Authorizer.Stage, _ to: Authorizer.Stage, texts: Int = 1, cost: CallCost = .fixed(1),
        _ change: @escaping @Sendable (inout AccessQuestion, [Value]) throws(EvaluationFault) -> Void
    ) -> Overload {
        .member(id, [from.type] + Array(repeating: .string, count: texts), to.type, cost: cost) {
            (values) throws(EvaluationFault) -> Value in
            let authorizer = try values[0].own(Authorizer.self)
            var question = authorizer.question
            try change(&question, Array(values.dropFirst()))
            return authorizer.with(to) { $0 = question }
        }
    }

    private static func check(_ id: String, _ stage: Authorizer.Stage) -> Overload {
        .member(id, [stage.type, .string], AccessDecision.type, cost: .fixed(350_000)) {
            (values) throws(EvaluationFault) -> Value in
            let authorizer = try values[0].own(Authorizer.self)
            var question = authorizer.question
            question.verb = try values[1].text()
            return .opaque(AccessDecision(authorizer.ask(question)))
        }
    }

    private static func told(
        _ name: String, _ result: ValueType, _ body: @escaping @Sendable (AccessAnswer) -> Value
    ) -> Function {
        Function(
            name,
            .member("decision_\(name)", [AccessDecision.type], result) { (values) throws(EvaluationFault) -> Value in
                body(try values[0].own(AccessDecision.self).answer)
            })
    }
}
