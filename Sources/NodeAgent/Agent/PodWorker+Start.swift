import ContainerRuntime
import Kernel
import KubeClient
import KubeTypes
import ServiceNetwork
import Wire

extension PodWorker {
    // MARK: Sandbox

    /// Volumes, mesh socket and network at the same time, then the sandbox on top of them.
    func prepare() async {
        tellLimits()
        do {
            try record()
            let interception = try PodAnnotations.interception(pod.object)
            async let attached = attach(interception)
            async let mounted: Void = volumes.prepare()
            let network = try await attached
            try await mounted
            if PodVolumes.wantsMesh(pod.object), let failure = await openMeshSocket() {
                throw ContainerConfigFault(failure)
            }
            _ = try await node.runtime.runSandbox(sandboxSpec(network))
            setbacks[.preparation] = nil
        } catch {
            let reason = error is ContainerConfigFault ? "FailedMount" : "FailedCreatePodSandBox"
            node.events.tell(.warning, pod.object, reason, "\(error)")
            setback(.preparation, reason, "\(error)")
        }
    }

    /// Leaves on disk whose pod this is, before anything of it exists: an agent that starts later knows what to clear.
    private func record() throws(SystemCallFailed) {
        try SmallFile.makeDirectories(places.state)
        let record: JSON = ["node": .string(node.configuration.name), "pod": pod.object.json]
        try SmallFile.write(record.text, to: places.record)
    }

    private func attach(_ interception: Interception?) async throws -> String? {
        if pod.usesHostNetwork { return node.configuration.networkNamespace ?? "/proc/1/ns/net" }
        let made = try await node.network.attach(podUID: pod.uid, interception: interception)
        attachment = made
        return made.networkNamespace
    }

    private func sandboxSpec(_ network: String?) -> SandboxSpec {
        let configuration = node.configuration
        var spec = SandboxSpec(
            podUID: pod.uid, namespace: pod.namespace, name: pod.name, hostname: pod.hostname,
            networkNamespace: network ?? "",
            cgroup: "\(configuration.name)/pod\(pod.uid)")
        let machine = (try? SmallFile.read("/etc/resolv.conf", limit: 65536)) ?? []
        spec.resolvConf = NameFiles.resolvConf(
            pod, domain: configuration.clusterDomain, server: configuration.dnsAddress,
            machine: String(decoding: machine, as: UTF8.self))
        spec.hosts = NameFiles.hosts(
            pod, address: attachment?.address ?? configuration.nodeAddress, domain: configuration.clusterDomain)
        spec.sharesProcessNamespace = pod.spec["shareProcessNamespace"]?.bool ?? false
        spec.usesMachineProcesses = pod.spec["hostPID"]?.bool ?? false
        spec.usesMachineIPC = pod.spec["hostIPC"]?.bool ?? false
        spec.limits = ResourceLimits(pod: pod.spec)
        return spec
    }

    // MARK: Containers

    func start(_ name: String, attempt: Int, backOffStep: Int) async {
        guard let container = pod.container(named: name) else { return }
        let attempted = PodObservation.Attempted.start(container: name)
        do {
            guard try await hasImage(container) else { return }
            let spec = try await containerSpec(container, attempt: attempt, backOffStep: backOffStep)
            node.events.tell(.normal, pod.object, "Created", "Created container: \(name)", container: container)
            let run = try await node.runtime.startContainer(podUID: pod.uid, spec)
            node.events.tell(.normal, pod.object, "Started", "Started container \(name)", container: container)
            setbacks[attempted] = nil
            if let hook = container.postStart { runPostStart(hook, run.id, container) }
        } catch let fault as ContainerConfigFault {
            node.events.tell(.warning, pod.object, "Failed", "Error: \(fault)", container: container)
            setback(attempted, "CreateContainerConfigError", fault.message)
        } catch let failure as RuntimeFailure {
            node.events.tell(.warning, pod.object, "Failed", "Error: \(failure)", container: container)
            setback(
                attempted, failure.kind == .noSuchImage ? "ErrImageNeverPull" : failure.kind.rawValue, failure.message)
        } catch {
            node.events.tell(.warning, pod.object, "Failed", "Error: \(error)", container: container)
            setback(attempted, "CreateContainerError", "\(error)")
        }
    }

    /// Says so in status and events when the image is not there.
    private func hasImage(_ container: ContainerDescription) async throws(RuntimeFailure) -> Bool {
        if try await node.runtime.image(named: container.image) != nil {
            let message = "Container image \"\(container.image)\" already present on machine"
            node.events.tell(.normal, pod.object, "Pulled", message, container: container)
            return true
        }
        let attempted = PodObservation.Attempted.start(container: container.name)
        let reason: String
        let message: String
        if container.pullPolicy == "Never" {
            reason = "ErrImageNeverPull"
            message =
                "Container image \"\(container.image)\" is not present with pull policy of Never: load it into the node's image store, or correct the name"
        } else {
            let isRepeated = (setbacks[attempted]?.count ?? 0) > 0
            reason = isRepeated ? "ImagePullBackOff" : "ErrImagePull"
            message =
                "image \"\(container.image)\" is not in the node's image store, and this node does not pull from registries yet: load it into the store, or correct the name"
        }
        node.events.tell(
            .warning, pod.object, reason == "ImagePullBackOff" ? "BackOff" : "Failed", message, container: container)
        setback(attempted, reason, message)
        return false
    }

    private func containerSpec(
        _ container: ContainerDescription, attempt: Int, backOffStep: Int
    ) async throws -> ContainerSpec {
        let environment = try await environment(of: container)
        var values: [String: String] = [:]
        for variable in environment { values[variable.name] = variable.value }
        var mounts = try volumes.mounts(of: container.json, environment: values)
        let id = "\(container.name)-\(attempt)"
        let message = places.terminationMessage(id)
        try SmallFile.makeDirectories(places.state + "/messages")
        try SmallFile.write("", to: message)
        _ = chmodWorldWritable(message)
        let target = container.json["terminationMessagePath"]?.string ?? "/dev/termination-log"
        mounts.append(BindMount(source: message, target: target, isReadOnly: false))
        let logs = node.configuration.logDirectory(namespace: pod.namespace, name: pod.name, uid: pod.uid)
        try SmallFile.makeDirectories("\(logs)/\(container.name)")
        let recipe = ContainerRecipe(
            pod: pod, container: container, attempt: attempt, environment: environment, mounts: mounts,
            logDirectory: logs,
            machine: node.machine)
        var spec = try recipe.spec()
        spec.annotations[BackOff.annotation] = String(backOffStep)
        // The pod may have been resized since its sandbox was made.
        if attempt > 0 { spec.podLimits = ResourceLimits(pod: pod.spec) }
        if let target = container.json["targetContainerName"]?.string, !target.isEmpty {
            spec.seenContainer = try await runningContainer(target)
        }
        return spec
    }

    /// The id of a container's present run.
    private func runningContainer(_ name: String) async throws -> String {
        let runs = try await node.runtime.sandbox(podUID: pod.uid)?.containers ?? []
        guard let run = runs.last(where: { $0.name == name && $0.state == .running }) else {
            throw ContainerConfigFault("unable to find target container \"\(name)\": it does not run")
        }
        return run.id
    }

    private func environment(of container: ContainerDescription) async throws -> [Environment.Variable] {
        var sources = Environment.Sources(fields: fields)
        let needs = Environment.references(of: container.json)
        let data = ConfigData(node.api, namespace: pod.namespace)
        for name in needs.configMaps {
            let found = try await data.configMap(name)
            sources.configMaps[name] = .some(found?.mapValues { String(decoding: $0, as: UTF8.self) })
        }
        for name in needs.secrets { sources.secrets[name] = .some(try await data.secret(name)) }
        var visible = node.services.list(namespace: "default").filter { $0.name == "kubernetes" }
        if pod.spec["enableServiceLinks"]?.bool ?? true {
            visible += node.services.list(namespace: pod.namespace).filter { $0.name != "kubernetes" }
        }
        sources.services = ServiceVariables.variables(for: visible)
        return try Environment.variables(of: container.json, sources)
    }

    private func runPostStart(_ hook: JSON, _ id: String, _ container: ContainerDescription) {
        beginHook(id, container)
        let object = pod.object
        let hook = LifecycleHook(hook, container: container)
        let prober = prober
        errand { [node] in
            let failure = await hook.run(id, prober, within: .seconds(600))
            if let failure { node.events.tell(.warning, object, "FailedPostStartHook", failure, container: container) }
            await self.endHook(id, failure: failure.map { "postStart hook failed: \($0)" })
        }
    }
}
