import Kernel
import KubeClient
import KubeTypes
import Logging
import MeshControl
import Wire

/// What the mesh's traffic looks like, read from the proxies when asked.
struct TrafficQueries: Sendable {
    let api: any KubeAPI
    /// The path of a node's network namespace.
    let namespaceOfNode: @Sendable (String) -> String
    let logger: Logger

    private static let metricsPort: UInt16 = 15090
    /// So many proxies are asked at the same time.
    private static let breadth = 16

    /// Counts since each proxy started, and what was added during the window.
    private func measure(window: Duration) async throws(APIFailure) -> (total: IstioMetrics, added: IstioMetrics) {
        let proxies = try await meshedPods()
        let before = await scrape(proxies)
        guard window > .zero else { return (before, IstioMetrics()) }
        try? await Task.sleep(for: window)
        let after = await scrape(proxies)
        return (after, after.since(before))
    }

    private func meshedPods() async throws(APIFailure) -> [KubeObject] {
        try await api.list(.pods).items.filter { pod in
            pod.annotations["weft.dev/intercept"] == "true" || pod.labels["weft.dev/gateway"] != nil
        }
    }

    private func scrape(_ pods: [KubeObject]) async -> IstioMetrics {
        await withTaskGroup(of: IstioMetrics?.self) { group in
            var all = IstioMetrics()
            for (index, pod) in pods.enumerated() {
                if index >= Self.breadth, let found = await group.next(), let found { all.merge(found) }
                group.addTask { await metrics(of: pod) }
            }
            for await found in group {
                if let found { all.merge(found) }
            }
            return all
        }
    }

    /// A proxy that does not answer is left out, and said so in the log: the others' figures still count.
    private func metrics(of pod: KubeObject) async -> IstioMetrics? {
        guard let text = pod.status["podIP"]?.string, let address = IPv4Address(text),
            let node = pod.spec["nodeName"]?.string
        else {
            return nil
        }
        let scrape = ProxyScrape(
            namespace: namespaceOfNode(node), address: address, port: Self.metricsPort, path: "/stats/prometheus")
        do {
            return try IstioMetrics.parse(String(decoding: try await scrape.body(), as: UTF8.self))
        } catch {
            logger.warning("no metrics from \(pod.key): \(error)")
            return nil
        }
    }

    // MARK: Views

    /// One row for each pair of workloads, as the receiving proxy counted it; where there is none, as the sending one did.
    func edges(namespace: String, window: Duration) async throws(APIFailure) -> JSON {
        let (total, added) = try await measure(window: window)
        let rows = rows(total, added, window) { edge in
            guard isWanted(edge, namespace) || edge.sourceNamespace == namespace else { return nil }
            var short = edge
            short.reporter = ""
            short.destinationVersion = ""
            return short
        }
        return ["items": .array(rows)]
    }

    /// One row for each workload that was called.
    func workloads(namespace: String, window: Duration) async throws(APIFailure) -> JSON {
        let (total, added) = try await measure(window: window)
        let rows = rows(total, added, window) { edge in
            guard isWanted(edge, namespace) else { return nil }
            var short = IstioMetrics.Edge()
            short.destinationWorkload = edge.destinationWorkload
            short.destinationNamespace = edge.destinationNamespace
            short.destinationService = edge.destinationService
            short.security = edge.security
            return short
        }
        return ["items": .array(rows)]
    }

    private func isWanted(_ edge: IstioMetrics.Edge, _ namespace: String) -> Bool {
        namespace.isEmpty || edge.destinationNamespace == namespace
    }

    private func rows(
        _ total: IstioMetrics, _ added: IstioMetrics, _ window: Duration,
        _ name: (IstioMetrics.Edge) -> IstioMetrics.Edge?
    ) -> [JSON] {
        // Both ends of a meshed request count it; what both saw is taken from the receiver.
        let received = Set(total.edges.keys.filter { $0.reporter == "destination" }.map(Pair.init))
        let once = { (edge: IstioMetrics.Edge) -> IstioMetrics.Edge? in
            edge.reporter == "source" && received.contains(Pair(edge)) ? nil : name(edge)
        }
        let rate = added.grouped(by: once)
        return total.grouped(by: once).edges.sorted { $0.key < $1.key }.map { edge, traffic in
            row(edge, traffic, added: rate.edges[edge], window)
        }
    }

    private struct Pair: Hashable {
        var source: String
        var destination: String
        init(_ edge: IstioMetrics.Edge) {
            source = "\(edge.sourceNamespace)/\(edge.sourceWorkload)"
            destination = "\(edge.destinationNamespace)/\(edge.destinationWorkload)"
        }
    }

    private func row(
        _ edge: IstioMetrics.Edge, _ traffic: IstioMetrics.Traffic, added: IstioMetrics.Traffic?, _ window: Duration
    ) -> JSON {
        let requests = traffic.requests
        let failures = requests * (1 - (traffic.successRate ?? 1))
        let seconds = Double(window.components.seconds) + Double(window.components.attoseconds) / 1e18
        return [
            "source": .string(edge.sourceWorkload), "sourceNamespace": .string(edge.sourceNamespace),
            "sourcePrincipal": .string(edge.sourcePrincipal),
            "destination": .string(edge.destinationWorkload),
            "destinationNamespace": .string(edge.destinationNamespace),
            "destinationPrincipal": .string(edge.destinationPrincipal), "service": .string(edge.destinationService),
            "mutualTLS": .bool(edge.security == "mutual_tls"), "requests": .double(requests),
            "failures": .double(failures.rounded()),
            "perSecond": .double(seconds > 0 ? (added?.requests ?? 0) / seconds : 0),
            "connections": .double(traffic.connectionsOpened),
            "p50": .double(traffic.durations.percentile(0.5) ?? 0),
            "p95": .double(traffic.durations.percentile(0.95) ?? 0),
            "p99": .double(traffic.durations.percentile(0.99) ?? 0),
        ]
    }
}
