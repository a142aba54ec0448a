import ContainerRuntime
import KubeTypes
import NodeAgent
import Wire

/// Pods and what is seen of them, short to write.
struct PodFixture {
    static let start = Timestamp(seconds: 1_800_000_000)

    var json: JSON = [
        "apiVersion": "v1", "kind": "Pod",
        "metadata": ["name": "web", "namespace": "shop", "uid": "u-1"],
        "spec": ["nodeName": "node-1", "containers": []],
    ]
    var seen = PodObservation(now: start)

    init(_ containers: String..., initial: [String] = [], sidecars: Set<String> = [], policy: String = "Always") {
        json["spec"]?["restartPolicy"] = .string(policy)
        json["spec"]?["containers"] = .array(containers.map { ["name": .string($0), "image": "demo:v1"] })
        let initContainers: [JSON] = initial.map { name in
            var container: JSON = ["name": .string(name), "image": "demo:v1"]
            if sidecars.contains(name) { container["restartPolicy"] = "Always" }
            return container
        }
        if !initContainers.isEmpty { json["spec"]?["initContainers"] = .array(initContainers) }
        seen.address = "10.244.1.5"
        seen.nodeAddress = "10.245.0.11"
    }

    var pod: PodDescription { PodDescription(KubeObject(json)) }
    var plan: PodPlan { PodPlan(pod, seen) }
    var status: JSON { PodStatusPlan.status(pod, seen) }

    mutating func makeSandbox() {
        seen.sandbox = SandboxStatus(
            podUID: "u-1", namespace: "shop", name: "web", isRunning: true, supervisorPID: 1, networkNamespace: "",
            containers: [])
    }

    mutating func running(_ name: String, attempt: Int = 0, step: Int = 0) {
        put(name, attempt, step, .running, finished: nil)
    }

    mutating func ended(_ name: String, _ code: Int, attempt: Int = 0, step: Int = 0, after: Duration = .seconds(1)) {
        put(name, attempt, step, .exited(code: code, signal: 0, outOfMemory: false), finished: PodFixture.start + after)
        seen.now = max(seen.now, PodFixture.start + after)
    }

    private mutating func put(
        _ name: String, _ attempt: Int, _ step: Int, _ state: ContainerRuntime.ContainerStatus.State,
        finished: Timestamp?
    ) {
        if seen.sandbox == nil { makeSandbox() }
        seen.sandbox?.containers.removeAll { $0.name == name && $0.attempt == attempt }
        seen.sandbox?.containers.append(
            ContainerRuntime.ContainerStatus(
                id: "\(name)-\(attempt)", name: name, attempt: attempt, image: "demo:v1", imageDigest: "sha256:1",
                state: state,
                pid: 1, startedAt: PodFixture.start.unixNanoseconds, finishedAt: finished?.unixNanoseconds,
                annotations: ["weft.dev/back-off-step": String(step)]))
    }

    mutating func delete(grace: Int = 30) {
        let deadline = seen.now + .seconds(grace)
        json["metadata"]?["deletionTimestamp"] = .string(deadline.description)
        seen.deadline = deadline
    }

    /// What the manifest asks for, and, if it is said, what the present run has.
    mutating func giveResources(_ wanted: JSON, to name: String, having present: JSON? = nil, restarts: Bool = false) {
        guard var containers = json["spec"]?["containers"]?.array else { return }
        for place in containers.indices where containers[place]["name"]?.string == name {
            containers[place]["resources"] = wanted
            if restarts {
                containers[place]["resizePolicy"] = [["resourceName": "cpu", "restartPolicy": "RestartContainer"]]
            }
        }
        json["spec"]?["containers"] = .array(containers)
        guard let present, let place = seen.sandbox?.containers.firstIndex(where: { $0.name == name }) else { return }
        seen.sandbox?.containers[place].annotations[ContainerResources.annotation] =
            ContainerResources(present).json.text
    }

    mutating func addEphemeral(_ name: String) {
        json["spec"]?["ephemeralContainers"] = [["name": .string(name), "image": "demo:v1"]]
    }

    mutating func giveStartupProbe(_ name: String) {
        for list in ["initContainers", "containers"] {
            guard var containers = json["spec"]?[list]?.array else { continue }
            for place in containers.indices where containers[place]["name"]?.string == name {
                containers[place]["startupProbe"] = ["httpGet": ["port": 15021, "path": "/healthz/ready"]]
            }
            json["spec"]?[list] = .array(containers)
        }
    }
}

extension PodPlan {
    /// The names of what is started or stopped, as `+name` and `-name`, and other actions by their own.
    var words: [String] {
        actions.map { action in
            switch action {
            case .prepare: "prepare"
            case .clearSandbox: "clear"
            case .start(let container, let attempt, _): "+\(container)-\(attempt)"
            case .stop(let id, _, _): "-\(id)"
            case .resize(let id, _): "resize \(id)"
            case .forget(let id): "forget \(id)"
            case .awaitBarrier: "barrier"
            case .release: "release"
            case .remove: "remove"
            }
        }
    }
}
