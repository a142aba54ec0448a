import KubeTypes

/// Pods that nobody will end or take away any more.
struct PodGarbagePlan {
    /// Bound to a node that is gone, so no node agent will report their end.
    var stranded: [KubeObject] = []
    /// Deleted before they had a node.
    var neverStarted: [KubeObject] = []
    /// Ended, beyond the number that is kept to be looked at; oldest first.
    var excess: [KubeObject] = []

    init(pods: [KubeObject], nodes: Set<String>, keptFinished: Int) {
        var finished: [KubeObject] = []
        for pod in pods {
            let node = pod[Pod.nodeName] ?? ""
            if !node.isEmpty, !nodes.contains(node) {
                stranded.append(pod)
            } else if node.isEmpty, pod.deletionTimestamp != nil {
                neverStarted.append(pod)
            } else if pod.isPodFinished, pod.deletionTimestamp == nil {
                finished.append(pod)
            }
        }
        guard finished.count > keptFinished else { return }
        let oldest = finished.sorted { ($0.creationTimestamp ?? "", $0.name) < ($1.creationTimestamp ?? "", $1.name) }
        excess = Array(oldest.prefix(finished.count - keptFinished))
    }
}
