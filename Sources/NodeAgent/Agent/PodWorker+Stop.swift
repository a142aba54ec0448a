import ContainerRuntime
import Glibc
import Kernel
import KubeClient
import KubeTypes
import Wire

extension PodWorker {
    /// `preStop`, then the stop signal, then SIGKILL when the time is up; beside the loop.
    func stop(_ id: String, by deadline: Timestamp, _ why: StopReason) {
        let isRepeated = stops[id] != nil
        stops[id] = deadline
        guard let container = pod.container(named: String(id[..<(id.lastIndex(of: "-") ?? id.endIndex)])) else {
            return
        }
        if !isRepeated {
            node.events.tell(.normal, pod.object, "Killing", killingMessage(container, why), container: container)
        }
        let prober = prober
        let object = pod.object
        errand { [node] in
            if !isRepeated, let hook = container.preStop {
                let patience = max(.zero, deadline - node.now())
                if let failure = await LifecycleHook(hook, container: container).run(id, prober, within: patience) {
                    node.events.tell(.warning, object, "FailedPreStopHook", failure, container: container)
                }
            }
            do throws(RuntimeFailure) {
                // Two seconds at least, as after a hook that used up all the time.
                let grace = max(deadline - node.now(), isRepeated ? .zero : .seconds(container.preStop == nil ? 0 : 2))
                try await node.runtime.stopContainer(podUID: object.uid, id: id, grace: max(.zero, grace))
                await self.endStop(id, failure: nil)
            } catch {
                await self.endStop(id, failure: error.kind == .notFound ? nil : error.message)
            }
        }
    }

    private func endStop(_ id: String, failure: String?) async {
        stops[id] = nil
        if let failure {
            setback(.stop(id: id), "FailedKillPod", failure)
            node.events.tell(.warning, pod.object, "FailedKillPod", failure)
            return
        }
        // A runtime that says it stopped what still runs is asked again, but not at once.
        let sandbox = try? await node.runtime.sandbox(podUID: pod.uid)
        if sandbox?.containers.contains(where: { $0.id == id && $0.state == .running }) == true {
            setback(.stop(id: id), "FailedKillPod", "the runtime did not stop the container")
        } else {
            setbacks[.stop(id: id)] = nil
        }
    }

    private func killingMessage(_ container: ContainerDescription, _ why: StopReason) -> String {
        switch why {
        case .deleted: "Stopping container \(container.name)"
        case .unhealthy(let cause): "Container \(container.name) will be restarted: \(cause)"
        case .imageChanged: "Container \(container.name) definition changed, will be restarted"
        case .resized: "Container \(container.name) will be restarted: its resources changed"
        case .podEnded: "Stopping sidecar \(container.name), since the pod has ended"
        case .deadlineExceeded: "Stopping container \(container.name): the pod's activeDeadlineSeconds are over"
        }
    }

    /// What the program left for its obituary: the file it was given, or the end of its log when it failed silently.
    func terminationMessage(of run: RunStatus, _ container: ContainerDescription) -> String {
        let file = (try? SmallFile.read(places.terminationMessage(run.id), limit: 4096)) ?? []
        if !file.isEmpty { return String(decoding: file.prefix(4096), as: UTF8.self) }
        guard container.json["terminationMessagePolicy"]?.string == "FallbackToLogsOnError",
            case .exited(let code, let signal, _) = run.state,
            code != 0 || signal != 0
        else { return "" }
        return LogTail.text(of: run.logPath, lines: 80, bytes: 2048)
    }
}

/// A file everybody in the container may write.
func chmodWorldWritable(_ path: String) -> Bool { chmod(path, 0o666) == 0 }
