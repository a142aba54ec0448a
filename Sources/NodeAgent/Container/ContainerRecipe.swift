import ContainerRuntime
import KubeTypes
import Wire

/// Makes the runtime's words for one run of a container out of the pod's manifest.
struct ContainerRecipe {
    let pod: PodDescription
    let container: ContainerDescription
    let attempt: Int
    let environment: [Environment.Variable]
    let mounts: [BindMount]
    let logDirectory: String
    let machine: MachineSize

    func spec() throws(ContainerConfigFault) -> ContainerSpec {
        let json = container.json
        var spec = ContainerSpec(
            name: container.name, attempt: attempt, image: container.image,
            logPath: "\(logDirectory)/\(container.name)/\(attempt).log")
        var values: [String: String] = [:]
        for variable in environment { values[variable.name] = variable.value }
        spec.command = words(json["command"], values)
        spec.arguments = words(json["args"], values)
        spec.environment =
            [("HOSTNAME", pod.hostname)] + environment.filter { $0.name != "HOSTNAME" || values["HOSTNAME"] != nil }
        spec.workingDirectory = json["workingDir"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        spec.mounts = mounts
        spec.keepsInput = json["stdin"]?.bool ?? false
        spec.endsInputOnce = json["stdinOnce"]?.bool ?? false
        spec.hasTerminal = json["tty"]?.bool ?? false
        spec.limits = ResourceLimits(json["resources"])
        let request = Quantity(json[path: ["resources", "requests", "memory"]])
        let limit = Quantity(json[path: ["resources", "limits", "memory"]])
        spec.oomScoreAdjustment = QualityOfService(pod.spec).oomScore(
            memoryRequest: Int((request ?? limit ?? .zero).boundedWhole), machineMemory: machine.memoryBytes)
        try secure(&spec)
        if container.role == .main, container.name == pod.containers.first?.name {
            spec.machineListeners = try PodAnnotations.machineListeners(pod.object)
        }
        spec.annotations[PodPlan.imageAnnotation] = container.image
        spec.annotations[ContainerResources.annotation] = ContainerResources(json["resources"]).json.text
        return spec
    }

    /// The container's own security settings win over the pod's.
    private func secure(_ spec: inout ContainerSpec) throws(ContainerConfigFault) {
        let ofPod = pod.spec["securityContext"]
        let own = container.json["securityContext"]
        func setting(_ name: String) -> JSON? { own?[name] ?? ofPod?[name] }
        spec.user = setting("runAsUser")?.int
        spec.group = setting("runAsGroup")?.int
        if setting("runAsNonRoot")?.bool == true, spec.user == 0 {
            throw ContainerConfigFault("container \(container.name): runAsNonRoot is true but runAsUser is 0")
        }
        spec.supplementaryGroups = (ofPod?["supplementalGroups"]?.array ?? []).compactMap(\.int)
        if let group = ofPod?["fsGroup"]?.int { spec.supplementaryGroups.append(group) }
        spec.addedCapabilities = capabilities(own?[path: ["capabilities", "add"]])
        spec.droppedCapabilities = capabilities(own?[path: ["capabilities", "drop"]])
        spec.isPrivileged = own?["privileged"]?.bool ?? false
        spec.hasReadOnlyRoot = own?["readOnlyRootFilesystem"]?.bool ?? false
        spec.allowsPrivilegeEscalation = own?["allowPrivilegeEscalation"]?.bool ?? true
    }

    private func capabilities(_ json: JSON?) -> [String] {
        (json?.array ?? []).compactMap(\.string).map { $0.hasPrefix("CAP_") ? String($0.dropFirst(4)) : $0 }
    }

    private func words(_ json: JSON?, _ values: [String: String]) -> [String]? {
        guard let words = json?.array, !words.isEmpty else { return nil }
        return words.compactMap(\.string).map { Environment.expand($0, with: values) }
    }
}
