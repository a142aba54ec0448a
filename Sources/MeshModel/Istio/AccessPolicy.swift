package import KubeTypes
package import ProxyResources
import Wire

/// Which pods a policy of `security.istio.io` is about: those with its labels, or those that serve its targets.
package struct PolicyScope: Sendable, Hashable {
    package var selector: [String: String]
    /// Gateways of the policy's own namespace. With any, labels do not count.
    package var gateways: [String]
    /// It names targets, and we know none of them: it is about nobody.
    package var isAboutNobody: Bool

    init(_ spec: PolicyFields, _ findings: inout [PolicyFinding]) {
        selector = spec.json["selector"]?["matchLabels"]?.stringMap ?? [:]
        gateways = []
        var targets = spec.each("targetRefs")
        if let one = spec.inside("targetRef") { targets.append(one) }
        for target in targets {
            let kind = target.string("kind") ?? ""
            if kind == "Gateway", target.string("group") == "gateway.networking.k8s.io" {
                gateways.append(target.string("name") ?? "")
                if let namespace = target.string("namespace"), namespace != spec.namespaceOfObject {
                    findings.append(
                        target.finding(
                            "namespace", .unsupported, "only a Gateway of the policy's own namespace is a target"))
                }
            } else {
                findings.append(
                    target.finding(
                        kind == "Gateway" ? "group" : "kind", .unsupported,
                        "\(kind) is not supported: only a Gateway of gateway.networking.k8s.io is a target"))
            }
        }
        isAboutNobody = !targets.isEmpty && gateways.isEmpty
        if !targets.isEmpty, !selector.isEmpty {
            findings.append(spec.finding("selector", .invalid, "does not stand beside targetRefs"))
        }
    }
}

/// An Istio AuthorizationPolicy.
package struct AccessPolicy: Sendable, Hashable, AgedPolicy {
    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var scope: PolicyScope
    package var action: AuthorizationPolicy.Action
    package var isDryRun: Bool
    package var provider: String
    package var rules: [AuthorizationRule]
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.authorizationPolicies, key) }

    package static let dryRun = "istio.io/dry-run"

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        var findings: [PolicyFinding] = []
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.authorizationPolicies, object.key))
        spec.reportOthers(
            than: ["selector", "targetRef", "targetRefs", "rules", "action", "provider"], as: "it has no effect",
            to: &findings)
        scope = PolicyScope(spec, &findings)
        let word = spec.string("action") ?? "ALLOW"
        if AuthorizationPolicy.Action(rawValue: word) == nil {
            findings.append(spec.finding("action", .invalid, "\"\(word)\" is not one of ALLOW, DENY, AUDIT, CUSTOM"))
        }
        // A policy whose action nobody can read refuses all it is about.
        action = AuthorizationPolicy.Action(rawValue: word) ?? .deny
        isDryRun = object.annotations[Self.dryRun] == "true"
        provider = spec.inside("provider")?.string("name") ?? ""
        if action == .custom, provider.isEmpty {
            findings.append(spec.finding("provider.name", .invalid, "is required for the action CUSTOM"))
        }
        let namespace = object.key.namespace
        var rules: [AuthorizationRule] = []
        for fields in spec.each("rules") {
            if let rule = Self.rule(fields, action, namespace, &findings) { rules.append(rule) }
        }
        self.rules = rules
        self.findings = findings
    }

    /// What cannot be read never makes a policy milder: an ALLOW rule with it is left out, in the others it is not asked for.
    private static func rule(
        _ fields: PolicyFields, _ action: AuthorizationPolicy.Action, _ namespace: String,
        _ findings: inout [PolicyFinding]
    ) -> AuthorizationRule? {
        let before = findings.count
        fields.reportOthers(than: ["from", "to", "when"], as: "the rule cannot be carried out", to: &findings)
        var rule = AuthorizationRule()
        var isOpen = false
        for from in fields.each("from") {
            let source = from.inside("source") ?? PolicyFields(nil, at: from.place("source"), of: from.object)
            let tests = Self.tests(source, AccessTest.Attribute.ofSources, namespace, &findings)
            if tests.isEmpty { isOpen = true } else { rule.sources.append(tests) }
        }
        if isOpen { rule.sources = [] }
        isOpen = false
        for to in fields.each("to") {
            let operation = to.inside("operation") ?? PolicyFields(nil, at: to.place("operation"), of: to.object)
            let tests = Self.tests(operation, AccessTest.Attribute.ofOperations, namespace, &findings)
            if tests.isEmpty { isOpen = true } else { rule.operations.append(tests) }
        }
        if isOpen { rule.operations = [] }
        for condition in fields.each("when") { rule.conditions += Self.tests(of: condition, namespace, &findings) }
        let isWhole = !findings[before...].contains { $0.severity == .error || $0.code == .unsupported }
        return isWhole || action != .allow ? rule : nil
    }

    private static func tests(
        _ fields: PolicyFields, _ known: [AccessTest.Attribute], _ namespace: String, _ findings: inout [PolicyFinding]
    ) -> [AccessTest] {
        var names: Set<String> = []
        var tests: [AccessTest] = []
        for attribute in known {
            for isNegated in [false, true] {
                let name = attribute.field(isNegated: isNegated)
                names.insert(name)
                let written = fields.strings(name)
                if written.isEmpty { continue }
                tests += Self.test(fields, name, attribute, "", written, isNegated, namespace, &findings)
            }
        }
        fields.reportOthers(than: names, as: "the rule cannot be carried out", to: &findings)
        if names.allSatisfy({ !fields.has($0) }) {
            findings.append(fields.finding("", .invalid, "must name at least one thing; leave it out to match all"))
        }
        return tests
    }

    private static func tests(
        of condition: PolicyFields, _ namespace: String, _ findings: inout [PolicyFinding]
    ) -> [AccessTest] {
        let key = condition.string("key") ?? ""
        guard let subject = AccessTest.subject(ofCondition: key) else {
            findings.append(condition.finding("key", .invalid, "\"\(key)\" is not supported"))
            return []
        }
        var tests: [AccessTest] = []
        for (name, isNegated) in [("values", false), ("notValues", true)] {
            let written = condition.strings(name)
            if written.isEmpty { continue }
            tests += test(condition, name, subject.attribute, subject.key, written, isNegated, namespace, &findings)
        }
        if tests.isEmpty { findings.append(condition.finding("values", .invalid, "is required without notValues")) }
        return tests
    }

    private static func test(
        _ fields: PolicyFields, _ name: String, _ attribute: AccessTest.Attribute, _ key: String, _ written: [String],
        _ isNegated: Bool, _ namespace: String, _ findings: inout [PolicyFinding]
    ) -> [AccessTest] {
        var values: [String] = []
        let blank = AccessTest(attribute, key: key, [])
        for (index, value) in written.enumerated() {
            // An account of the policy's own namespace may be written by its name alone.
            let isShort = attribute == .serviceAccount && !value.contains("/") && !value.isEmpty
            let whole = isShort ? "\(namespace)/\(value)" : value
            if let fault = blank.fault(in: whole) {
                findings.append(fields.finding("\(name)[\(index)]", .invalid, fault))
            } else {
                values.append(whole)
            }
        }
        return values.isEmpty ? [] : [AccessTest(attribute, key: key, values, isNegated: isNegated)]
    }
}
