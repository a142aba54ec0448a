import CEL
import KubeTypes
import Wire

/// A MutatingAdmissionPolicy, compiled.
struct MutatingPolicy: CompiledPolicy {
    enum Mutation: Sendable {
        case apply(Result<Program, CompilationFault>)
        case patch(Result<Program, CompilationFault>)
    }
    let common: AdmissionPolicy
    let mutations: [Mutation]
    let mayBeAskedAgain: Bool

    init(_ object: KubeObject) {
        common = AdmissionPolicy(object, types: MutationTypes())
        let environment = common.environment
        mutations = (object.spec["mutations"]?.array ?? []).map { json in
            if json["patchType"] == "JSONPatch" {
                let text = json["jsonPatch"]?["expression"]?.string ?? ""
                return .patch(AdmissionExpressions.compile(text, MutationTypes.patches, environment))
            }
            let text = json["applyConfiguration"]?["expression"]?.string ?? ""
            return .apply(AdmissionExpressions.compile(text, MutationTypes.object, environment))
        }
        mayBeAskedAgain = object.spec["reinvocationPolicy"]?.string == "IfNeeded"
    }
}

/// The types mutations make: `Object{spec: Object.spec{…}}` with whatever fields the kind has, and `JSONPatch{…}`.
struct MutationTypes: TypeProvider {
    private static let patchType = ObjectType(
        "JSONPatch", ["op": .string, "path": .string, "from": .string, "value": .dyn])

    static let object = ValueType.object(ObjectType("Object", [:], isOpen: true))
    static let patches = ValueType.list(.object(patchType))

    func type(named name: String) -> ObjectType? {
        if name == Self.patchType.name { return Self.patchType }
        if name == "Object" || name.hasPrefix("Object.") { return ObjectType(name, [:], isOpen: true) }
        return nil
    }
}

/// Changes objects as the cluster's MutatingAdmissionPolicies say.
struct MutatingPolicyAdmission: Sendable {
    let objects: AdmissionObjects
    let selection: PolicySelection
    let policies: BoundPolicies<MutatingPolicy>

    init(_ selection: PolicySelection) {
        self.selection = selection
        objects = selection.objects
        policies = BoundPolicies(
            objects.registry, AdmissionKind.mutatingPolicies, AdmissionKind.mutatingBindings)
    }

    /// - Returns: whether the object was changed.
    func admit(_ request: inout AdmissionRequest, _ rounds: inout MutationRounds) async throws(APIFailure) -> Bool {
        // There is nothing to change in a deletion.
        if request.operation == .delete { return false }
        var isChanged = false
        for (policy, binding) in try await policies.pairs(for: request) {
            let id = "\(policy.common.name)/\(binding.name)"
            if request.isSecondRound, !(policy.mayBeAskedAgain && rounds.due.contains(id)) { continue }
            guard let type = try await selection.version(policy.common, binding, request) else { continue }
            if policy.mayBeAskedAgain { rounds.note(id) }
            let before = request.object
            try await apply(policy, binding, &request, as: type)
            if request.object == before { continue }
            rounds.changed(by: id, to: request.object)
            isChanged = true
        }
        return isChanged
    }

    private func apply(
        _ policy: MutatingPolicy, _ binding: PolicyBinding, _ request: inout AdmissionRequest, as type: ResourceType
    ) async throws(APIFailure) {
        let start = request.object
        do throws(PolicyFault) {
            for params in try await selection.params.values(policy.common, binding, request) {
                try await mutate(policy, &request, as: type, params)
            }
        } catch {
            request.object = start
            if policy.common.ignoresFailure { return }
            throw .denied(
                request,
                "MutatingAdmissionPolicy '\(policy.common.name)' with binding '\(binding.name)' denied request: \(error)",
                reason: "")
        }
    }

    private func mutate(
        _ policy: MutatingPolicy, _ request: inout AdmissionRequest, as type: ResourceType, _ params: Value
    ) async throws(PolicyFault) {
        let inputs = try await inputs(request, as: type)
        switch selection.verdict(policy.common, request, inputs, params, isMutating: true) {
        case .fails: return
        case .error(let why): throw PolicyFault(why)
        case .holds: break
        }
        var budget = CostBudget()
        for mutation in policy.mutations {
            // Each sees what those before it have made.
            let values = policy.common.inputs(try await self.inputs(request, as: type), params: params)
            let shown = selection.shown(request.object, of: request, as: type)
            let changed: KubeObject
            switch mutation {
            case .patch(let program):
                changed = try Self.patched(shown, try Self.value(program, values, &budget))
            case .apply(let program):
                changed = try applied(try Self.value(program, values, &budget), to: shown, type)
            }
            request.object = try fitted(changed, request, as: type)
        }
    }

    private func inputs(
        _ request: AdmissionRequest, as type: ResourceType
    ) async throws(PolicyFault) -> AdmissionInputs {
        do throws(APIFailure) { return try await selection.inputs(request, as: type) } catch {
            throw PolicyFault(error.message)
        }
    }

    private static func value(
        _ program: Result<Program, CompilationFault>, _ inputs: [Value?], _ budget: inout CostBudget
    ) throws(PolicyFault) -> Value {
        do {
            return try program.get().evaluate(inputs, budget: &budget)
        } catch {
            let text = (try? program.get().text) ?? ""
            throw PolicyFault("expression '\(text.trimmedOfSpace)' resulted in error: \(error)")
        }
    }

    private static func patched(_ object: KubeObject, _ value: Value) throws(PolicyFault) -> KubeObject {
        guard let json = value.json else { throw PolicyFault("the JSONPatch has values that JSON cannot say") }
        do throws(PatchFault) {
            return KubeObject(try JSONPatch(json).applied(to: object.json))
        } catch {
            throw PolicyFault("the JSONPatch cannot be applied: \(error)")
        }
    }

    /// Merges as server-side apply does, with nobody owning anything.
    private func applied(
        _ value: Value, to object: KubeObject, _ type: ResourceType
    ) throws(PolicyFault) -> KubeObject {
        guard let made = value.json, made.object != nil else {
            throw PolicyFault("the ApplyConfiguration has values that JSON cannot say")
        }
        guard let definition = objects.registry.catalog.definition(of: type) else {
            throw PolicyFault("\(type) is not served")
        }
        var wanted = made
        for member in ["apiVersion", "kind"] { wanted[member] = object.json[member] }
        if wanted["metadata"]?["managedFields"] != nil {
            throw PolicyFault("the ApplyConfiguration must not change metadata.managedFields")
        }
        do throws(APIFailure) {
            let (fitting, _) = try definition.decode(wanted, fieldValidation: .strict)
            var result = try definition.apply(
                fitting, to: object, manager: "mutating-admission-policy", force: true, now: .now())
            result.json[path: ["metadata", "managedFields"]] = object.metadata["managedFields"]
            return result
        } catch {
            throw PolicyFault("error applying patch: \(error.message)")
        }
    }

    private func fitted(
        _ changed: KubeObject, _ request: AdmissionRequest, as type: ResourceType
    ) throws(PolicyFault) -> KubeObject {
        var object = changed
        guard object.json.object != nil else { throw PolicyFault("the mutation leaves no object") }
        guard request.kind == ObjectKind(request.type), let definition = objects.registry.catalog.definition(of: type)
        else { return object }
        do throws(APIFailure) {
            _ = try definition.fit(&object, fieldValidation: .strict)
        } catch {
            throw PolicyFault(error.message)
        }
        definition.default(&object)
        return selection.shown(object, of: request, as: request.type)
    }
}
