import KubeClient
import KubeTypes
import Wire

extension KubeObject {
    /// The labels a service selects; `nil` when it selects none and somebody else writes its endpoints.
    var serviceSelector: [String: String]? {
        guard let selector = self[Service.selector], !selector.isEmpty, self[Service.type] != "ExternalName" else {
            return nil
        }
        return selector
    }
}

/// Adds the services whose endpoints a change of a pod may touch.
func feedServices(of pods: Informer, services: Informer, into queue: WorkQueue<ObjectKey>) {
    pods.onChange { change in
        let pod = change.object
        var labels = [pod.labels]
        if case .changed(let old, _) = change {
            if EndpointView(old) == EndpointView(pod) { return }
            if old.labels != labels[0] { labels.append(old.labels) }
        }
        for service in services.cache.list(namespace: pod.namespace) {
            guard let selector = service.serviceSelector else { continue }
            let isSelected = labels.contains { labels in selector.allSatisfy { labels[$0.key] == $0.value } }
            if isSelected { queue.add(service.key) }
        }
    }
}

/// What endpoints show of a pod: a change of anything else does not concern them.
private struct EndpointView: Equatable {
    var labels: [String: String]
    var address: String?
    var node: String?
    var isReady: Bool
    var isFinished: Bool
    var isTerminating: Bool
    var hostname: String?

    init(_ pod: KubeObject) {
        labels = pod.labels
        address = pod[Pod.podIP]
        node = pod[Pod.nodeName]
        isReady = pod.isPodReady
        isFinished = pod.isPodFinished
        isTerminating = pod.deletionTimestamp != nil
        hostname = pod[Pod.hostname]
    }
}
