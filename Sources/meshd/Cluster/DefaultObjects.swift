import KubeClient
import KubeTypes
import MeshControl
import Wire

/// The gateway and the default policies, from `proxies/gateway` and `policies/defaults`. What a user changed stays.
struct DefaultObjects {
    let api: any KubeAPI
    let image: String
    let gatewayPort: Int

    func ensure() async throws {
        for object in try ProxyTemplates.defaults(image: image) {
            guard let type = Self.types.first(where: { $0.apiVersion == object.apiVersion && $0.kind == object.kind })
            else {
                throw StartFailed("\(object.label): no default object may be of this kind")
            }
            do throws(APIFailure) { _ = try await api.create(type, prepared(object)) } catch {
                guard error.alreadyExists else { throw error }
                if type == .deployments { try await refresh(prepared(object)) }
            }
        }
    }

    /// The gateway's pods follow the image and the port of this daemon, whoever made the Deployment.
    private func refresh(_ wanted: KubeObject) async throws(APIFailure) {
        let live = try await api.get(.deployments, wanted.key)
        let annotations = wanted[Field<[String: String]>("spec", "template", "metadata", "annotations")]
        if live[Field<[String: String]>("spec", "template", "metadata", "annotations")] == annotations,
            image(live) == image(wanted)
        {
            return
        }
        var changed = live
        changed.json[path: ["spec", "template"]] = wanted.spec["template"]
        _ = try await api.update(.deployments, changed)
    }

    private func image(_ deployment: KubeObject) -> String? {
        deployment.json[path: ["spec", "template", "spec", "containers"]]?[0]?["image"]?.string
    }

    private func prepared(_ object: KubeObject) -> KubeObject {
        guard object.kind == "Deployment" else { return object }
        var object = object
        let path = ["spec", "template", "metadata", "annotations", "weft.dev/machine-listeners"]
        object.json[path: path] = .string("http=127.0.0.1:\(gatewayPort)")
        return object
    }

    private static let types: [ResourceType] = [
        .namespaces, .serviceAccounts, .configMaps, .services, .deployments, .gatewayClasses, .gateways, .httpRoutes,
        .peerAuthentications,
    ]
}
