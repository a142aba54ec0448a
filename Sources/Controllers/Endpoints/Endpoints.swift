import KubeClient
import KubeTypes
import Wire

/// Writes the Endpoints objects of services with a selector.
struct EndpointsController: Controller {
    static let name = "endpoints"

    private let plane: ControlPlane
    private let services: Informer
    private let pods: Informer
    private let endpoints: Informer

    init(_ plane: ControlPlane) {
        self.plane = plane
        services = plane.informers.informer(.services)
        pods = plane.informers.informer(.pods)
        endpoints = plane.informers.informer(.endpoints)
    }

    var needs: [Informer] { [services, pods, endpoints] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        services.onChange { queue.add($0.key) }
        feedServices(of: pods, services: services, into: queue)
        endpoints.onChange { queue.add($0.key) }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        let found = endpoints.cache[key]
        guard let service = services.cache[key], service.deletionTimestamp == nil,
            let selector = service.serviceSelector
        else {
            // Endpoints somebody else wrote, for a service without a selector, stay.
            if let found, found.labels[endpointsManagerLabel] == endpointsManager {
                do throws(APIFailure) {
                    try await plane.api.delete(.endpoints, key, DeleteOptions(uid: found.uid))
                } catch {
                    guard error.isNotFound || error.isConflict else { throw error }
                }
            }
            return .onChange
        }
        let wanted = endpointsObject(
            for: service, pods: pods.cache.list(namespace: key.namespace, matching: LabelSelector(matching: selector)))
        guard var changed = found else {
            do throws(APIFailure) {
                _ = try await plane.api.create(.endpoints, wanted)
            } catch {
                guard error.alreadyExists else { throw error }
                return .after(.seconds(1))
            }
            return .onChange
        }
        changed.labels = wanted.labels
        changed.json["subsets"] = wanted.json["subsets"]
        if changed.labels == found?.labels, changed.json["subsets"] == found?.json["subsets"] { return .onChange }
        _ = try await plane.api.update(.endpoints, changed)
        return .onChange
    }
}
