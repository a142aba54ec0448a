import KubeClient
import KubeTypes
import Store
import Wire

/// What a deletion came to.
enum Deletion: Sendable {
    case removed(KubeObject)
    /// Marked; a finalizer or a grace period holds it.
    case pending(KubeObject)

    var object: KubeObject {
        switch self {
        case .removed(let object), .pending(let object): object
        }
    }
}

extension Registry {
    func delete(
        _ definition: ResourceDefinition, _ key: ObjectKey, _ options: DeleteOptions, _ context: WriteContext
    ) async throws(APIFailure) -> Deletion {
        let type = definition.type
        for _ in 1...Self.attempts {
            let record = try record(definition, key)
            let old = object(record, as: definition)
            try checkPreconditions(old, options, type)
            if !context.isAdmitted {
                var context = context
                context.deletion = options
                var request = AdmissionRequest(.delete, type, key, object: old, oldObject: old, context)
                _ = try await admission.mutate(&request)
                _ = try await admission.validate(request)
            }
            let marked = marked(old, options, definition)
            if isReadyToGo(marked) {
                if context.isDryRun { return .removed(marked) }
                if let gone = try await remove(definition, key, marked, record) { return .removed(gone) }
                continue
            }
            if context.isDryRun || ObjectIdentity.isSame(marked, old) { return .pending(marked) }
            if let written = try await updateRecord(record, marked, definition) {
                return .pending(object(written, as: definition))
            }
        }
        throw .conflict(type, key.name, Self.changedText)
    }

    private func checkPreconditions(_ old: KubeObject, _ options: DeleteOptions, _ type: ResourceType)
        throws(APIFailure)
    {
        if let uid = options.uid, uid != old.uid {
            throw .conflict(
                type, old.name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(old.uid)")
        }
        if let version = options.resourceVersion, version != old.resourceVersion {
            throw .conflict(
                type, old.name,
                "Precondition failed: ResourceVersion in precondition: \(version), ResourceVersion in object meta: \(old.resourceVersion)"
            )
        }
    }

    /// The object with its deletion begun, or hastened when it had begun before.
    private func marked(_ old: KubeObject, _ options: DeleteOptions, _ definition: ResourceDefinition) -> KubeObject {
        var object = old
        let grace = gracePeriod(old, options, definition.type)
        let before = old.metadata["deletionGracePeriodSeconds"]?.int
        if old.deletionTimestamp == nil {
            object.json[path: ["metadata", "deletionTimestamp"]] = Self.end(of: grace).json
            object.json[path: ["metadata", "deletionGracePeriodSeconds"]] = .int(Int64(grace))
            if let generation = old.metadata["generation"]?.int {
                object.json[path: ["metadata", "generation"]] = .int(Int64(generation + 1))
            }
        } else if let before, grace < before {
            object.json[path: ["metadata", "deletionTimestamp"]] = Self.end(of: grace).json
            object.json[path: ["metadata", "deletionGracePeriodSeconds"]] = .int(Int64(grace))
        }
        if definition.type == .namespaces { object.json[path: ["status", "phase"]] = "Terminating" }
        if definition.type == .customResourceDefinitions {
            var crd = CustomDefinition(object)
            crd.prepareForDeletion(now: .now())
            object = crd.object
        }
        var finalizers = object.finalizers.filter { name in
            switch options.propagation {
            case .foreground, .background: name != "orphan" && name != "foregroundDeletion"
            case .orphan: name != "foregroundDeletion"
            case nil: true
            }
        }
        switch options.propagation {
        case .foreground where !finalizers.contains("foregroundDeletion"): finalizers.append("foregroundDeletion")
        case .orphan where !finalizers.contains("orphan"): finalizers.append("orphan")
        default: break
        }
        if finalizers != object.finalizers { object.finalizers = finalizers }
        return object
    }

    /// When a grace period that begins now ends; of those no clock can show, a century from now.
    private static func end(of grace: Int) -> Timestamp { Timestamp.now() + .seconds(min(grace, 3_155_760_000)) }

    /// Seconds until the object may go. Only pods that run somewhere need any: their node deletes them with 0 when they ended.
    private func gracePeriod(_ object: KubeObject, _ options: DeleteOptions, _ type: ResourceType) -> Int {
        guard type == .pods else { return 0 }
        let phase = object.status["phase"]?.string ?? ""
        if (object.spec["nodeName"]?.string ?? "").isEmpty || phase == "Succeeded" || phase == "Failed" { return 0 }
        let wanted = options.gracePeriodSeconds ?? object.spec["terminationGracePeriodSeconds"]?.int ?? 30
        return max(0, wanted)
    }

    func deleteCollection(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection, _ options: DeleteOptions,
        _ context: WriteContext
    ) async throws(APIFailure) -> ListResult {
        var found = try list(definition, namespace: namespace, selection)
        for (index, item) in found.items.enumerated() {
            var guarded = options
            guarded.uid = item.uid
            do throws(APIFailure) {
                found.items[index] = try await delete(definition, item.key, guarded, context).object
            } catch {
                // It went away by itself, or made room for another of its name.
                if !error.isNotFound, !error.isConflict { throw error }
            }
        }
        return found
    }
}
