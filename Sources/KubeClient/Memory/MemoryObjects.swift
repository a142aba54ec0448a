import KubeTypes
import Wire

/// The objects behind a `MemoryAPI` and every change made to them, with the API server's rules for writes. A value: no lock, no stream.
struct MemoryObjects {
    struct Change {
        var revision: Int
        var type: ResourceType
        var before: KubeObject?
        /// `nil` when the object is gone; then `before` carries the revision of the deletion.
        var after: KubeObject?
    }

    private(set) var revision = 1
    /// Changes after `compacted`, oldest first.
    private(set) var changes: [Change] = []
    private(set) var compacted = 0
    private var stored: [ResourceType: [ObjectKey: KubeObject]] = [:]
    private var names = 0

    mutating func compact() {
        compacted = revision
        changes.removeAll()
    }

    func find(_ type: ResourceType, _ key: ObjectKey) throws(APIFailure) -> KubeObject {
        guard let object = stored[type]?[key] else { throw .notFound(type, key.name) }
        return object
    }

    func all(_ type: ResourceType, namespace: String) -> [KubeObject] {
        let objects = stored[type].map { Array($0.values) } ?? []
        let wanted = namespace.isEmpty ? objects : objects.filter { $0.namespace == namespace }
        return wanted.sorted { $0.key < $1.key }
    }

    // MARK: Writes

    mutating func create(_ type: ResourceType, _ new: KubeObject, now: Timestamp) throws(APIFailure) -> KubeObject {
        var object = new
        if object.name.isEmpty, let prefix = object.metadata["generateName"]?.string {
            names += 1
            object.name = prefix + Self.suffix(names)
        }
        try check(type, object)
        guard stored[type]?[object.key] == nil else { throw .alreadyExists(type, object.name) }
        guard object.resourceVersion.isEmpty else {
            throw .badRequest("resourceVersion should not be set on objects to be created")
        }
        if type.isNamespaced, let home = stored[.namespaces]?[ObjectKey(name: object.namespace)],
            home.deletionTimestamp != nil
        {
            throw APIFailure(
                code: 403, reason: "Forbidden",
                message:
                    "\(type.qualifiedName) \"\(object.name)\" is forbidden: unable to create new content in namespace "
                    + "\(object.namespace) because it is being terminated")
        }
        object.json[path: ["metadata", "uid"]] = .string(Self.uid(revision + 1))
        object.json[path: ["metadata", "creationTimestamp"]] = .string(now.description)
        object.json[path: ["metadata", "deletionTimestamp"]] = nil
        if type.countsGenerations { object.json[path: ["metadata", "generation"]] = 1 }
        if type.hasStatus, type != .nodes { object.json["status"] = nil }
        switch type {
        case .namespaces:
            object.json[path: ["spec", "finalizers"]] = ["kubernetes"]
            object.json[path: ["status", "phase"]] = "Active"
            object.labels["kubernetes.io/metadata.name"] = object.name
        case .pods: object.json[path: ["status", "phase"]] = "Pending"
        default: break
        }
        return save(type, object)
    }

    /// Stores an object as it is, with its status, as if it had always been there.
    mutating func seed(_ type: ResourceType, _ object: KubeObject, now: Timestamp) -> KubeObject {
        var object = object
        if object.uid.isEmpty { object.json[path: ["metadata", "uid"]] = .string(Self.uid(revision + 1)) }
        if object.creationTimestamp == nil {
            object.json[path: ["metadata", "creationTimestamp"]] = .string(now.description)
        }
        if type.countsGenerations, object.generation == 0 { object.json[path: ["metadata", "generation"]] = 1 }
        return save(type, object)
    }

    mutating func update(
        _ type: ResourceType, _ new: KubeObject, subresource: String?
    ) throws(APIFailure) -> KubeObject {
        let old = try find(type, new.key)
        if !new.resourceVersion.isEmpty, new.resourceVersion != old.resourceVersion {
            throw .conflict(
                type, new.name,
                "the object has been modified; please apply your changes to the latest version and try again")
        }
        if !new.uid.isEmpty, new.uid != old.uid {
            throw .conflict(
                type, new.name,
                "Precondition failed: UID in precondition: \(new.uid), UID in object meta: \(old.uid)")
        }
        var object: KubeObject
        switch subresource {
        case nil:
            try check(type, new)
            object = new
            for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
                object.json[path: ["metadata", field]] = old.metadata[field]
            }
            if type.hasStatus { object.json["status"] = old.json["status"] }
            if type == .namespaces { object.json[path: ["spec", "finalizers"]] = old.spec["finalizers"] }
            if type == .pods, old.spec["nodeName"]?.string != object.spec["nodeName"]?.string {
                throw Self.invalid(
                    type, new.name, "spec.nodeName may not be changed through update; use the binding subresource")
            }
        case "status":
            object = old
            object.json["status"] = new.json["status"]
        case "finalize" where type == .namespaces:
            object = old
            object.json[path: ["spec", "finalizers"]] = new.spec["finalizers"]
        case "scale": object = try Scale.apply(new, to: old, try Self.scalable(type, new.name))
        case .some(let name):
            throw .notFound(type, "\(new.name)/\(name)")
        }
        return finish(type, old: old, new: object)
    }

    mutating func delete(
        _ type: ResourceType, _ key: ObjectKey, _ options: DeleteOptions, now: Timestamp
    ) throws(APIFailure) {
        let old = try find(type, key)
        if let uid = options.uid, uid != old.uid {
            throw .conflict(
                type, key.name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(old.uid)")
        }
        if let version = options.resourceVersion, version != old.resourceVersion {
            throw .conflict(type, key.name, "the resourceVersion in the precondition is not that of the object")
        }
        var object = old
        switch options.propagation {
        case .foreground: object.finalizers = Array(Set(object.finalizers + ["foregroundDeletion"])).sorted()
        case .orphan: object.finalizers = Array(Set(object.finalizers + ["orphan"])).sorted()
        case .background, nil: break
        }
        let grace = type == .pods ? Self.grace(of: old, options) : 0
        let waits = grace > 0 || !object.finalizers.isEmpty || (type == .namespaces && Self.holdsContent(object))
        guard waits else {
            remove(type, old)
            return
        }
        if object.deletionTimestamp == nil {
            object.json[path: ["metadata", "deletionTimestamp"]] = .string((now + .seconds(grace)).description)
            object.json[path: ["metadata", "deletionGracePeriodSeconds"]] = .int(Int64(grace))
            if type.countsGenerations {
                object.json[path: ["metadata", "generation"]] = .int(Int64(old.generation + 1))
            }
        } else if type == .pods, let left = old.metadata["deletionGracePeriodSeconds"]?.int, grace < left {
            object.json[path: ["metadata", "deletionGracePeriodSeconds"]] = .int(Int64(grace))
        }
        if type == .namespaces { object.json[path: ["status", "phase"]] = "Terminating" }
        _ = finish(type, old: old, new: object)
    }

    mutating func bind(_ key: ObjectKey, uid: String, node: String, now: Timestamp) throws(APIFailure) {
        let old = try find(.pods, key)
        if !uid.isEmpty, uid != old.uid {
            throw .conflict(.pods, key.name, "the pod was replaced by another of the same name")
        }
        if old.deletionTimestamp != nil { throw .conflict(.pods, key.name, "the pod is being deleted") }
        if let taken = old.spec["nodeName"]?.string, !taken.isEmpty {
            throw .conflict(.pods, key.name, "pod \(key.name) is already assigned to node \"\(taken)\"")
        }
        var object = old
        object.json[path: ["spec", "nodeName"]] = .string(node)
        object.json[path: ["status", "conditions"]] = .array(
            (old.status["conditions"]?.array ?? []).filter { $0["type"]?.string != "PodScheduled" } + [
                ["type": "PodScheduled", "status": "True", "lastTransitionTime": .string(now.description)]
            ])
        _ = save(.pods, object)
    }

    /// What a subresource shows of an object.
    static func part(
        _ type: ResourceType, _ object: KubeObject, _ subresource: String?
    ) throws(APIFailure) -> KubeObject {
        subresource == "scale" ? try Scale.of(object, try scalable(type, object.name)) : object
    }

    private static func scalable(_ type: ResourceType, _ name: String) throws(APIFailure) -> ResourceDefinition {
        guard let definition = SchemaCatalog.builtIn.definition(of: type), definition.subresource("scale") != nil
        else { throw .notFound(type, "\(name)/scale") }
        return definition
    }

    // MARK: Rules

    /// Saves what a write made of `old`; an object whose last finalizer went away while it was being deleted is removed.
    private mutating func finish(_ type: ResourceType, old: KubeObject, new: KubeObject) -> KubeObject {
        var object = new
        object.resourceVersion = old.resourceVersion
        if object == old { return old }
        if type.countsGenerations, !Self.sameIntent(old, object), object.generation == old.generation {
            object.json[path: ["metadata", "generation"]] = .int(Int64(old.generation + 1))
        }
        let isDeleted =
            object.deletionTimestamp != nil && object.finalizers.isEmpty
            && !(type == .namespaces && Self.holdsContent(object))
            && (object.metadata["deletionGracePeriodSeconds"]?.int ?? 0) == 0
        if isDeleted {
            remove(type, object)
            return object
        }
        return save(type, object)
    }

    private mutating func save(_ type: ResourceType, _ new: KubeObject) -> KubeObject {
        revision += 1
        var object = new
        object.resourceVersion = String(revision)
        let before = stored[type]?[object.key]
        stored[type, default: [:]][object.key] = object
        changes.append(Change(revision: revision, type: type, before: before, after: object))
        return object
    }

    private mutating func remove(_ type: ResourceType, _ old: KubeObject) {
        revision += 1
        var last = old
        last.resourceVersion = String(revision)
        stored[type]?[old.key] = nil
        changes.append(Change(revision: revision, type: type, before: last, after: nil))
    }

    private func check(_ type: ResourceType, _ object: KubeObject) throws(APIFailure) {
        if object.name.isEmpty {
            throw Self.invalid(type, "", "metadata.name: Required value: name or generateName is required")
        }
        if type.isNamespaced, object.namespace.isEmpty {
            throw Self.invalid(type, object.name, "metadata.namespace: Required value")
        }
        if !type.isNamespaced, !object.namespace.isEmpty {
            throw Self.invalid(type, object.name, "metadata.namespace: Forbidden: not allowed on this type")
        }
        if object.kind != type.kind || object.apiVersion != type.apiVersion {
            throw .badRequest(
                "\(object.apiVersion) \(object.kind) \"\(object.name)\" does not belong to \(type): expected \(type.apiVersion) \(type.kind)"
            )
        }
    }

    /// Whether everything but metadata and status is the same.
    private static func sameIntent(_ one: KubeObject, _ other: KubeObject) -> Bool {
        func intent(_ object: KubeObject) -> JSON {
            var json = object.json
            json["metadata"] = nil
            json["status"] = nil
            return json
        }
        return intent(one) == intent(other)
    }

    private static func holdsContent(_ namespace: KubeObject) -> Bool {
        !(namespace.spec["finalizers"]?.array ?? []).isEmpty
    }

    /// Seconds a pod's processes get; none for a pod no node has, or one that has ended.
    private static func grace(of pod: KubeObject, _ options: DeleteOptions) -> Int {
        let phase = pod.status["phase"]?.string ?? ""
        if (pod.spec["nodeName"]?.string ?? "").isEmpty || phase == "Succeeded" || phase == "Failed" { return 0 }
        return options.gracePeriodSeconds ?? pod.spec["terminationGracePeriodSeconds"]?.int ?? 30
    }

    private static func invalid(_ type: ResourceType, _ name: String, _ why: String) -> APIFailure {
        APIFailure(code: 422, reason: "Invalid", message: "\(type.kind) \"\(name)\" is invalid: \(why)")
    }

    private static func uid(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return "00000000-0000-4000-8000-" + String(repeating: "0", count: max(0, 12 - digits.count)) + digits
    }

    /// Five letters and digits that no earlier name of this store got.
    private static func suffix(_ number: Int) -> String {
        let digits = String(number, radix: 36)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}

extension ResourceType {
    /// Whether writes to the object itself leave its status alone.
    var hasStatus: Bool {
        let without: Set<ResourceType> = [
            .configMaps, .secrets, .events, .leases, .endpoints, .endpointSlices, .serviceAccounts,
        ]
        return !without.contains(self)
    }

    var countsGenerations: Bool {
        let without: Set<ResourceType> = [
            .configMaps, .secrets, .events, .leases, .endpoints, .serviceAccounts, .namespaces, .nodes, .services,
        ]
        return !without.contains(self)
    }
}
