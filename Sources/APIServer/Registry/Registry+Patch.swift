import KubeClient
import KubeTypes
import Wire

extension Registry {
    /// Changes an object by a patch of any kind. A patch that is beaten by another write is applied anew to what that one left.
    func patch(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?,
        _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        if kind == .apply { return try await apply(definition, key, body, subresource: subresource, context) }
        let bytes = body.bytes
        return try await change(definition, key, subresource: subresource, context) { old throws(APIFailure) in
            var fresh = old
            let warnings = try definition.patch(
                &fresh, contentType: kind.rawValue, body: bytes, fieldValidation: context.fieldValidation)
            for text in warnings { context.warn(text) }
            return fresh
        }
    }

    /// Server-side apply: changes the object, or creates it.
    private func apply(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ body: JSON, subresource: String?, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        let type = definition.type
        if context.fieldManager.isEmpty {
            throw .badRequest("query parameter fieldManager: it is required for apply patch")
        }
        let (applied, warnings) = try definition.decode(body, fieldValidation: context.fieldValidation)
        for text in warnings { context.warn(text) }
        if applied.name != key.name {
            throw .badRequest("metadata.name \"\(applied.name)\" does not match the name in the URL, \"\(key.name)\"")
        }
        if !applied.namespace.isEmpty, applied.namespace != key.namespace {
            throw .badRequest(
                "metadata.namespace \"\(applied.namespace)\" does not match the namespace in the URL, \"\(key.namespace)\""
            )
        }
        var context = context
        context.isApply = true
        for _ in 1...Self.attempts {
            guard exists(definition.storageType, key) else {
                if subresource != nil { throw .notFound(type, key.name) }
                if !applied.resourceVersion.isEmpty {
                    throw .conflict(type, key.name, "the object to be changed does not exist")
                }
                let fresh = try definition.apply(
                    applied, to: nil, manager: context.fieldManager, force: context.force, now: .now())
                do throws(APIFailure) {
                    return try await create(definition, namespace: key.namespace, fresh, context)
                } catch {
                    guard error.alreadyExists else { throw error }
                    continue
                }
            }
            let forced = context
            return try await change(definition, key, subresource: subresource, forced) { old throws(APIFailure) in
                try definition.apply(
                    applied, to: old, manager: forced.fieldManager, force: forced.force, now: .now(),
                    subresource: subresource ?? "")
            }
        }
        throw .conflict(type, key.name, Self.changedText)
    }

    /// Notes in `managedFields` who wrote what. Apply has done so itself.
    func recordManager(
        _ object: inout KubeObject, old: KubeObject?, _ definition: ResourceDefinition, subresource: String?,
        _ context: WriteContext
    ) {
        if context.isApply || context.fieldManager.isEmpty { return }
        var before = old
        if let given = object.metadata["managedFields"]?.array, old != nil, given.isEmpty || given == [[:]] {
            // A client that empties the record: nobody owns anything from now on.
            object.json[path: ["metadata", "managedFields"]] = nil
            return
        }
        // A client that changes the record itself, as kubectl does to move from one way of applying to the other, is believed.
        if let given = object.metadata["managedFields"]?.array, !given.isEmpty, before != nil {
            before?.json[path: ["metadata", "managedFields"]] = .array(given)
        }
        definition.trackUpdate(
            from: before, to: &object, manager: context.fieldManager, now: .now(), subresource: subresource ?? "")
    }
}
