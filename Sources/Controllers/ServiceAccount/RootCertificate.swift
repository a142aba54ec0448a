import KubeClient
import KubeTypes
import Wire

/// Keeps the ConfigMap `kube-root-ca.crt`, by which pods know the API server, in every namespace.
struct RootCertificateController: Controller {
    static let name = "root-ca-certificate"
    private static let mapName = "kube-root-ca.crt"

    private let plane: ControlPlane
    private let namespaces: Informer
    private let maps: Informer
    private let certificate: String

    /// - Parameter certificate: the authority's certificates, PEM.
    init(_ plane: ControlPlane, certificate: String) {
        self.plane = plane
        self.certificate = certificate
        namespaces = plane.informers.informer(.namespaces)
        maps = plane.informers.informer(.configMaps)
    }

    var needs: [Informer] { [namespaces, maps] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        namespaces.onChange { queue.add($0.key) }
        maps.onChange { change in
            if change.key.name == Self.mapName { queue.add(ObjectKey(name: change.key.namespace)) }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard let namespace = namespaces.cache[key], namespace.deletionTimestamp == nil else { return .onChange }
        let data = ["ca.crt": certificate]
        let place = ObjectKey(namespace: key.name, name: Self.mapName)
        guard var found = maps.cache[place] else {
            var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: key.name, name: Self.mapName)
            map.annotations["kubernetes.io/description"] =
                "Certificates by which to verify the API server of this cluster."
            map[ConfigMap.data] = data
            try await plane.api.createUnlessThere(.configMaps, map)
            return .onChange
        }
        guard found[ConfigMap.data] != data else { return .onChange }
        found[ConfigMap.data] = data
        _ = try await plane.api.update(.configMaps, found)
        return .onChange
    }
}
