import Kernel
package import KubeClient
import KubeTypes
package import Logging
import Synchronization
import Wire

/// A node's services: the rules that lead to them and the names they have, kept by what the API tells.
///
/// Level-triggered: an event only says where to look. While the API server is away rules and names stay as they are; after
/// a restart the rules of before stay until the API was heard, then become what it says in one step.
package final class ServiceNetworkAgent: Sendable {
    private let node: FabricNode
    private let services: Informer
    private let slices: Informer
    private let pods: Informer
    private let applier: ServiceRulesApplier
    private let dns: DNSServer
    private let rules: Mutex<ServiceRules>
    private let pending = Mutex(Pending())
    private let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation
    private let logger: Logger

    /// Where to look again.
    private struct Pending {
        var services: Set<ObjectKey> = []
        var slices: Set<ObjectKey> = []
        var pods: Set<ObjectKey> = []
    }

    /// How often the rules are looked at when nothing happens.
    private static let driftCheck = Duration.seconds(5)

    /// Starts the node's DNS server, which answers what it knows from now on; the rest begins with `run`.
    package init(
        _ fabric: ClusterFabric, node: FabricNode, api: any KubeAPI,
        logger: Logger = Logger(label: "network", factory: { _ in SwiftLogNoOpLogHandler() })
    ) throws(NetworkFailure) {
        self.node = node
        self.logger = logger
        services = Informer(api, .services, logger: logger)
        slices = Informer(api, .endpointSlices, logger: logger)
        pods = Informer(api, .pods, logger: logger)
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        let addresses = fabric.addresses
        let path = fabric.namespace(of: node)
        let scope = RuleScope(
            nodeName: node.name, nodeAddresses: [addresses.node(node.index)], serviceRange: addresses.services,
            ownServiceAddresses: [addresses.dns])
        rules = Mutex(ServiceRules(scope: scope))
        applier = ServiceRulesApplier(inNamespace: path, scope: scope)
        let ranges = [addresses.services, addresses.pods, addresses.fabric]
        guard let domain = DNSName("cluster.local") else { throw NetworkFailure("the cluster's domain is no name") }
        let zone = DNSZone(domain: domain, server: addresses.dns, ranges: ranges)
        do throws(SystemCallFailed) {
            dns = try DNSServer.start(zone, at: [addresses.dns], inNamespace: path)
        } catch {
            throw NetworkFailure("DNS server of \(node.name): \(error)")
        }
    }

    /// Keeps rules and names right until the task is cancelled. The rules stay in force after it.
    package func run() async throws {
        defer { dns.stop() }
        let handlers = [
            (services, services.onChange { [self] change in note { $0.services.insert(change.key) } }),
            (slices, slices.onChange { [self] change in note { $0.slices.insert(change.key) } }),
            (pods, pods.onChange { [self] change in note { $0.pods.insert(change.key) } }),
        ]
        defer { for (informer, handler) in handlers { informer.remove(handler) } }
        try await withThrowingDiscardingTaskGroup { [self] tasks in
            for informer in [services, slices, pods] { tasks.addTask { await informer.run() } }
            tasks.addTask { [self] in
                while !Task.isCancelled {
                    try await Task.sleep(for: Self.driftCheck)
                    signal.yield()
                }
            }
            tasks.addTask { [self] in try await follow() }
        }
    }

    /// What the node's rules cost so far, in transactions and commands.
    package var work: ServiceRulesApplier.Work { get async { await applier.work } }

    private func note(_ change: (inout Pending) -> Void) {
        pending.withLock { change(&$0) }
        signal.yield()
    }

    private func follow() async throws {
        try await services.waitUntilSynced()
        try await slices.waitUntilSynced()
        var table = ServiceTable()
        var isFirst = true
        var unapplied = RuleChanges()
        signal.yield()
        for await _ in signals {
            let seen = pending.withLock { pending in
                defer { pending = Pending() }
                return pending
            }
            unapplied.formUnion(take(seen, into: &table))
            // With nothing to do the applier still looks for drift, and is due to write the table the first time.
            do throws(NetworkFailure) {
                try await applier.apply(unapplied) { [self] in rules.withLock { $0.all } }
                unapplied = RuleChanges()
                if isFirst { logger.info("\(node.name): \(table.services.count) services in force") }
                isFirst = false
            } catch {
                logger.error("\(error); trying again")
                try await Task.sleep(for: .seconds(1))
                signal.yield()
            }
            if pods.isSynced { dns.change { $0.isComplete = true } }
        }
    }

    /// Reads what is pending from the caches; changes the names at once, and says what the rules need.
    private func take(_ seen: Pending, into table: inout ServiceTable) -> RuleChanges {
        var touched: Set<ObjectKey> = []
        for key in seen.services {
            touched.formUnion(table.set(service: key, services.cache[key].map(ServiceModel.init)))
        }
        for key in seen.slices { touched.formUnion(table.set(slice: key, slices.cache[key].map(SliceModel.init))) }
        var changes = RuleChanges()
        for key in touched.sorted() {
            let model = table.services[key]
            let parts = table.slices(of: key)
            let now = table
            let step = rules.withLock { rules in
                rules.update(key, model, parts) { other in now.services[other].map { ($0, now.slices(of: other)) } }
            }
            changes.formUnion(step)
            dns.change { $0.set(service: key, model, parts) }
        }
        for key in seen.pods {
            let addresses = pods.cache[key].map(Self.addresses) ?? []
            dns.change { $0.set(pod: key, addresses) }
        }
        return changes
    }

    /// A pod's own addresses, while it has them: not the node's, which it shares, and not after its end.
    private static func addresses(of pod: KubeObject) -> [IPv4Address] {
        if pod.spec["hostNetwork"]?.bool == true { return [] }
        if ["Succeeded", "Failed"].contains(pod.status["phase"]?.string ?? "") { return [] }
        var texts = pod.status["podIPs"]?.array?.compactMap { $0["ip"]?.string } ?? []
        if texts.isEmpty, let single = pod.status["podIP"]?.string { texts = [single] }
        return texts.compactMap { IPv4Address($0) }
    }
}
