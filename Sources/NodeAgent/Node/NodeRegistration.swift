import Glibc
import Kernel
import KubeClient
import KubeTypes
import Logging
import Wire

/// Keeps the Node object and its lease: the cluster knows by them that this node is there, and what it offers.
struct NodeRegistration: Sendable {
    let configuration: NodeConfiguration
    let machine: MachineSize
    let api: any KubeAPI
    let logger: Logger
    let now: @Sendable () -> Timestamp

    private var key: ObjectKey { ObjectKey(name: configuration.name) }

    /// Makes the Node, or brings the one that is there up to date; tries until the API takes it or the task is cancelled.
    func register() async {
        var pause: Duration = .milliseconds(100)
        while !Task.isCancelled {
            do throws(APIFailure) {
                try await write()
                return
            } catch {
                logger.warning("node \(configuration.name): cannot register: \(error)")
            }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(5))
        }
    }

    /// Renews the lease and the conditions until the task is cancelled.
    func keepFresh() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await keepLease() }
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: configuration.heartbeat)
                    if Task.isCancelled { return }
                    do throws(APIFailure) { try await write() } catch {
                        logger.warning("node \(configuration.name): cannot refresh its status: \(error)")
                    }
                }
            }
        }
    }

    private func keepLease() async {
        let leases = ObjectKey(name: "kube-node-lease")
        do throws(APIFailure) { _ = try await api.get(.namespaces, leases) } catch {
            if error.isNotFound {
                _ = try? await api.create(
                    .namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: leases.name))
            }
        }
        let owner = try? await api.get(.nodes, key)
        let lease = ObjectKey(namespace: leases.name, name: configuration.name)
        await LeaseRenewal(api, lease, holder: configuration.name, owner: owner, now: now).run()
    }

    /// Others write the Node too: controllers taint a new one at once. What they changed meanwhile is read again, and soon,
    /// since a node without its first status gets no pods.
    private func write() async throws(APIFailure) {
        for _ in 1...5 {
            do throws(APIFailure) { return try await writeOnce() } catch {
                if !error.isConflict { throw error }
            }
        }
        try await writeOnce()
    }

    private func writeOnce() async throws(APIFailure) {
        var node: KubeObject
        do throws(APIFailure) {
            node = try await api.get(.nodes, key)
            var wanted = node
            describe(&wanted)
            if wanted.metadata != node.metadata || wanted.spec != node.spec {
                node = try await api.update(.nodes, wanted)
            }
        } catch {
            guard error.isNotFound else { throw error }
            node = KubeObject(apiVersion: "v1", kind: "Node", name: configuration.name)
            describe(&node)
            node = try await api.create(.nodes, node)
        }
        node.status = NodeStatus.status(configuration, machine, old: node.status, now: now())
        _ = try await api.updateStatus(.nodes, node)
    }

    private func describe(_ node: inout KubeObject) {
        var labels = node.labels
        labels["kubernetes.io/hostname"] = configuration.name
        labels["kubernetes.io/os"] = "linux"
        labels["kubernetes.io/arch"] = NodeStatus.architecture
        for (name, value) in configuration.labels { labels[name] = value }
        node.labels = labels
        var spec = node.spec
        spec["podCIDR"] = .string(configuration.podRange)
        spec["podCIDRs"] = [.string(configuration.podRange)]
        spec["providerID"] = .string("weft://\(configuration.name)")
        node.spec = spec
    }
}

extension MachineSize {
    /// What this machine has.
    package static func measured() -> MachineSize {
        let processors = max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))
        let text = (try? SmallFile.read("/proc/meminfo", limit: 65536)) ?? []
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") where line.hasPrefix("MemTotal:") {
            let kibibytes = line.split(separator: " ").compactMap { Int($0) }.first ?? 0
            return MachineSize(processors: processors, memoryBytes: kibibytes * 1024)
        }
        return MachineSize(processors: processors, memoryBytes: 0)
    }
}
