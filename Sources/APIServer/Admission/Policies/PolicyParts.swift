import CEL
import KubeTypes
import Synchronization
import Wire

/// What validating and mutating policies have in common.
struct AdmissionPolicy: Sendable {
    let name: String
    let match: RequestMatch
    let paramKind: ObjectKind?
    let conditions: MatchConditions
    let variables: PolicyVariables
    let ignoresFailure: Bool

    /// What its expressions may name.
    let environment: Environment

    init(_ object: KubeObject, types: (any TypeProvider)? = nil) {
        name = object.name
        let spec = object.spec
        match = RequestMatch(spec["matchConstraints"] ?? [:], rules: "resourceRules")
        let kind = spec["paramKind"]
        paramKind = kind.map {
            ObjectKind(apiVersion: $0["apiVersion"]?.string ?? "", kind: $0["kind"]?.string ?? "")
        }
        var environment = AdmissionExpressions.ofPolicy(hasParams: paramKind != nil)
        conditions = MatchConditions(spec["matchConditions"]?.array ?? [], environment: environment)
        environment.types = types
        variables = PolicyVariables(spec["variables"]?.array ?? [], &environment)
        self.environment = environment
        ignoresFailure = spec["failurePolicy"]?.string == "Ignore"
    }

    /// The values of the declared variables, in their order.
    func inputs(_ request: AdmissionInputs, params: Value) -> [Value?] {
        var base = request.values
        base.append(request.namespace)
        if paramKind != nil { base.append(params) }
        if variables.isEmpty { return base + [.map(.source(NoVariables.shared))] }
        return base + [.map(.source(VariableValues(variables, base)))]
    }
}

/// A policy's `variables`, each of which may use those before it.
struct PolicyVariables: Sendable {
    struct Variable: Sendable {
        let name: String
        let program: Result<Program, CompilationFault>
    }
    static let typeName = "kubernetes.variables"

    let list: [Variable]
    private let places: [String: Int]
    var isEmpty: Bool { list.isEmpty }

    /// Declares `variables` in the environment.
    init(_ json: [JSON], _ environment: inout Environment) {
        var fields: [String: ValueType] = [:]
        var list: [Variable] = []
        var places: [String: Int] = [:]
        environment.declare("variables", .object(ObjectType(Self.typeName, fields)))
        for one in json {
            let name = one["name"]?.string ?? ""
            let program = AdmissionExpressions.compile(one["expression"]?.string ?? "", nil, environment)
            var type = ValueType.dyn
            if case .success(let program) = program { type = program.type }
            fields[name] = type
            places[name] = list.count
            list.append(Variable(name: name, program: program))
            environment.declare("variables", .object(ObjectType(Self.typeName, fields)))
        }
        self.list = list
        self.places = places
    }

    subscript(name: String) -> Variable? { places[name].map { list[$0] } }
}

private final class NoVariables: FieldSource {
    static let shared = NoVariables()
    var typeName: String? { PolicyVariables.typeName }
    var count: Int { 0 }
    var keys: [String] { [] }
    func field(_ name: String) -> Value? { nil }
}

/// The variables' values for one request: each is found when it is first asked for, and once.
private final class VariableValues: FieldSource {
    private struct State {
        var known: [String: Result<Value, EvaluationFault>] = [:]
        var budget = CostBudget()
    }
    private let variables: PolicyVariables
    private let base: [Value?]
    private let state = Mutex(State())

    init(_ variables: PolicyVariables, _ base: [Value?]) {
        self.variables = variables
        self.base = base
    }

    var typeName: String? { PolicyVariables.typeName }
    var count: Int { variables.list.count }
    var keys: [String] { variables.list.map(\.name) }

    func field(_ name: String) throws(EvaluationFault) -> Value? {
        guard let variable = variables[name] else { return nil }
        if let known = state.withLock({ $0.known[name] }) { return try known.get() }
        let found = evaluate(variable)
        state.withLock { $0.known[name] = found }
        return try found.get()
    }

    /// Outside the lock: a variable may ask for others.
    private func evaluate(_ variable: PolicyVariables.Variable) -> Result<Value, EvaluationFault> {
        switch variable.program {
        case .failure(let fault): return .failure(.failed("\(fault)"))
        case .success(let program):
            var budget = state.withLock { $0.budget }
            let before = budget.remaining
            let inputs = base + [.map(.source(self))]
            let result: Result<Value, EvaluationFault>
            do throws(EvaluationFault) {
                result = .success(try program.evaluate(inputs, budget: &budget))
            } catch {
                result = .failure(error)
            }
            let spent = before - budget.remaining
            state.withLock { $0.budget.remaining -= min($0.budget.remaining, spent) }
            return result
        }
    }
}

/// Says where a policy applies, with what parameters, and what follows.
struct PolicyBinding: Sendable {
    enum ParamRef: Sendable {
        case named(String)
        case selected(LabelSelector)
    }
    let name: String
    let policyName: String
    /// `nil` where the policy alone decides.
    let match: RequestMatch?
    let params: ParamRef?
    let paramNamespace: String
    /// Without parameters the policy does not apply, rather than refusing.
    let allowsNoParams: Bool
    let actions: Set<String>

    init(_ object: KubeObject) {
        name = object.name
        let spec = object.spec
        policyName = spec["policyName"]?.string ?? ""
        match = spec["matchResources"].map { RequestMatch($0, rules: "resourceRules") }
        let reference = spec["paramRef"]
        if let name = reference?["name"]?.string, !name.isEmpty {
            params = .named(name)
        } else if let selector = reference?["selector"], let parsed = try? LabelSelector(selector) {
            params = .selected(parsed)
        } else {
            params = nil
        }
        paramNamespace = reference?["namespace"]?.string ?? ""
        allowsNoParams = reference?["parameterNotFoundAction"]?.string == "Allow"
        actions = Set(spec["validationActions"]?.array?.compactMap(\.string) ?? [])
    }

    static func byPolicy(_ objects: [KubeObject]) -> [String: [PolicyBinding]] {
        Dictionary(grouping: objects.map(PolicyBinding.init), by: \.policyName)
            .mapValues { $0.sorted { $0.name < $1.name } }
    }
}

/// Finds the objects that bindings name as parameters.
final class PolicyParams: Sendable {
    private struct State {
        var lookups: [ResourceType: ObjectLookup] = [:]
        var lists: [ResourceType: KindIndex<[KubeObject]>] = [:]
    }
    private let registry: Registry
    private let state = Mutex(State())

    init(_ registry: Registry) { self.registry = registry }

    /// - Returns: a value for each time the policy is to be evaluated; none when the binding does not apply.
    func values(
        _ policy: AdmissionPolicy, _ binding: PolicyBinding, _ request: AdmissionRequest
    ) async throws(PolicyFault) -> [Value] {
        guard let kind = policy.paramKind, let reference = binding.params else { return [.null] }
        let apiVersion = kind.group.isEmpty ? kind.version : "\(kind.group)/\(kind.version)"
        guard let definition = registry.catalog.definition(apiVersion: apiVersion, kind: kind.kind) else {
            throw PolicyFault(
                "failed to configure policy: failed to find resource referenced by paramKind: '\(apiVersion), Kind=\(kind.kind)'"
            )
        }
        let namespace = try namespace(definition.type, binding, request)
        let found: [KubeObject]
        do throws(APIFailure) { found = try await objects(definition.type, reference, namespace) } catch {
            throw PolicyFault("failed to configure binding: \(error.message)")
        }
        if !found.isEmpty { return found.map { Value($0.json) } }
        if binding.allowsNoParams { return [] }
        throw PolicyFault(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction")
    }

    private func namespace(
        _ type: ResourceType, _ binding: PolicyBinding, _ request: AdmissionRequest
    ) throws(PolicyFault) -> String {
        if !type.isNamespaced {
            if binding.paramNamespace.isEmpty { return "" }
            throw PolicyFault(
                "failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        }
        if !binding.paramNamespace.isEmpty { return binding.paramNamespace }
        if request.type.isNamespaced, !request.namespace.isEmpty { return request.namespace }
        throw PolicyFault(
            "failed to configure binding: cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    }

    private func objects(
        _ type: ResourceType, _ reference: PolicyBinding.ParamRef, _ namespace: String
    ) async throws(APIFailure) -> [KubeObject] {
        switch reference {
        case .named(let name):
            let lookup = state.withLock { state in
                if let known = state.lookups[type] { return known }
                let made = ObjectLookup(registry, type)
                state.lookups[type] = made
                return made
            }
            return try await lookup.find(ObjectKey(namespace: namespace, name: name)).map { [$0] } ?? []
        case .selected(let selector):
            let list = state.withLock { state in
                if let known = state.lists[type] { return known }
                let made = KindIndex(registry, type) { $0 }
                state.lists[type] = made
                return made
            }
            return try await list.current().filter { object in
                (namespace.isEmpty || object.namespace == namespace) && selector.matches(object)
            }
        }
    }
}

/// Why a policy or its binding cannot be carried out.
struct PolicyFault: Error, Sendable, Hashable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
