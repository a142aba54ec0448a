import KubeTypes
import Store
import Wire

extension Registry {
    /// How often a write without a guard starts over when somebody else was faster.
    static let attempts = 16

    /// Replaces an object, or one part of it.
    func update(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ object: KubeObject, subresource: String?,
        _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        let type = definition.type
        if !object.name.isEmpty, object.name != key.name {
            throw .badRequest(
                "the name of the object (\(object.name)) does not match the name on the URL (\(key.name))")
        }
        if !object.namespace.isEmpty, object.namespace != key.namespace {
            throw .badRequest(
                "the namespace of the object (\(object.namespace)) does not match the namespace on the URL (\(key.namespace))"
            )
        }
        if subresource != nil, definition.subresource(subresource ?? "") == nil { throw .notFound(type, key.name) }
        return try await change(definition, key, subresource: subresource, context) { _ throws(APIFailure) in object }
    }

    /// Reads, changes and writes an object; starts over when it was changed meanwhile, unless the change names a version.
    ///
    /// `body`: from the stored object to what shall be stored; called again at each start.
    func change(
        _ definition: ResourceDefinition, _ key: ObjectKey, subresource: String? = nil, _ context: WriteContext,
        _ body: (KubeObject) async throws(APIFailure) -> KubeObject
    ) async throws(APIFailure) -> KubeObject {
        let type = definition.type
        for attempt in 1... {
            let record = try record(definition, key)
            let old = try await shown(object(record, as: definition), as: definition)
            var fresh = try await body(old)
            let asked = fresh.resourceVersion
            if !asked.isEmpty, asked != old.resourceVersion { throw .conflict(type, key.name, Self.changedText) }
            if !fresh.uid.isEmpty, fresh.uid != old.uid {
                throw .conflict(
                    type, key.name,
                    "Precondition failed: UID in precondition: \(fresh.uid), UID in object meta: \(old.uid)")
            }
            try shape(&fresh, old: old, definition, subresource: subresource)
            definition.dropEmptyMembers(&fresh, old: old)
            if let written = try await write(
                definition, key, fresh, old: old, record, subresource: subresource, context)
            {
                return written
            }
            // Somebody was faster. A body that names a version fails at the next turn; a patch is applied anew.
            if attempt == Self.attempts { break }
        }
        throw .conflict(type, key.name, Self.changedText)
    }

    /// Leaves in the new object what this write may change, and the stored rest.
    private func shape(
        _ fresh: inout KubeObject, old: KubeObject, _ definition: ResourceDefinition, subresource: String?
    ) throws(APIFailure) {
        ObjectIdentity.keep(from: old, in: &fresh)
        // A client that knows nothing of managers leaves them as they are.
        if fresh.metadata["managedFields"]?.array == nil {
            fresh.json[path: ["metadata", "managedFields"]] = old.metadata["managedFields"]
        }
        fresh.json["apiVersion"] = old.json["apiVersion"]
        fresh.json["kind"] = old.json["kind"]
        switch subresource {
        case nil:
            if definition.hasStatus { fresh.json["status"] = old.json["status"] }
            // Finalizers of a namespace's content are removed through `finalize` only.
            if definition.type == .namespaces { fresh.json["spec"] = old.json["spec"] }
            // Once deletion began, no finalizer may be added.
            if old.deletionTimestamp != nil { try refuseFinalizers(fresh, old: old, definition.type) }
        case "status":
            var merged = old
            merged.json["status"] = fresh.json["status"]
            if definition.isCustom || definition.type == .nodes {
                var metadata = merged.metadata
                metadata["labels"] = fresh.metadata["labels"]
                metadata["annotations"] = fresh.metadata["annotations"]
                merged.json["metadata"] = metadata
            }
            fresh = merged
        case "approval":
            var merged = old
            merged.json[path: ["status", "conditions"]] = fresh.status["conditions"]
            fresh = merged
        case "finalize":
            var merged = old
            merged.json["spec"] = fresh.json["spec"]
            fresh = merged
        case "ephemeralcontainers": fresh = try PodParts.withEphemeralContainers(of: fresh, in: old)
        case "resize": fresh = try PodParts.withResources(of: fresh, in: old)
        default: break  // The subresource's own code has made the object whole.
        }
    }

    private func refuseFinalizers(_ fresh: KubeObject, old: KubeObject, _ type: ResourceType) throws(APIFailure) {
        let added = fresh.finalizers.filter { !old.finalizers.contains($0) }
        if added.isEmpty { return }
        let why = "no new finalizers can be added if the object is being deleted, found new finalizers"
        throw .invalid(type, old.name, [FieldFault(.forbidden, "metadata.finalizers", "\(why) \(added)")])
    }

    /// - Returns: `nil` when the stored object was changed since `record`.
    private func write(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ given: KubeObject, old: KubeObject, _ record: Record,
        subresource: String?, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject? {
        var object = given
        object.resourceVersion = old.resourceVersion
        definition.default(&object)
        let charge: QuotaCharge?
        (object, charge) = try await admitted(object, old: old, key, definition, subresource: subresource, context)
        do throws(APIFailure) {
            let written = try await keep(
                object, key, old: old, record, definition, subresource: subresource, context)
            await charge?.settle(stored: written != nil && !context.isDryRun)
            return written
        } catch {
            await charge?.settle(stored: false)
            throw error
        }
    }

    /// The object as admission and validation leave it.
    private func admitted(
        _ given: KubeObject, old: KubeObject, _ key: ObjectKey, _ definition: ResourceDefinition, subresource: String?,
        _ context: WriteContext
    ) async throws(APIFailure) -> (KubeObject, QuotaCharge?) {
        if context.isAdmitted {
            try validate(given, old: old, definition, subresource: subresource)
            return (given, nil)
        }
        if subresource == "scale" { return try await admittedScale(given, old: old, key, definition, context) }
        var request = AdmissionRequest(
            .update, definition.type, subresource: subresource, key, object: given, oldObject: old, context)
        try await mutate(&request, definition, key)
        if definition.type == .services, subresource == nil { try ServiceFields.settle(&request.object, old: old) }
        try validate(request.object, old: old, definition, subresource: subresource)
        for text in definition.warnings(request.object, old: old) { context.warn(text) }
        return (request.object, try await admission.validate(request))
    }

    /// - Returns: `nil` when the stored object was changed since `record`.
    private func keep(
        _ given: KubeObject, _ key: ObjectKey, old: KubeObject, _ record: Record, _ definition: ResourceDefinition,
        subresource: String?, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject? {
        let type = definition.type
        var object = given
        if subresource != "status", definition.asksForChange(from: old, to: object), old.metadata["generation"] != nil {
            object.json[path: ["metadata", "generation"]] = .int(Int64(old.generation + 1))
        }
        let claims = try await claimAddresses(for: &object, old: old, type, isDryRun: context.isDryRun)
        if isReadyToGo(object) {
            await giveUp(claims)
            guard !context.isDryRun else { return object }
            return try await remove(definition, key, object, record)
        }
        if ObjectIdentity.isSame(object, old), !isStale(record, definition.storageType), !isOutdated(record, definition)
        {
            await giveUp(claims)
            return old
        }
        recordManager(&object, old: old, definition, subresource: subresource, context)
        if context.isDryRun { return object }
        let written: Record?
        do throws(APIFailure) { written = try await updateRecord(record, object, definition) } catch {
            await giveUp(claims, after: error)
            throw error
        }
        guard let written else {
            await giveUp(claims)
            return nil
        }
        await releaseAddresses(old, keeping: object, type)
        object.resourceVersion = String(written.revision)
        return object
    }

    /// - Returns: `nil` when the stored object was changed since `record`.
    func updateRecord(
        _ record: Record, _ object: KubeObject, _ definition: ResourceDefinition
    ) async throws(APIFailure) -> Record? {
        let bytes = try encode(try await storable(object, definition), definition)
        do throws(StoreFailure) {
            let written = try await store.update(record.key, bytes, .revision(record.revision))
            writes.note(definition.type, isMembership: false)
            return written
        } catch {
            if case .changed = error { return nil }
            throw failure(error, definition.type, object.name)
        }
    }

    /// Whether nothing holds a deleted object any more: no finalizer, no grace period, no content.
    func isReadyToGo(_ object: KubeObject) -> Bool {
        guard object.deletionTimestamp != nil, object.finalizers.isEmpty else { return false }
        if (object.metadata["deletionGracePeriodSeconds"]?.int ?? 0) > 0 { return false }
        if object.kind == "Namespace", object.apiVersion == "v1" {
            return object.spec["finalizers"]?.array?.isEmpty ?? true
        }
        return true
    }

    /// - Returns: the object as it was last; `nil` when it was changed since `record`.
    func remove(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ last: KubeObject, _ record: Record
    ) async throws(APIFailure) -> KubeObject? {
        do throws(StoreFailure) {
            let gone = try await store.delete(record.key, .revision(record.revision))
            writes.note(definition.type, isMembership: true)
            await releaseAddresses(last, keeping: nil, definition.type)
            var object = last
            object.resourceVersion = String(gone.revision)
            return object
        } catch {
            if case .changed = error { return nil }
            throw failure(error, definition.type, key.name)
        }
    }
}
