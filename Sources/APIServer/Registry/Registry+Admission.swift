import KubeTypes
import Wire

/// Requests to parts of objects that are not writes of the object itself.
extension Registry {
    /// Runs admission for a part of an object with a kind of its own: a Binding, an Eviction, a TokenRequest.
    ///
    /// - Returns: the part as admission leaves it.
    func admitPart(
        _ type: ResourceType, _ subresource: String, _ key: ObjectKey, _ part: KubeObject, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        let chain = admission
        let kind = ObjectKind(apiVersion: part.apiVersion, kind: part.kind)
        var request = AdmissionRequest(
            .create, type, subresource: subresource, kind: kind, key, object: part, context)
        _ = try await chain.mutate(&request)
        _ = try await chain.validate(request)
        return request.object
    }

    /// Runs admission for an object that is answered and not kept: a TokenReview, a SubjectAccessReview.
    func admitReview(
        _ definition: ResourceDefinition, namespace: String, _ object: KubeObject, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        let chain = admission
        let key = ObjectKey(namespace: definition.type.isNamespaced ? namespace : "", name: object.name)
        var request = AdmissionRequest(.create, definition.type, key, object: object, context)
        let outcome = try await chain.mutate(&request)
        if outcome.needsFitting { _ = try definition.fit(&request.object, fieldValidation: .ignore) }
        _ = try await chain.validate(request)
        return request.object
    }

    /// Runs admission for a TokenRequest; gives it as admission leaves it.
    func admitToken(_ account: ObjectKey, _ body: JSON, _ context: WriteContext) async throws(APIFailure) -> JSON {
        var part = KubeObject(body)
        part.json["apiVersion"] = "authentication.k8s.io/v1"
        part.json["kind"] = "TokenRequest"
        return try await admitPart(.serviceAccounts, "token", account, part, context).json
    }

    /// Runs admission for a connection to a pod, service or node: exec, attach, port-forward, proxy.
    ///
    /// - Parameter options: the parameters as an object, such as PodExecOptions.
    func admitConnection(
        _ type: ResourceType, _ subresource: String, _ key: ObjectKey, _ options: KubeObject, _ user: User,
        warn: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws(APIFailure) {
        var context = WriteContext(user: user)
        context.warn = warn
        let chain = admission
        let kind = ObjectKind(apiVersion: options.apiVersion, kind: options.kind)
        var request = AdmissionRequest(
            .connect, type, subresource: subresource, kind: kind, key, object: options, context)
        _ = try await chain.mutate(&request)
        _ = try await chain.validate(request)
    }

    /// A change through `scale` is shown to admission as the Scale it is.
    func admittedScale(
        _ object: KubeObject, old: KubeObject, _ key: ObjectKey, _ definition: ResourceDefinition,
        _ context: WriteContext
    ) async throws(APIFailure) -> (KubeObject, QuotaCharge?) {
        let chain = admission
        let kind = ObjectKind(group: "autoscaling", version: "v1", kind: "Scale")
        let wanted = try Scale.of(object, definition)
        var request = AdmissionRequest(
            .update, definition.type, subresource: "scale", kind: kind, key, object: wanted,
            oldObject: try Scale.of(old, definition),
            context)
        _ = try await chain.mutate(&request)
        var object = object
        if request.object != wanted { object = try Scale.apply(request.object, to: object, definition) }
        try validate(object, old: old, definition)
        return (object, try await chain.validate(request))
    }
}
