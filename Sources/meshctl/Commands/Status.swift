import ArgumentParser
import ClusterLayout
import KubeTypes
import Wire

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What runs: daemon, nodes, pods, proxies.",
        discussion: """
            EXAMPLES
              meshctl status
              meshctl status -o json
            """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions

    func run() async throws {
        let api = try server.connect()
        let summary = try await ClusterSummary.read(api)
        if format.output == .json || format.output == .yaml {
            try printStructured(summary.json, format.output)
            return
        }
        if server.kubeconfig == nil {
            let layout = try server.cluster.layout()
            let process = Daemon(layout: layout).runningProcess()
            print(
                "cluster \(layout.name): \(process.map { "meshd is process \($0)" } ?? "meshd does not run; start it with '\(layout.command("up"))'")"
            )
        }
        var nodes = TextTable(["NODE", "READY", "ADDRESS", "PODS", "VERSION"], numeric: [3])
        for node in summary.nodes {
            nodes.rows.append([node.name, node.isReady ? "yes" : "NO", node.address, "\(node.pods)", node.version])
        }
        print("\n\(nodes.text)\n")
        var pods = TextTable(["NAMESPACE", "PODS", "READY", "MESHED"], numeric: [1, 2, 3])
        for row in summary.namespaces { pods.rows.append([row.name, "\(row.pods)", "\(row.ready)", "\(row.meshed)"]) }
        print("\(pods.text)\n")
        print("proxies: \(summary.proxies) connected, \(summary.syncedProxies) with the newest configuration")
    }
}

/// A cluster at one glance.
struct ClusterSummary: Sendable {
    struct Node: Sendable {
        var name: String
        var isReady: Bool
        var address: String
        var version: String
        var pods: Int
    }
    struct Namespace: Sendable {
        var name: String
        var pods = 0
        var ready = 0
        var meshed = 0
    }

    var nodes: [Node]
    var namespaces: [Namespace]
    var proxies: Int
    var syncedProxies: Int
    var unreadyPods: [String]

    static func read(_ api: APIConnection) async throws -> ClusterSummary {
        let pods = try await api.list(.pods).filter { $0.deletionTimestamp == nil }
        let nodes = try await api.list(.nodes).map { node in
            Node(
                name: node.name, isReady: node.hasCondition("Ready"),
                address: node.status["addresses"]?.array?.first { $0["type"]?.string == "InternalIP" }?["address"]?
                    .string ?? "",
                version: node.status["nodeInfo"]?["kubeletVersion"]?.string ?? "",
                pods: pods.count { $0.spec["nodeName"]?.string == node.name })
        }
        var namespaces: [String: Namespace] = [:]
        for pod in pods {
            var row = namespaces[pod.namespace] ?? Namespace(name: pod.namespace)
            row.pods += 1
            if pod.hasCondition("Ready") { row.ready += 1 }
            if pod.annotations["weft.dev/intercept"] == "true" { row.meshed += 1 }
            namespaces[pod.namespace] = row
        }
        let proxies = try await api.proxies()["items"]?.array ?? []
        return ClusterSummary(
            nodes: nodes.sorted { $0.name < $1.name }, namespaces: namespaces.values.sorted { $0.name < $1.name },
            proxies: proxies.count, syncedProxies: proxies.count { $0["status"]?.string == "SYNCED" },
            unreadyPods: pods.filter { !$0.hasCondition("Ready") && $0.status["phase"]?.string != "Succeeded" }.map(
                \.key.description))
    }

    var json: JSON {
        [
            "nodes": .array(
                nodes.map {
                    [
                        "name": .string($0.name), "ready": .bool($0.isReady), "address": .string($0.address),
                        "version": .string($0.version), "pods": .int(Int64($0.pods)),
                    ]
                }),
            "namespaces": .array(
                namespaces.map {
                    [
                        "name": .string($0.name), "pods": .int(Int64($0.pods)), "ready": .int(Int64($0.ready)),
                        "meshed": .int(Int64($0.meshed)),
                    ]
                }),
            "proxies": ["connected": .int(Int64(proxies)), "synced": .int(Int64(syncedProxies))],
        ]
    }
}

extension KubeObject {
    func hasCondition(_ type: String) -> Bool {
        status["conditions"]?.array?.contains { $0["type"]?.string == type && $0["status"]?.string == "True" } ?? false
    }
}
