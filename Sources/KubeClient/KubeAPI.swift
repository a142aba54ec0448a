package import KubeTypes
package import Wire

/// The API as our own programs use it. In one process it skips the socket, never the checks.
package protocol KubeAPI: Sendable {
    /// What serves a kind, as discovery tells: in the version named where that is served, else in the group's preferred one.
    func served(_ kind: String, apiVersion: String) async throws(APIFailure) -> ResourceType
    /// The object, or what the given subresource shows of it: `scale` shows an `autoscaling/v1` Scale.
    func get(_ type: ResourceType, _ key: ObjectKey, subresource: String?) async throws(APIFailure) -> KubeObject
    /// - Parameter namespace: empty for all namespaces.
    func list(_ type: ResourceType, namespace: String, _ selection: Selection) async throws(APIFailure) -> KubeList
    func create(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject
    /// Replaces the object, or the given subresource (`status`, `scale`). A `resourceVersion` in it guards the write.
    func update(_ type: ResourceType, _ object: KubeObject, subresource: String?) async throws(APIFailure) -> KubeObject
    func patch(
        _ type: ResourceType, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?
    ) async throws(APIFailure) -> KubeObject
    func delete(_ type: ResourceType, _ key: ObjectKey, _ options: DeleteOptions) async throws(APIFailure)
    /// Assigns a pod to a node, once: writes `spec.nodeName` and the condition `PodScheduled` through `pods/binding`.
    /// A conflict when the pod has a node already or is another pod than `uid` says.
    func bind(_ pod: ObjectKey, uid: String, node: String) async throws(APIFailure)
    /// Changes after `resourceVersion`, in order and without a gap. Ends by throwing `APIFailure` (410 when that version
    /// is compacted), or by finishing when the server goes away.
    func watch(
        _ type: ResourceType, namespace: String, _ selection: Selection, from resourceVersion: String
    ) async throws(APIFailure) -> AsyncThrowingStream<WatchEvent, any Error>
}

/// Which objects a list or watch is about. Empty strings select all. Syntax as in the API's query parameters.
package struct Selection: Sendable, Hashable {
    package var labels: String
    package var fields: String
    package init(labels: String = "", fields: String = "") {
        self.labels = labels
        self.fields = fields
    }
    package static let all = Selection()
}

package struct KubeList: Sendable {
    package var items: [KubeObject]
    package var resourceVersion: String
    package init(items: [KubeObject], resourceVersion: String) {
        self.items = items
        self.resourceVersion = resourceVersion
    }
}

package struct WatchEvent: Sendable {
    package enum Kind: String, Sendable {
        case added = "ADDED", modified = "MODIFIED", deleted = "DELETED", bookmark = "BOOKMARK"
    }
    package var kind: Kind
    package var object: KubeObject
    package init(_ kind: Kind, _ object: KubeObject) {
        self.kind = kind
        self.object = object
    }
}

package enum PatchKind: String, Sendable {
    case json = "application/json-patch+json"
    case merge = "application/merge-patch+json"
    case strategicMerge = "application/strategic-merge-patch+json"
    case apply = "application/apply-patch+yaml"
}

package struct DeleteOptions: Sendable {
    package enum Propagation: String, Sendable {
        case background = "Background", foreground = "Foreground", orphan = "Orphan"
    }
    package var gracePeriodSeconds: Int?
    package var propagation: Propagation?
    package var uid: String?
    package var resourceVersion: String?
    package init(
        gracePeriodSeconds: Int? = nil, propagation: Propagation? = nil, uid: String? = nil,
        resourceVersion: String? = nil
    ) {
        self.gracePeriodSeconds = gracePeriodSeconds
        self.propagation = propagation
        self.uid = uid
        self.resourceVersion = resourceVersion
    }
}

extension KubeAPI {
    package func get(_ type: ResourceType, _ key: ObjectKey) async throws(APIFailure) -> KubeObject {
        try await get(type, key, subresource: nil)
    }
    package func list(_ type: ResourceType) async throws(APIFailure) -> KubeList {
        try await list(type, namespace: "", .all)
    }
    package func update(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject {
        try await update(type, object, subresource: nil)
    }
    package func updateStatus(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject {
        try await update(type, object, subresource: "status")
    }
    package func delete(_ type: ResourceType, _ key: ObjectKey) async throws(APIFailure) {
        try await delete(type, key, DeleteOptions())
    }
}

extension APIFailure {
    /// As client-go says it.
    package static func noMatch(_ kind: String, group: String) -> APIFailure {
        APIFailure(
            code: 404, reason: "NotFound", message: "no matches for kind \"\(kind)\" in group \"\(group)\"",
            details: [:])
    }
}

extension SchemaCatalog {
    /// The resource a kind is asked for by: in the version that is named, or another one that is served.
    package func type(served kind: String, apiVersion: String) throws(APIFailure) -> ResourceType {
        guard let found = served(kind, apiVersion: apiVersion) else {
            throw .noMatch(kind, group: APIVersion.group(of: apiVersion))
        }
        return found.type
    }
}
