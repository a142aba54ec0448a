import CEL
import KubeTypes
import Wire

/// Checks a policy's expressions against the kinds it names: a misspelt field is told before a request meets it.
struct PolicyTypeCheck {
    private let catalog: SchemaCatalog
    /// Kinds looked at for one policy.
    private static let mostKinds = 10

    init(_ catalog: SchemaCatalog) { self.catalog = catalog }

    /// - Returns: `ExpressionWarning`s.
    func warnings(_ policy: KubeObject) -> [JSON] {
        let kinds = kinds(policy)
        if kinds.isEmpty { return [] }
        var texts: [(field: String, text: String)] = []
        for (index, one) in (policy.spec["validations"]?.array ?? []).enumerated() {
            texts.append(("spec.validations[\(index)].expression", one["expression"]?.string ?? ""))
            if let message = one["messageExpression"]?.string, !message.isEmpty {
                texts.append(("spec.validations[\(index)].messageExpression", message))
            }
        }
        var found: [JSON] = []
        for (field, text) in texts {
            var told = ""
            for definition in kinds {
                guard let fault = fault(text, policy, definition) else { continue }
                told += "\(definition.type.apiVersion), Kind=\(definition.type.kind): \(fault)\n"
            }
            if !told.isEmpty { found.append(["fieldRef": .string(field), "warning": .string(told)]) }
        }
        return found
    }

    /// The kinds that the rules name outright: those behind a wildcard are not looked at.
    private func kinds(_ policy: KubeObject) -> [ResourceDefinition] {
        var found: [ResourceDefinition] = []
        for rule in policy.spec[path: ["matchConstraints", "resourceRules"]]?.array ?? [] {
            for group in rule["apiGroups"]?.array?.compactMap(\.string) ?? [] {
                for version in rule["apiVersions"]?.array?.compactMap(\.string) ?? [] {
                    for resource in rule["resources"]?.array?.compactMap(\.string) ?? [] {
                        let definition = catalog.definition(group: group, version: version, resource: resource)
                        guard let definition, found.count < Self.mostKinds else { continue }
                        found.append(definition)
                    }
                }
            }
        }
        return found
    }

    private func fault(_ text: String, _ policy: KubeObject, _ definition: ResourceDefinition) -> CompilationFault? {
        var environment = AdmissionExpressions.ofPolicy(hasParams: policy.spec["paramKind"] != nil)
        var types = SchemaTypes()
        let type = types.root(definition.schema, name: "object")
        environment.declare("object", type)
        environment.declare("oldObject", type)
        _ = PolicyVariables(policy.spec["variables"]?.array ?? [], &environment)
        guard case .failure(let fault) = AdmissionExpressions.compile(text, nil, environment) else { return nil }
        return fault
    }
}
