import KubeClient
package import KubeTypes
package import Wire

/// A request on its way to the store, or to a pod, as admission sees it.
package struct AdmissionRequest: Sendable {
    package enum Operation: String, Sendable {
        case create = "CREATE", update = "UPDATE", delete = "DELETE", connect = "CONNECT"
    }
    package var operation: Operation
    /// The resource, in the version the client speaks.
    package var type: ResourceType
    package var subresource: String?
    /// What `object` is: an object of the resource, or the subresource's own kind, such as a Scale or a Binding.
    package var kind: ObjectKind
    /// For a Namespace its own name, as Kubernetes has it.
    package var namespace: String
    /// Empty while a generated name is not chosen yet.
    package var name: String
    /// The object as it would be stored; for a deletion, the one to be deleted.
    package var object: KubeObject
    package var oldObject: KubeObject?
    /// Steps see the object a second time, since a later one has changed it.
    package var isSecondRound = false
    private let context: WriteContext

    init(
        _ operation: Operation, _ type: ResourceType, subresource: String? = nil, kind: ObjectKind? = nil,
        _ key: ObjectKey, object: KubeObject, oldObject: KubeObject? = nil, _ context: WriteContext
    ) {
        self.operation = operation
        self.type = type
        self.subresource = subresource
        self.kind = kind ?? ObjectKind(type)
        namespace = type == .namespaces ? key.name : key.namespace
        name = key.name
        self.object = object
        self.oldObject = oldObject
        self.context = context
    }

    package var user: User { context.user }
    package var isDryRun: Bool { context.isDryRun }
    /// The options of the request, as an object of `meta.k8s.io/v1`.
    package var options: JSON { context.options(for: operation) }
    /// For the client: a text for a `Warning` header.
    package func warn(_ text: String) { context.warn(text) }
    /// For the audit log.
    package func annotate(_ key: String, _ value: String) { context.annotate(key, value) }

    /// The object that selectors and expressions call `object`: a deletion has none.
    package var newObject: KubeObject? { operation == .delete ? nil : object }
}

/// A kind of object, in one version.
package struct ObjectKind: Sendable, Hashable {
    package var group: String
    package var version: String
    package var kind: String

    package init(group: String, version: String, kind: String) {
        self.group = group
        self.version = version
        self.kind = kind
    }

    package init(_ type: ResourceType) {
        self.init(group: type.group, version: type.version, kind: type.kind)
    }

    /// From `apps/v1`.
    init(apiVersion: String, kind: String) {
        let parts = apiVersion.split(separator: "/", maxSplits: 1)
        let version = parts.last.map(String.init) ?? ""
        self.init(group: parts.count > 1 ? String(parts[0]) : "", version: version, kind: kind)
    }

    package var json: JSON { ["group": .string(group), "version": .string(version), "kind": .string(kind)] }
}

extension WriteContext {
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions`; a connection's options are its object.
    fileprivate func options(for operation: AdmissionRequest.Operation) -> JSON {
        let kind: String
        switch operation {
        case .create: kind = "CreateOptions"
        case .update: kind = "UpdateOptions"
        case .delete: kind = "DeleteOptions"
        case .connect: return .null
        }
        var json: JSON = ["kind": .string(kind), "apiVersion": "meta.k8s.io/v1"]
        if isDryRun { json["dryRun"] = ["All"] }
        if operation != .delete {
            if !fieldManager.isEmpty { json["fieldManager"] = .string(fieldManager) }
            json["fieldValidation"] = .string(fieldValidation.rawValue)
            return json
        }
        guard let deletion else { return json }
        json["gracePeriodSeconds"] = deletion.gracePeriodSeconds.map { .int(Int64($0)) }
        json["propagationPolicy"] = deletion.propagation.map { .string($0.rawValue) }
        if deletion.uid != nil || deletion.resourceVersion != nil {
            var conditions = JSON.object(JSONObject())
            conditions["uid"] = deletion.uid.map(JSON.string)
            conditions["resourceVersion"] = deletion.resourceVersion.map(JSON.string)
            json["preconditions"] = conditions
        }
        return json
    }
}
