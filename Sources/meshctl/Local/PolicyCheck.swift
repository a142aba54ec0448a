import KubeClient
import KubeTypes
import MeshModel

/// Looks at the policies of a set of manifests together with what the cluster has: references between them are followed.
struct PolicyCheck: Sendable {
    private var state = MeshState()

    /// Reads what policies can refer to.
    init(_ api: APIConnection, _ index: ResourceIndex) async throws {
        for type in MeshState.watched where index.type(apiVersion: type.apiVersion, kind: type.kind) != nil {
            for object in try await api.list(type) { _ = state.apply(type, object) }
        }
    }

    /// What is wrong with the manifests once all of them are there.
    func findings(_ manifests: [(manifest: Manifest, type: ResourceType)]) -> [(Manifest, PolicyFinding)] {
        var after = state
        for (manifest, type) in manifests { _ = after.apply(type, manifest.object) }
        let all = compile(after).findings
        return manifests.flatMap { manifest, type in
            let reference = PolicyReference(type, manifest.object.key)
            return all.filter { $0.object == reference }.map { (manifest, $0) }
        }
    }
}
