import KubeClient
import KubeTypes
import Wire

/// Writes the EndpointSlices of services with a selector.
struct EndpointSliceController: Controller {
    static let name = "endpointslice"
    private static let byService = CacheIndex("managed-by-service") { slice in
        let labels = slice.labels
        guard labels[EndpointSlicePlan.managerLabel] == EndpointSlicePlan.manager,
            let service = labels[EndpointSlicePlan.nameLabel]
        else { return [] }
        return [slice.namespace + "/" + service]
    }

    private let plane: ControlPlane
    private let services: Informer
    private let pods: Informer
    private let slices: Informer
    private let nodes: Informer
    private let written = WrittenVersions()

    init(_ plane: ControlPlane) {
        self.plane = plane
        services = plane.informers.informer(.services)
        pods = plane.informers.informer(.pods)
        slices = plane.informers.informer(.endpointSlices, indexes: [Self.byService])
        nodes = plane.informers.informer(.nodes)
    }

    var needs: [Informer] { [services, pods, slices, nodes] }

    func feed(_ queue: WorkQueue<ObjectKey>) {
        services.onChange { queue.add($0.key) }
        feedServices(of: pods, services: services, into: queue)
        slices.onChange { change in
            var objects = [change.object]
            if case .changed(let old, _) = change { objects.append(old) }
            for slice in objects {
                let labels = slice.labels
                guard labels[EndpointSlicePlan.managerLabel] == EndpointSlicePlan.manager,
                    let service = labels[EndpointSlicePlan.nameLabel]
                else { continue }
                queue.add(ObjectKey(namespace: slice.namespace, name: service))
            }
        }
    }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        guard written.areSeen(for: key, by: slices.cache) else { return .after(.seconds(30)) }
        let found = slices.cache.list(by: Self.byService, key.description)
        guard let service = services.cache[key], service.deletionTimestamp == nil,
            let selector = service.serviceSelector
        else {
            for slice in found { try await delete(slice) }
            return .onChange
        }
        let selected = pods.cache.list(namespace: key.namespace, matching: LabelSelector(matching: selector))
        var zones: [String: String] = [:]
        for node in nodes.cache.all { zones[node.name] = node.labels["topology.kubernetes.io/zone"] }
        let plan = EndpointSlicePlan(service: service, pods: selected, slices: found, zones: zones)
        for slice in plan.creations {
            written.wrote(try await plane.api.create(.endpointSlices, slice), for: key)
        }
        for slice in plan.updates {
            written.wrote(try await plane.api.update(.endpointSlices, slice), for: key)
        }
        for slice in plan.deletions { try await delete(slice) }
        return .onChange
    }

    private func delete(_ slice: KubeObject) async throws(APIFailure) {
        do throws(APIFailure) {
            try await plane.api.delete(.endpointSlices, slice.key, DeleteOptions(uid: slice.uid))
        } catch {
            guard error.isNotFound || error.isConflict else { throw error }
        }
    }
}
