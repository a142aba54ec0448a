import KubeTypes
import Store
import Wire

extension Registry {
    /// `object`: already fitted to its schema.
    func create(
        _ definition: ResourceDefinition, namespace: String, _ given: KubeObject, _ context: WriteContext
    ) async throws(APIFailure) -> KubeObject {
        try await createStored(definition, namespace: namespace, given, context).whole
    }

    /// The same, with the record the store made of it.
    ///
    /// `given` is taken: who held on to it would make each change of it a copy.
    func createStored(
        _ definition: ResourceDefinition, namespace: String, _ given: consuming KubeObject, _ context: WriteContext
    ) async throws(APIFailure) -> WrittenObject {
        let type = definition.type
        guard definition.isStored else {
            throw APIFailure(
                code: 405, reason: "MethodNotAllowed",
                message: "\(type.qualifiedName) are not kept: ask over the server's socket")
        }
        if let custom = definition.custom, custom.isTerminating {
            throw APIFailure(
                code: 405, reason: "MethodNotAllowed",
                message: "create is not supported on resources of kind \"\(type.qualifiedName)\": their"
                    + " CustomResourceDefinition is being deleted",
                details: ["group": .string(type.group), "kind": .string(type.resource)])
        }
        var object = consume given
        try placeInNamespace(&object, type, namespace)
        if !object.resourceVersion.isEmpty {
            throw .badRequest("resourceVersion should not be set on objects to be created")
        }
        let prefix = object.metadata["generateName"]?.string ?? ""
        if object.name.isEmpty, prefix.isEmpty {
            throw .invalid(type, "", [FieldFault(.required, "metadata.name", "name or generateName is required")])
        }
        if !object.name.isEmpty { return try await createOnce(definition, consume object, context) }
        for attempt in 1... {
            object.name = ObjectIdentity.generatedName(prefix)
            do throws(APIFailure) {
                return try await createOnce(definition, object, context)
            } catch {
                guard error.alreadyExists, attempt < 8 else { throw error }
            }
        }
        throw .alreadyExists(type, object.name)
    }

    private func createOnce(
        _ definition: ResourceDefinition, _ given: consuming KubeObject, _ context: WriteContext
    ) async throws(APIFailure) -> WrittenObject {
        let type = definition.type
        // Asked before anything is taken for it; the store's own check is the one that counts.
        if exists(definition.storageType, given.key) { throw .alreadyExists(type, given.name) }
        var object = consume given
        prepare(&object, definition)
        definition.dropEmptyMembers(&object)
        definition.default(&object)
        // As in Kubernetes before admission: what that adds is nobody's.
        let managers = try await managersOfNew(&object, definition, context)
        let key = ObjectKey(namespace: object.namespace, name: object.name)
        var request = AdmissionRequest(.create, type, key, object: consume object, context)
        if !context.isAdmitted { try await mutate(&request, definition, key) }
        try validate(request.object, old: nil, definition)
        for text in definition.warnings(request.object) { context.warn(text) }
        let charge = context.isAdmitted ? nil : try await admission.validate(request)
        do throws(APIFailure) {
            let made = try await keep(request.object, managers, key, definition, context)
            await charge?.settle(stored: !context.isDryRun)
            return made
        } catch {
            await charge?.settle(stored: false)
            throw error
        }
    }

    /// Who manages a new object: noted in it where somebody will look at that, else as text to be stored with it.
    private func managersOfNew(
        _ object: inout KubeObject, _ definition: ResourceDefinition, _ context: WriteContext
    ) async throws(APIFailure) -> [UInt8] {
        if context.isApply || context.fieldManager.isEmpty { return [] }
        let isAlone = object.metadata["managedFields"] == nil && !context.isDryRun
        if isAlone, definition.custom?.conversion == nil, try await !admission.isObserved() {
            return definition.createdFields(object, manager: context.fieldManager, now: .now())
        }
        recordManager(&object, old: nil, definition, subresource: nil, context)
        return []
    }

    private func keep(
        _ given: KubeObject, _ managers: [UInt8], _ key: ObjectKey, _ definition: ResourceDefinition,
        _ context: WriteContext
    ) async throws(APIFailure) -> WrittenObject {
        let type = definition.type
        var object = given
        let claims = try await claimAddresses(for: &object, old: nil, type, isDryRun: context.isDryRun)
        if context.isDryRun { return WrittenObject(object: object, managers: managers, record: nil) }
        let record: Record
        do throws(APIFailure) { record = try await createRecord(object, managers, key, definition) } catch {
            await giveUp(claims, after: error)
            throw error
        }
        writes.note(type, isMembership: true)
        if definition.custom?.conversion == nil {
            return WrittenObject(object: object, managers: managers, record: record)
        }
        // What a webhook converts is not shown as it is stored.
        object.resourceVersion = String(record.revision)
        return WrittenObject(object: object, managers: managers, record: nil)
    }

    private func createRecord(
        _ object: KubeObject, _ managers: [UInt8], _ key: ObjectKey, _ definition: ResourceDefinition
    ) async throws(APIFailure) -> Record {
        let bytes = try encode(try await storable(object, definition), definition, managers)
        do throws(StoreFailure) {
            return try await store.create(StorageKey.key(definition.storageType, key), bytes)
        } catch {
            throw failure(error, definition.type, key.name)
        }
    }

    /// Runs mutating admission, and fits and defaults again what it made.
    func mutate(
        _ request: inout AdmissionRequest, _ definition: ResourceDefinition, _ key: ObjectKey
    ) async throws(APIFailure) {
        let outcome = try await admission.mutate(&request)
        if !outcome.isChanged { return }
        guard request.object.key == key else {
            throw .internalError(
                "admission changed the name of \(definition.type.kind) \(key) to \(request.object.label)")
        }
        if outcome.needsFitting {
            _ = try definition.fit(&request.object, fieldValidation: .ignore)
            definition.default(&request.object)
        }
    }

    private func placeInNamespace(_ object: inout KubeObject, _ type: ResourceType, _ namespace: String)
        throws(APIFailure)
    {
        if !type.isNamespaced {
            if !object.namespace.isEmpty {
                throw .badRequest("\(type.kind) \"\(object.name)\": metadata.namespace: it is not namespaced")
            }
            return
        }
        if object.namespace.isEmpty { object.namespace = namespace }
        if object.namespace.isEmpty { throw .badRequest("\(type.kind) \"\(object.name)\": a namespace is required") }
        if !namespace.isEmpty, object.namespace != namespace {
            throw .badRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
                    + " (\(object.namespace) is not \(namespace))")
        }
    }

    /// What the server decides of a new object.
    private func prepare(_ object: inout KubeObject, _ definition: ResourceDefinition) {
        object.metadata["uid"] = .string(ObjectIdentity.newUID())
        object.metadata["creationTimestamp"] = Timestamp.now().json
        object.metadata["deletionTimestamp"] = nil
        object.metadata["deletionGracePeriodSeconds"] = nil
        object.metadata["selfLink"] = nil
        object.metadata["generation"] = definition.isCustom || definition.schema.properties["spec"] != nil ? 1 : nil
        let type = definition.type
        switch type {
        // A node's agent creates it with all it knows of it.
        case .nodes: break
        case .namespaces:
            object.json["spec"] = ["finalizers": ["kubernetes"]]
            object.json["status"] = ["phase": "Active"]
            var labels = object.labels
            labels["kubernetes.io/metadata.name"] = object.name
            object.labels = labels
        case .pods: object.json["status"] = ["phase": "Pending"]
        default:
            if definition.hasStatus { object.json["status"] = nil }
        }
    }
}
