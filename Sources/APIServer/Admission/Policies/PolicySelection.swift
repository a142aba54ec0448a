import CEL
import KubeTypes
import Wire

/// What decides whether a policy is about a request, and what its expressions see.
struct PolicySelection: Sendable {
    let objects: AdmissionObjects
    let params: PolicyParams
    let authorizer: AdmissionAuthorizer
    let metrics: WebhookMetrics

    init(objects: AdmissionObjects, authorizer: AdmissionAuthorizer, metrics: WebhookMetrics) {
        self.objects = objects
        self.metrics = metrics
        self.authorizer = authorizer
        params = PolicyParams(objects.registry)
    }

    /// - Returns: the version in which expressions see the object; `nil` when the request is none of the policy's business.
    func version(
        _ policy: AdmissionPolicy, _ binding: PolicyBinding, _ request: AdmissionRequest
    ) async throws(APIFailure) -> ResourceType? {
        let versions = versions(request)
        guard let type = policy.match.version(of: request, among: versions) else { return nil }
        guard policy.match.selectsObject(request), try await policy.match.selectsNamespace(request, objects) else {
            return nil
        }
        guard let match = binding.match else { return type }
        // A binding without rules narrows by its selectors only.
        if !match.rules.isEmpty || !match.excluded.isEmpty {
            var narrowed = match
            if narrowed.rules.isEmpty { narrowed.rules = policy.match.rules }
            guard narrowed.version(of: request, among: versions) != nil else { return nil }
        }
        guard match.selectsObject(request), try await match.selectsNamespace(request, objects) else { return nil }
        return type
    }

    func verdict(
        _ policy: AdmissionPolicy, _ request: AdmissionRequest, _ inputs: AdmissionInputs, _ params: Value,
        isMutating: Bool
    ) -> MatchConditions.Verdict {
        if policy.conditions.isEmpty { return .holds }
        var values = inputs.values
        values.append(inputs.namespace)
        if policy.paramKind != nil { values.append(params) }
        let verdict = policy.conditions.verdict(values)
        let call = WebhookMetrics.Call(name: policy.name, operation: request.operation, isMutating: isMutating)
        metrics.note(verdict, call, isPolicy: true)
        return verdict
    }

    func inputs(_ request: AdmissionRequest, as type: ResourceType) async throws(APIFailure) -> AdmissionInputs {
        var namespace: KubeObject?
        if request.type.isNamespaced { namespace = try await objects.namespace(request.namespace) }
        return AdmissionInputs(
            request, as: type, object: request.newObject.map { shown($0, of: request, as: type) },
            old: request.oldObject.map { shown($0, of: request, as: type) }, namespace: namespace,
            authorizer: authorizer)
    }

    private func versions(_ request: AdmissionRequest) -> [ResourceType] {
        request.versions(in: objects.registry.catalog)
    }

    func shown(_ object: KubeObject, of request: AdmissionRequest, as type: ResourceType) -> KubeObject {
        request.shown(object, as: type, in: objects.registry.catalog)
    }
}

extension AdmissionRequest {
    /// The resource in all served versions, best first.
    func versions(in catalog: SchemaCatalog) -> [ResourceType] {
        guard let definition = catalog.definition(of: type) else { return [] }
        return definition.servedVersions.compactMap { version in
            catalog.definition(group: type.group, version: version, resource: type.resource)?.type
        }
    }

    /// An object of the request in another version of its resource.
    func shown(_ object: KubeObject, as other: ResourceType, in catalog: SchemaCatalog) -> KubeObject {
        guard kind == ObjectKind(type), object.apiVersion != other.apiVersion,
            let definition = catalog.definition(of: other)
        else { return object }
        return definition.presented(definition.stored(object))
    }
}
