import KubeClient
import KubeTypes
import Wire

/// Empties a namespace that is being deleted, then lets it go.
struct NamespaceController: Controller {
    static let name = "namespace"

    private let plane: ControlPlane
    private let namespaces: Informer
    private let served: @Sendable () -> [ResourceType]

    /// - Parameter types: all that is served now.
    init(_ plane: ControlPlane, types: @escaping @Sendable () -> [ResourceType]) {
        self.plane = plane
        served = types
        namespaces = plane.informers.informer(.namespaces)
    }

    var needs: [Informer] { [namespaces] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        namespaces.onChange { change in
            if change.object.deletionTimestamp != nil, !change.isRemoval { queue.add(change.key) }
        }
        // Pods take their time to end; their going is what a namespace mostly waits for.
        let namespaces = namespaces
        plane.informers.informer(.pods).onChange { change in
            let home = ObjectKey(name: change.key.namespace)
            if change.isRemoval, namespaces.cache[home]?.deletionTimestamp != nil { queue.add(home) }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let namespace = namespaces.cache[key], namespace.deletionTimestamp != nil,
            namespace[Namespace.finalizers]?.contains("kubernetes") == true
        else { return .onChange }
        let all = served()
        // Events last: emptying a namespace makes some.
        let types = all.filter { $0.isNamespaced && $0 != .events } + all.filter { $0 == .events }
        var content = NamespaceContent()
        // Pods first: what they use must not go before them (KEP-5080).
        await empty(key.name, of: .pods, &content)
        if content.isEmpty {
            for type in types where type != .pods { await empty(key.name, of: type, &content) }
        }
        // What was deleted above is mostly gone now; look again before giving the namespace free.
        if content.isEmpty {
            for type in types { await count(key.name, of: type, &content) }
        }
        do throws(APIFailure) {
            try await write(content, to: namespace)
        } catch {
            guard error.isNotFound else { throw error }
            return .onChange
        }
        return content.isEmpty ? .onChange : .after(.seconds(1))
    }

    private func write(_ content: NamespaceContent, to namespace: KubeObject) async throws(APIFailure) {
        guard content.isEmpty else {
            var changed = namespace
            changed.status = content.status(of: namespace, now: plane.now())
            if changed.status != namespace.status { _ = try await plane.api.updateStatus(.namespaces, changed) }
            return
        }
        var free = namespace
        free[Namespace.finalizers] = (namespace[Namespace.finalizers] ?? []).filter { $0 != "kubernetes" }
        _ = try await plane.api.update(.namespaces, free, subresource: "finalize")
    }

    /// Deletes all objects of a type, and notes those that stay for a while.
    private func empty(_ namespace: String, of type: ResourceType, _ content: inout NamespaceContent) async {
        do throws(APIFailure) {
            let objects = try await plane.api.list(type, namespace: namespace, .all).items
            for object in objects where object.deletionTimestamp == nil {
                do throws(APIFailure) {
                    try await plane.api.delete(
                        type, object.key, DeleteOptions(propagation: .background, uid: object.uid))
                } catch {
                    guard error.isNotFound || error.isConflict else { throw error }
                }
            }
            if !objects.isEmpty {
                note(try await plane.api.list(type, namespace: namespace, .all).items, of: type, &content)
            }
        } catch {
            // A type the server does not know any more has no objects.
            if !error.isNotFound { content.failures.append("\(type.qualifiedName): \(error.message)") }
        }
    }

    private func count(_ namespace: String, of type: ResourceType, _ content: inout NamespaceContent) async {
        do throws(APIFailure) {
            note(try await plane.api.list(type, namespace: namespace, .all).items, of: type, &content)
        } catch {
            if !error.isNotFound { content.failures.append("\(type.qualifiedName): \(error.message)") }
        }
    }

    private func note(_ objects: [KubeObject], of type: ResourceType, _ content: inout NamespaceContent) {
        guard !objects.isEmpty else { return }
        content.left[type] = objects.count
        for object in objects {
            for finalizer in object.finalizers { content.held[finalizer, default: 0] += 1 }
        }
    }
}
