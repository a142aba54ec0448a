import ContainerRuntime
import KubeClient
import KubeTypes
import Wire

extension PodWorker {
    /// Whether the node has room for what the pod asks for now; asked only when that is not what it has.
    func resizeRefusal(_ seen: PodObservation) -> ResizeRefusal? {
        guard PodProgress(pod, seen).resizing.isEmpty == false else { return nil }
        let others = node.pods.all.filter { other in
            let phase = other.status["phase"]?.string
            return other.uid != pod.uid && phase != "Succeeded" && phase != "Failed"
        }
        return ResizeRefusal.check(pod.spec, among: others.map(\.spec), machine: node.machine)
    }

    /// Gives a running container what its manifest says now.
    func resize(_ id: String, _ name: String) async {
        guard let container = pod.container(named: name) else { return }
        let wanted = ContainerResources(container.json["resources"])
        do throws(RuntimeFailure) {
            try await node.runtime.updateContainer(
                podUID: pod.uid, id: id, ResourceLimits(container.json["resources"]),
                pod: ResourceLimits(pod: pod.spec),
                annotations: [ContainerResources.annotation: wanted.json.text])
            setbacks[.resize(id: id)] = nil
            node.events.tell(
                .normal, pod.object, "ResizeCompleted", "Pod resize completed: \(wanted.json.text)",
                container: container)
        } catch {
            if setbacks[.resize(id: id)] == nil {
                node.events.tell(.warning, pod.object, "ResizeError", error.message, container: container)
            }
            setback(.resize(id: id), "Error", error.message)
        }
    }
}
