import CEL
import KubeTypes
import Wire

/// Refuses configurations of webhooks and policies that could never work.
struct AdmissionConfigurationChecks: ValidatingAdmission {
    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard request.type.group == "admissionregistration.k8s.io", request.subresource == nil,
            request.operation == .create || request.operation == .update
        else { return [] }
        var faults: [FieldFault]
        switch request.type.resource {
        case "mutatingwebhookconfigurations", "validatingwebhookconfigurations":
            faults = WebhookChecks.faults(request.object)
        case "validatingadmissionpolicies": faults = PolicyChecks.faults(request.object)
        case "mutatingadmissionpolicies": faults = MutatingPolicyChecks.faults(request.object)
        case "validatingadmissionpolicybindings": faults = BindingChecks.faults(request.object, isValidating: true)
        case "mutatingadmissionpolicybindings": faults = BindingChecks.faults(request.object, isValidating: false)
        default: return []
        }
        if faults.isEmpty { return [] }
        // What was accepted once stays changeable: an expression that newer rules refuse must not bar its repair.
        if let old = request.oldObject, old.spec == request.object.spec,
            old.json["webhooks"] == request.object.json["webhooks"]
        {
            return []
        }
        faults = Array(faults.prefix(50))
        throw .invalid(request.type, request.name, faults)
    }
}

/// What rules, selectors and conditions must look like, wherever they stand.
enum MatchChecks {
    private static let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]

    static func rules(_ json: JSON?, _ path: String) -> [FieldFault] {
        var faults: [FieldFault] = []
        for (index, rule) in (json?.array ?? []).enumerated() {
            let path = "\(path)[\(index)]"
            faults += wild(rule["operations"], "\(path).operations")
            for (place, one) in (rule["operations"]?.array ?? []).enumerated()
            where !operations.contains(one.string ?? "") {
                faults.append(unsupported("\(path).operations[\(place)]", one, operations))
            }
            faults += wild(rule["apiGroups"], "\(path).apiGroups")
            faults += wild(rule["apiVersions"], "\(path).apiVersions")
            faults += resources(rule["resources"], "\(path).resources")
            if let scope = rule["scope"], RequestRule.Scope(rawValue: scope.string ?? "") == nil {
                faults.append(unsupported("\(path).scope", scope, ["*", "Cluster", "Namespaced"]))
            }
        }
        return faults
    }

    private static func wild(_ json: JSON?, _ path: String) -> [FieldFault] {
        let texts = json?.array?.compactMap(\.string) ?? []
        if texts.isEmpty { return [FieldFault(.required, path)] }
        if texts.count > 1, texts.contains("*") {
            return [
                FieldFault(
                    .invalid, path, value: json,
                    "if '*' is present, must not specify other values")
            ]
        }
        return []
    }

    private static func resources(_ json: JSON?, _ path: String) -> [FieldFault] {
        let texts = json?.array?.compactMap(\.string) ?? []
        if texts.isEmpty { return [FieldFault(.required, path)] }
        var faults: [FieldFault] = []
        for (place, text) in texts.enumerated() {
            let path = "\(path)[\(place)]"
            if text.isEmpty {
                faults.append(FieldFault(.required, path))
                continue
            }
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            if parts.count > 2 || parts.contains("") {
                faults.append(
                    FieldFault(.invalid, path, value: .string(text), "must be a resource, or resource/subresource"))
            }
        }
        if texts.contains("*/*"), texts.count > 1 {
            faults.append(
                FieldFault(.invalid, path, value: json, "if '*/*' is present, must not specify other resources"))
        } else if texts.contains("*"), texts.contains(where: { $0 != "*" && !$0.contains("/") }) {
            faults.append(
                FieldFault(
                    .invalid, path, value: json,
                    "if '*' is present, must not specify other resources without subresources"))
        }
        return faults
    }

    static func unsupported(_ path: String, _ value: JSON, _ allowed: [String]) -> FieldFault {
        let list = allowed.map { "\"\($0)\"" }.joined(separator: ", ")
        return FieldFault(.unsupported, path, value: value, "supported values: \(list)")
    }

    static func oneOf(_ json: JSON?, _ path: String, _ allowed: [String]) -> [FieldFault] {
        guard let json, !allowed.contains(json.string ?? "") else { return [] }
        return [unsupported(path, json, allowed)]
    }

    static func selector(_ json: JSON?, _ path: String) -> [FieldFault] {
        guard let json, json.object != nil else { return [] }
        var faults: [FieldFault] = []
        for (index, one) in (json["matchExpressions"]?.array ?? []).enumerated() {
            let path = "\(path).matchExpressions[\(index)]"
            let values = one["values"]?.array ?? []
            switch one["operator"]?.string ?? "" {
            case "In", "NotIn":
                if values.isEmpty {
                    faults.append(
                        FieldFault(
                            .required, "\(path).values", "must be specified when `operator` is 'In' or 'NotIn'"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    faults.append(
                        FieldFault(
                            .forbidden, "\(path).values",
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
                }
            case let other:
                faults.append(
                    FieldFault(.invalid, "\(path).operator", value: .string(other), "not a valid selector operator"))
            }
        }
        return faults
    }

    static func conditions(_ json: JSON?, _ path: String, _ environment: Environment) -> [FieldFault] {
        let list = json?.array ?? []
        var faults: [FieldFault] = []
        if list.count > MatchConditions.most {
            faults.append(FieldFault(.tooMany, path, "must have at most \(MatchConditions.most) items"))
        }
        var names: Set<String> = []
        for (index, one) in list.prefix(MatchConditions.most).enumerated() {
            let path = "\(path)[\(index)]"
            let name = one["name"]?.string ?? ""
            if name.isEmpty { faults.append(FieldFault(.required, "\(path).name")) }
            if !name.isEmpty, !names.insert(name).inserted {
                faults.append(FieldFault(.duplicate, "\(path).name", value: .string(name)))
            }
            faults += expression(one["expression"], "\(path).expression", .bool, environment).faults
        }
        return faults
    }

    /// Compiles an expression that must be there.
    static func expression(
        _ json: JSON?, _ path: String, _ expected: ValueType?, _ environment: Environment
    ) -> (program: Program?, faults: [FieldFault]) {
        let text = json?.string ?? ""
        if text.allSatisfy(\.isWhitespace) {
            return (nil, [FieldFault(.required, path, "expression is not specified")])
        }
        do throws(CompilationFault) {
            return (try environment.compile(text, expected: expected), [])
        } catch {
            return (nil, [FieldFault(.invalid, path, value: .string(text), "compilation failed: \(error)")])
        }
    }
}

/// Configurations of webhooks: what the rules of the kind leave open.
enum WebhookChecks {
    static func faults(_ object: KubeObject) -> [FieldFault] {
        (object.json["webhooks"]?.array ?? []).enumerated().flatMap { index, webhook in
            faults(webhook, "webhooks[\(index)]")
        }
    }

    private static func faults(_ webhook: JSON, _ path: String) -> [FieldFault] {
        var faults = MatchChecks.rules(webhook["rules"], "\(path).rules")
        let versions = webhook["admissionReviewVersions"]
        if versions?.array?.contains("v1") != true {
            faults.append(
                FieldFault(
                    .invalid, "\(path).admissionReviewVersions", value: versions,
                    "this server asks in v1 only; v1beta1 was given up by Kubernetes 1.22"))
        }
        faults += client(webhook["clientConfig"], "\(path).clientConfig")
        faults += MatchChecks.conditions(
            webhook["matchConditions"], "\(path).matchConditions", AdmissionExpressions.plain)
        return faults
    }

    private static func client(_ json: JSON?, _ path: String) -> [FieldFault] {
        var faults: [FieldFault] = []
        if let url = json?["url"]?.string, WebhookURL(url) == nil || url.contains("#") || url.contains("?") {
            faults.append(
                FieldFault(
                    .invalid, "\(path).url", value: .string(url),
                    "must be an https URL with a host, and without user, query and fragment: https://host[:port]/path"))
        }
        if let bundle = json?["caBundle"]?.string, !bundle.isEmpty, Base64.decode(bundle)?.isEmpty ?? true {
            faults.append(
                FieldFault(
                    .invalid, "\(path).caBundle", value: .string(bundle), "must be base64 of certificates in PEM"))
        }
        return faults
    }
}
