import CEL
import KubeTypes
import Wire

/// A ValidatingAdmissionPolicy, compiled.
struct ValidatingPolicy: CompiledPolicy {
    struct Validation: Sendable {
        let text: String
        let program: Result<Program, CompilationFault>
        let message: String
        let messageProgram: Result<Program, CompilationFault>?
        let reason: String
    }
    struct Annotation: Sendable {
        let key: String
        let text: String
        let program: Result<Program, CompilationFault>
    }
    let common: AdmissionPolicy
    let validations: [Validation]
    let annotations: [Annotation]

    init(_ object: KubeObject) {
        common = AdmissionPolicy(object)
        let environment = common.environment
        validations = (object.spec["validations"]?.array ?? []).map { json in
            let text = json["expression"]?.string ?? ""
            let messageText = json["messageExpression"]?.string ?? ""
            return Validation(
                text: text.trimmedOfSpace, program: AdmissionExpressions.compile(text, .bool, environment),
                message: (json["message"]?.string ?? "").trimmedOfSpace,
                messageProgram: messageText.isEmpty
                    ? nil : AdmissionExpressions.compile(messageText, .string, environment),
                reason: json["reason"]?.string ?? "")
        }
        annotations = (object.spec["auditAnnotations"]?.array ?? []).map { json in
            let text = json["valueExpression"]?.string ?? ""
            return Annotation(
                key: json["key"]?.string ?? "", text: text,
                program: AdmissionExpressions.compile(text, nil, environment))
        }
    }

    /// One reason to refuse.
    struct Finding: Sendable, Hashable {
        var message: String
        var reason: String
        /// Of the validation; `nil` for what went wrong beside them.
        var place: Int?
        var failure = PolicyMetrics.Failure.none
        /// How long the expression took.
        var took = Duration.zero
        /// An error the policy lets pass.
        var isIgnored = false
        /// It is refused whatever the binding says is to be done about findings.
        var isAlwaysDenied = false
    }

    /// - Parameter annotate: an annotation's key and value.
    /// - Returns: what does not hold, and what cannot be evaluated.
    func findings(
        _ request: AdmissionInputs, params: Value, annotate: (String, String) -> Void
    ) -> [Finding] {
        let inputs = common.inputs(request, params: params)
        var budget = CostBudget()
        var found: [Finding] = []
        let clock = ContinuousClock()
        for (place, validation) in validations.enumerated() {
            let began = clock.now
            guard var finding = finding(validation, place, inputs, &budget) else { continue }
            finding.took = clock.now - began
            found.append(finding)
        }
        for annotation in annotations {
            let began = clock.now
            let value = Self.evaluate(annotation.program, inputs, &budget)
            switch value {
            case .success(.null): break
            case .success(.string(let text)):
                let short = text.trimmedOfSpace
                if !short.isEmpty { annotate("\(common.name)/\(annotation.key)", String(short.prefix(10_240))) }
            case .success(let other):
                if !common.ignoresFailure {
                    found.append(
                        Finding(
                            message:
                                "valueExpression '\(annotation.text)' resulted in unsupported return type: \(other.type). Return type must be either string or null.",
                            reason: "", place: nil, failure: .evaluation, took: clock.now - began,
                            isAlwaysDenied: true))
                }
            case .failure(let error):
                if !common.ignoresFailure {
                    found.append(
                        Finding(
                            message: "expression '\(annotation.text)' resulted in error: \(error)", reason: "",
                            place: nil, failure: Self.failure(annotation.program, error), took: clock.now - began,
                            isAlwaysDenied: true))
                }
            }
        }
        return found
    }

    private func finding(
        _ validation: Validation, _ place: Int, _ inputs: [Value?], _ budget: inout CostBudget
    ) -> Finding? {
        switch Self.evaluate(validation.program, inputs, &budget) {
        case .failure(let error):
            return Finding(
                message: "expression '\(validation.text)' resulted in error: \(error)", reason: validation.reason,
                place: place, failure: Self.failure(validation.program, error), isIgnored: common.ignoresFailure)
        case .success(.bool(true)): return nil
        case .success:
            var message = validation.message
            if message.isEmpty { message = "failed expression: \(validation.text)" }
            if let program = validation.messageProgram,
                case .success(.string(let text)) = Self.evaluate(program, inputs, &budget)
            {
                let made = text.trimmedOfSpace
                // A text that makes no good message leaves the other one.
                if !made.isEmpty, !made.contains("\n"), made.utf8.count <= 5120 { message = made }
            }
            return Finding(message: message, reason: validation.reason, place: place)
        }
    }

    private static func failure(
        _ program: Result<Program, CompilationFault>, _ error: EvaluationFault
    ) -> PolicyMetrics.Failure {
        if case .failure = program { return .compilation }
        return error == .budget || error == .costLimit ? .budget : .evaluation
    }

    private static func evaluate(
        _ program: Result<Program, CompilationFault>, _ inputs: [Value?], _ budget: inout CostBudget
    ) -> Result<Value, EvaluationFault> {
        switch program {
        case .failure(let fault): return .failure(.failed("compilation error: \(fault)"))
        case .success(let program):
            do throws(EvaluationFault) {
                return .success(try program.evaluate(inputs, budget: &budget))
            } catch {
                return .failure(error)
            }
        }
    }
}

/// Refuses what the cluster's ValidatingAdmissionPolicies forbid.
struct ValidatingPolicyAdmission: ValidatingAdmission {
    let objects: AdmissionObjects
    let selection: PolicySelection
    let policies: BoundPolicies<ValidatingPolicy>

    init(_ selection: PolicySelection) {
        self.selection = selection
        objects = selection.objects
        policies = BoundPolicies(
            objects.registry, AdmissionKind.validatingPolicies, AdmissionKind.validatingBindings)
    }

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        let policies = try await policies.pairs(for: request)
        if policies.isEmpty { return [] }
        var warnings: [String] = []
        var failures: [JSON] = []
        var denial: APIFailure?
        for (policy, binding) in policies {
            let name = policy.common.name
            for finding in try await findings(policy, binding, request) {
                func note(_ action: PolicyMetrics.Action) {
                    let series = PolicyMetrics.Series(
                        policy: name, binding: binding.name, action: action, failure: finding.failure)
                    selection.metrics.policies.note(series, took: finding.took)
                }
                if finding.isIgnored {
                    note(.allow)
                    continue
                }
                let actions = finding.isAlwaysDenied ? ["Deny"] : binding.actions
                if actions.contains("Deny") {
                    note(.deny)
                    if denial == nil { denial = Self.denial(request, name, binding.name, finding) }
                }
                if actions.contains("Warn") {
                    note(.warn)
                    warnings.append(
                        "Validation failed for ValidatingAdmissionPolicy '\(name)' with binding '\(binding.name)': \(finding.message)"
                    )
                }
                if actions.contains("Audit") {
                    note(.audit)
                    failures.append(Self.record(policy, binding, finding))
                }
            }
        }
        if !failures.isEmpty {
            request.annotate("validation.policy.admission.k8s.io/validation_failure", JSON.array(failures).text)
        }
        if let denial {
            for warning in warnings { request.warn(warning) }
            throw denial
        }
        return warnings
    }

    private func findings(
        _ policy: ValidatingPolicy, _ binding: PolicyBinding, _ request: AdmissionRequest
    ) async throws(APIFailure) -> [ValidatingPolicy.Finding] {
        let common = policy.common
        guard let type = try await selection.version(common, binding, request) else { return [] }
        let values: [Value]
        do throws(PolicyFault) { values = try await selection.params.values(common, binding, request) } catch {
            if common.ignoresFailure { return [] }
            return [.init(message: error.description, reason: "Forbidden", place: nil, isAlwaysDenied: true)]
        }
        let inputs = try await selection.inputs(request, as: type)
        var found: [ValidatingPolicy.Finding] = []
        for params in values {
            switch selection.verdict(common, request, inputs, params, isMutating: false) {
            case .fails: continue
            case .error(let why):
                found.append(
                    .init(
                        message: why, reason: "", place: nil, failure: .evaluation, isIgnored: common.ignoresFailure))
            case .holds: found += policy.findings(inputs, params: params) { request.annotate($0, $1) }
            }
        }
        return found
    }

    private static func denial(
        _ request: AdmissionRequest, _ policy: String, _ binding: String, _ finding: ValidatingPolicy.Finding
    ) -> APIFailure {
        let text =
            "ValidatingAdmissionPolicy '\(policy)' with binding '\(binding)' denied request: \(finding.message)"
        return .denied(request, text, reason: finding.reason)
    }

    private static func record(
        _ policy: ValidatingPolicy, _ binding: PolicyBinding, _ finding: ValidatingPolicy.Finding
    ) -> JSON {
        [
            "message": .string(finding.message), "policy": .string(policy.common.name),
            "binding": .string(binding.name), "expressionIndex": .int(Int64(finding.place ?? 0)),
            "validationActions": .array(binding.actions.sorted().map(JSON.string)),
        ]
    }
}

extension APIFailure {
    /// A policy's refusal: with the reason its author chose, or `Invalid`.
    static func denied(_ request: AdmissionRequest, _ text: String, reason: String) -> APIFailure {
        var failure = APIFailure.forbidden(request, text)
        failure.reason = reason.isEmpty ? "Invalid" : reason
        switch failure.reason {
        case "Unauthorized": failure.code = 401
        case "Forbidden": failure.code = 403
        case "RequestEntityTooLarge": failure.code = 413
        default: failure.code = 422
        }
        failure.details?["causes"] = [["message": .string(text)]]
        return failure
    }
}

extension String {
    var trimmedOfSpace: String {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }
}
