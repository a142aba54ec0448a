import KubeClient
import KubeTypes
import Wire

/// Keeps the service account `default` in every namespace: pods that name none run as it.
struct DefaultServiceAccountController: Controller {
    static let name = "serviceaccount"

    private let plane: ControlPlane
    private let namespaces: Informer
    private let accounts: Informer

    init(_ plane: ControlPlane) {
        self.plane = plane
        namespaces = plane.informers.informer(.namespaces)
        accounts = plane.informers.informer(.serviceAccounts)
    }

    var needs: [Informer] { [namespaces, accounts] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        namespaces.onChange { queue.add($0.key) }
        accounts.onChange { change in
            if change.isRemoval, change.key.name == "default" { queue.add(ObjectKey(name: change.key.namespace)) }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let namespace = namespaces.cache[key], namespace.deletionTimestamp == nil else { return .onChange }
        guard accounts.cache[ObjectKey(namespace: key.name, name: "default")] == nil else { return .onChange }
        let account = KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: key.name, name: "default")
        try await plane.api.createUnlessThere(.serviceAccounts, account)
        return .onChange
    }
}

extension KubeAPI {
    /// Creates an object; one of that name that is there already is left alone, as is a namespace that is ending.
    func createUnlessThere(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) {
        do throws(APIFailure) {
            _ = try await create(type, object)
        } catch {
            guard error.alreadyExists || error.isNotFound || error.isNamespaceEnding else { throw error }
        }
    }
}
