import KubeClient
import KubeTypes
import Wire

/// Serves `metrics.k8s.io/v1beta1` from what the nodes' agents measure.
struct ResourceMetrics: APIExtension {
    let prefix = "/apis/metrics.k8s.io/v1beta1/"
    private static let apiVersion: JSON = "metrics.k8s.io/v1beta1"

    let registry: Registry
    let nodes: any NodeGateway

    func answer(
        method: String, path: String, query: [(String, String)], body: [UInt8]
    ) async throws(APIFailure) -> JSON {
        guard method == "GET", case .resource(let route) = Route(path: path) else { throw RequestHandler.noSuchPath }
        let selector = query.first { $0.0 == "labelSelector" }?.1 ?? ""
        let selection = Selection(labels: selector)
        switch (route.resource, route.namespace.isEmpty, route.name) {
        case ("nodes", true, ""): return list("NodeMetrics", try await nodeMetrics(selection))
        case ("nodes", true, let name):
            guard let found = try await nodeMetrics(Selection(fields: "metadata.name=\(name)")).first else {
                throw .notFound(.nodes, name)
            }
            return found
        case ("pods", _, ""): return list("PodMetrics", try await podMetrics(route.namespace, selection))
        case ("pods", false, let name):
            let found = try await podMetrics(route.namespace, Selection(fields: "metadata.name=\(name)"))
            guard let one = found.first else { throw .notFound(.pods, name) }
            return one
        default: throw RequestHandler.noSuchPath
        }
    }

    private func list(_ kind: String, _ items: [JSON]) -> JSON {
        [
            "kind": .string(kind + "List"), "apiVersion": Self.apiVersion, "metadata": [:],
            "items": .array(items),
        ]
    }

    private func nodeMetrics(_ selection: Selection) async throws(APIFailure) -> [JSON] {
        var found: [JSON] = []
        for node in try registry.list(try registry.definition(of: .nodes), namespace: "", selection).items {
            // A node that does not answer has no figures; the others have.
            guard let usage = try? await nodes.usage(ofNode: node.name) else { continue }
            let whole = usage.pods.reduce(into: NodeUsage.Amount()) { sum, pod in
                sum.nanocores += pod.whole.nanocores
                sum.workingSetBytes += pod.whole.workingSetBytes
            }
            var metrics = head("NodeMetrics", node, usage)
            metrics["usage"] = amount(whole)
            found.append(metrics)
        }
        return found
    }

    private func podMetrics(_ namespace: String, _ selection: Selection) async throws(APIFailure) -> [JSON] {
        let pods = try registry.list(try registry.definition(of: .pods), namespace: namespace, selection).items
        var found: [JSON] = []
        for node in Set(pods.compactMap { $0.spec["nodeName"]?.string }).sorted() {
            guard let usage = try? await nodes.usage(ofNode: node) else { continue }
            let measured = Dictionary(usage.pods.map { ($0.key, $0) }) { first, _ in first }
            for pod in pods where pod.spec["nodeName"]?.string == node {
                guard let known = measured[pod.key] else { continue }
                var metrics = head("PodMetrics", pod, usage)
                metrics["containers"] = .array(
                    known.containers.map { ["name": .string($0.name), "usage": amount($0.amount)] })
                found.append(metrics)
            }
        }
        return found.sorted { ($0["metadata"]?["name"]?.string ?? "") < ($1["metadata"]?["name"]?.string ?? "") }
    }

    private func head(_ kind: String, _ object: KubeObject, _ usage: NodeUsage) -> JSON {
        var metadata: JSON = ["name": .string(object.name), "creationTimestamp": usage.time.json]
        if !object.namespace.isEmpty { metadata["namespace"] = .string(object.namespace) }
        metadata["labels"] = object.metadata["labels"]
        let seconds = Double(usage.window.components.seconds) + Double(usage.window.components.attoseconds) / 1e18
        return [
            "kind": .string(kind), "apiVersion": Self.apiVersion, "metadata": metadata,
            "timestamp": usage.time.json, "window": .string("\((seconds * 1000).rounded() / 1000)s"),
        ]
    }

    private func amount(_ amount: NodeUsage.Amount) -> JSON {
        ["cpu": .string("\(amount.nanocores)n"), "memory": .string("\(amount.workingSetBytes / 1024)Ki")]
    }
}
