import CEL
import KubeTypes
import Wire

/// What validating and mutating policies must both have.
private struct PolicyForm {
    var faults: [FieldFault] = []
    var environment: Environment

    init(_ spec: JSON, types: (any TypeProvider)? = nil) {
        let kind = spec["paramKind"]
        environment = AdmissionExpressions.ofPolicy(hasParams: kind != nil)
        if let kind {
            if kind["apiVersion"]?.string?.isEmpty ?? true {
                faults.append(FieldFault(.required, "spec.paramKind.apiVersion"))
            }
            if kind["kind"]?.string?.isEmpty ?? true { faults.append(FieldFault(.required, "spec.paramKind.kind")) }
        }
        faults += MatchChecks.oneOf(spec["failurePolicy"], "spec.failurePolicy", ["Fail", "Ignore"])
        matchConstraints(spec["matchConstraints"])
        faults += MatchChecks.conditions(spec["matchConditions"], "spec.matchConditions", environment)
        environment.types = types
        variables(spec["variables"]?.array ?? [])
    }

    private mutating func matchConstraints(_ json: JSON?) {
        guard let json else {
            faults.append(FieldFault(.required, "spec.matchConstraints"))
            return
        }
        if json["resourceRules"]?.array?.isEmpty ?? true {
            faults.append(FieldFault(.required, "spec.matchConstraints.resourceRules"))
        }
        faults += MatchChecks.resources(json, "spec.matchConstraints")
    }

    private mutating func variables(_ list: [JSON]) {
        var fields: [String: ValueType] = [:]
        environment.declare("variables", .object(ObjectType(PolicyVariables.typeName, fields)))
        for (index, one) in list.enumerated() {
            let path = "spec.variables[\(index)]"
            let name = one["name"]?.string ?? ""
            if name.isEmpty {
                faults.append(FieldFault(.required, "\(path).name", "name is not specified"))
            } else if Names.environment(name) != nil || name.contains(".") || name.contains("-") {
                faults.append(
                    FieldFault(.invalid, "\(path).name", value: .string(name), "name is not a valid CEL identifier"))
            } else if fields[name] != nil {
                faults.append(FieldFault(.duplicate, "\(path).name", value: .string(name)))
            }
            let (program, found) = MatchChecks.expression(
                one["expression"], "\(path).expression", nil, environment)
            faults += found
            fields[name] = program?.type ?? .dyn
            environment.declare("variables", .object(ObjectType(PolicyVariables.typeName, fields)))
        }
    }
}

extension MatchChecks {
    /// `MatchResources`, of a policy or a binding.
    static func resources(_ json: JSON, _ path: String) -> [FieldFault] {
        rules(json["resourceRules"], "\(path).resourceRules")
            + rules(json["excludeResourceRules"], "\(path).excludeResourceRules")
            + oneOf(json["matchPolicy"], "\(path).matchPolicy", ["Equivalent", "Exact"])
            + selector(json["namespaceSelector"], "\(path).namespaceSelector")
            + selector(json["objectSelector"], "\(path).objectSelector")
    }
}

enum PolicyChecks {
    private static let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"]

    static func faults(_ object: KubeObject) -> [FieldFault] {
        let spec = object.spec
        let form = PolicyForm(spec)
        var faults = form.faults
        let validations = spec["validations"]?.array ?? []
        let annotations = spec["auditAnnotations"]?.array ?? []
        if validations.isEmpty, annotations.isEmpty {
            let why = "validations or auditAnnotations must contain at least one item"
            faults.append(FieldFault(.required, "spec.validations", why))
        }
        for (index, one) in validations.enumerated() {
            let path = "spec.validations[\(index)]"
            faults += MatchChecks.expression(one["expression"], "\(path).expression", .bool, form.environment).faults
            let message = one["message"]?.string ?? ""
            if !message.isEmpty, message.allSatisfy(\.isWhitespace) {
                faults.append(
                    FieldFault(
                        .invalid, "\(path).message", value: .string(message), "message must be non-empty if specified"))
            } else if message.trimmedOfSpace.contains("\n") {
                faults.append(
                    FieldFault(
                        .invalid, "\(path).message", value: .string(message), "message must not contain line breaks"))
            }
            if let text = one["messageExpression"]?.string, !text.isEmpty {
                faults +=
                    MatchChecks.expression(
                        .string(text), "\(path).messageExpression", .string, form.environment
                    ).faults
            }
            faults += MatchChecks.oneOf(one["reason"], "\(path).reason", reasons)
        }
        faults += Self.annotations(annotations, form.environment)
        return faults
    }

    private static func annotations(_ list: [JSON], _ environment: Environment) -> [FieldFault] {
        var faults: [FieldFault] = []
        var keys: Set<String> = []
        if list.count > 20 {
            faults.append(FieldFault(.tooMany, "spec.auditAnnotations", "must have at most 20 items"))
        }
        for (index, one) in list.prefix(20).enumerated() {
            let path = "spec.auditAnnotations[\(index)]"
            let key = one["key"]?.string ?? ""
            if key.isEmpty {
                faults.append(FieldFault(.required, "\(path).key"))
            } else if let why = Names.qualified(key) ?? (key.contains("/") ? "must be a name without a prefix" : nil) {
                faults.append(FieldFault(.invalid, "\(path).key", value: .string(key), why))
            } else if !keys.insert(key).inserted {
                faults.append(FieldFault(.duplicate, "\(path).key", value: .string(key)))
            }
            faults +=
                MatchChecks.expression(one["valueExpression"], "\(path).valueExpression", nil, environment).faults
        }
        return faults
    }
}

enum MutatingPolicyChecks {
    static func faults(_ object: KubeObject) -> [FieldFault] {
        let spec = object.spec
        let form = PolicyForm(spec, types: MutationTypes())
        var faults = form.faults
        let mutations = spec["mutations"]?.array ?? []
        if mutations.isEmpty {
            faults.append(FieldFault(.required, "spec.mutations", "mutations must contain at least one item"))
        }
        faults += MatchChecks.oneOf(spec["reinvocationPolicy"], "spec.reinvocationPolicy", ["IfNeeded", "Never"])
        for (index, one) in mutations.enumerated() {
            let path = "spec.mutations[\(index)]"
            switch one["patchType"]?.string ?? "" {
            case "JSONPatch":
                faults += single(one, path, "jsonPatch", not: "applyConfiguration", MutationTypes.patches, form)
            case "ApplyConfiguration":
                faults += single(one, path, "applyConfiguration", not: "jsonPatch", MutationTypes.object, form)
            case "": faults.append(FieldFault(.required, "\(path).patchType"))
            case let other:
                faults.append(
                    MatchChecks.unsupported(
                        "\(path).patchType", .string(other), ["ApplyConfiguration", "JSONPatch"]))
            }
        }
        return faults
    }

    private static func single(
        _ json: JSON, _ path: String, _ member: String, not other: String, _ expected: ValueType, _ form: PolicyForm
    ) -> [FieldFault] {
        var faults: [FieldFault] = []
        if json[other] != nil {
            faults.append(
                FieldFault(
                    .invalid, "\(path).\(other)", value: json[other],
                    "must not be specified when patchType is \(member)"))
        }
        guard let inner = json[member] else {
            return faults + [FieldFault(.required, "\(path).\(member)", "must be specified for this patchType")]
        }
        faults +=
            MatchChecks.expression(
                inner["expression"], "\(path).\(member).expression", expected, form.environment
            ).faults
        return faults
    }
}

enum BindingChecks {
    static func faults(_ object: KubeObject, isValidating: Bool) -> [FieldFault] {
        let spec = object.spec
        var faults: [FieldFault] = []
        if spec["policyName"]?.string?.isEmpty ?? true {
            faults.append(FieldFault(.required, "spec.policyName"))
        }
        if let match = spec["matchResources"] { faults += MatchChecks.resources(match, "spec.matchResources") }
        if let reference = spec["paramRef"] { faults += params(reference) }
        if isValidating { faults += actions(spec["validationActions"]) }
        return faults
    }

    private static func params(_ reference: JSON) -> [FieldFault] {
        let path = "spec.paramRef"
        var faults: [FieldFault] = []
        let hasName = reference["name"]?.string?.isEmpty == false
        let hasSelector = reference["selector"] != nil
        if hasName == hasSelector {
            faults.append(
                FieldFault(.required, path, "exactly one of name or selector must be specified"))
        }
        faults += MatchChecks.selector(reference["selector"], "\(path).selector")
        if reference["parameterNotFoundAction"] == nil {
            faults.append(FieldFault(.required, "\(path).parameterNotFoundAction"))
        }
        return faults
            + MatchChecks.oneOf(
                reference["parameterNotFoundAction"], "\(path).parameterNotFoundAction", ["Allow", "Deny"])
    }

    private static func actions(_ json: JSON?) -> [FieldFault] {
        let path = "spec.validationActions"
        let list = json?.array ?? []
        if list.isEmpty {
            return [FieldFault(.required, path, "at least one validation action is required")]
        }
        var faults: [FieldFault] = []
        var seen: Set<String> = []
        for (index, one) in list.enumerated() {
            faults += MatchChecks.oneOf(one, "\(path)[\(index)]", ["Audit", "Deny", "Warn"])
            if let text = one.string, !seen.insert(text).inserted {
                faults.append(FieldFault(.duplicate, "\(path)[\(index)]", value: one))
            }
        }
        if seen.isSuperset(of: ["Deny", "Warn"]) {
            faults.append(
                FieldFault(
                    .invalid, path, value: json,
                    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
                ))
        }
        return faults
    }
}
