import ArgumentParser
import ClusterLayout
import KubeTypes
import Wire

struct Stat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Requests, success rate and latency by workload, as the proxies in front of them count.",
        discussion: """
            REQUESTS and SUCCESS count since each proxy started; RPS is measured over --window seconds.

            EXAMPLES
              meshctl stat -n demo
              meshctl stat --window 5 -o json
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions
    @Option(help: "Seconds over which the rate is measured; 0 leaves it out.")
    var window = 1.0

    func run() async throws {
        let api = try target.connect()
        if format.output == .json || format.output == .yaml {
            try printStructured(
                try await api.traffic(by: "stat", namespace: target.namespaceOrAll, window: window), format.output)
            return
        }
        var table = TextTable(
            ["NAMESPACE", "WORKLOAD", "SERVICE", "REQUESTS", "SUCCESS", "RPS", "P50", "P95", "P99", "MTLS"],
            numeric: [3, 4, 5, 6, 7, 8])
        for row in try await api.workloadTraffic(namespace: target.namespaceOrAll, window: window) {
            table.rows.append([
                row.namespace, row.destination, row.service, "\(row.requests)",
                "\(decimal(row.successRate, places: 2))%",
                decimal(row.perSecond, places: 1), "\(decimal(row.p50, places: 1))ms",
                "\(decimal(row.p95, places: 1))ms",
                "\(decimal(row.p99, places: 1))ms", row.isMutualTLS ? "yes" : "no",
            ])
        }
        print(
            table.rows.isEmpty ? "no requests seen\(target.namespace.map { " in namespace \($0)" } ?? "")" : table.text)
    }
}

struct Edges: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Who talks to whom, and as which identity.",
        discussion: """
            EXAMPLES
              meshctl edges -n demo
              meshctl edges -o json
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions

    func run() async throws {
        let api = try target.connect()
        if format.output == .json || format.output == .yaml {
            try printStructured(try await api.traffic(by: "edges", namespace: target.namespaceOrAll), format.output)
            return
        }
        var table = TextTable(
            ["SOURCE", "DESTINATION", "SECURED", "REQUESTS", "SOURCE IDENTITY", "DESTINATION IDENTITY"], numeric: [3])
        for edge in try await api.edges(namespace: target.namespaceOrAll) {
            table.rows.append([
                edge.source, edge.destination, edge.isMutualTLS ? "mTLS" : "no", "\(edge.requests)",
                edge.sourcePrincipal.isEmpty ? "-" : edge.sourcePrincipal,
                edge.destinationPrincipal.isEmpty ? "-" : edge.destinationPrincipal,
            ])
        }
        print(
            table.rows.isEmpty ? "no requests seen\(target.namespace.map { " in namespace \($0)" } ?? "")" : table.text)
    }
}

struct ProxyStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy-status",
        abstract: "Which proxies are connected and whether they run the newest configuration.",
        discussion: """
            SYNCED: the proxy has acknowledged all it was sent. STALE: an answer is outstanding. REJECTED: it refused a resource and \
            keeps the last good one; the reason follows. NOT CONNECTED: it runs with what it has.

            HOLDS says how much of the mesh a proxy has: all of it, or the destinations its pod uses.

            EXAMPLES
              meshctl proxy-status
              meshctl proxy-status --destinations
              meshctl proxy-status -o json
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions
    @Flag(help: "What each proxy holds on demand, and what it was told is not there.")
    var destinations = false

    func run() async throws {
        var answer = try await target.connect().proxies()
        let namespace = target.namespaceOrAll
        if !namespace.isEmpty {
            answer["items"] = .array((answer["items"]?.array ?? []).filter { $0["namespace"]?.string == namespace })
        }
        if format.output == .json || format.output == .yaml {
            try printStructured(answer, format.output)
            return
        }
        if destinations {
            print(Self.destinations(answer).text)
            return
        }
        var table = TextTable(
            ["PROXY", "NODE", "STATE", "GENERATION", "HOLDS", "RESOURCES", "CONNECTED SINCE", "REFUSED"],
            numeric: [3, 5])
        for proxy in answer["items"]?.array ?? [] {
            let types = proxy["types"]?.array ?? []
            let refusals = types.compactMap { $0["lastRejection"]?["message"]?.string }
            let text = { (field: String) in proxy[field]?.string ?? "" }
            table.rows.append([
                "\(text("namespace"))/\(text("pod"))", text("node"), text("status"),
                "\(proxy["acknowledgedGeneration"]?.int ?? 0)/\(proxy["generation"]?.int ?? 0)",
                proxy["configuration"]?.string == "on-demand"
                    ? "\(proxy["destinations"]?.array?.count ?? 0) on demand" : "all",
                "\(types.reduce(0) { $0 + ($1["resources"]?.int ?? 0) })", text("connectedSince"),
                refusals.joined(separator: "; "),
            ])
        }
        let place = namespace.isEmpty ? "" : " in namespace \(namespace)"
        print(table.rows.isEmpty ? "no proxies are connected\(place)" : table.text)
    }

    private static func destinations(_ answer: JSON) -> TextTable {
        var table = TextTable(["PROXY", "DESTINATION", "STATE"])
        for proxy in answer["items"]?.array ?? [] {
            let name = "\(proxy["namespace"]?.string ?? "")/\(proxy["pod"]?.string ?? "")"
            if proxy["configuration"]?.string != "on-demand" { table.rows.append([name, "*", "held"]) }
            for (field, state) in [("destinations", "held"), ("absentDestinations", "not there")] {
                for key in proxy[field]?.array ?? [] { table.rows.append([name, key.string ?? "", state]) }
            }
        }
        return table
    }
}

struct Version: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the versions of meshctl and of the cluster.",
        discussion: """
            EXAMPLES
              meshctl version
              meshctl version --client
            """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions
    @Flag(help: "Only this program's version; do not ask the cluster.")
    var client = false

    func run() async throws {
        var answer: JSON = ["client": .string(weftVersion)]
        if !client {
            answer["server"] = try await server.connect().json("GET", "/version")
        }
        switch format.output {
        case .json, .yaml: try printStructured(answer, format.output)
        default:
            print("meshctl  \(weftVersion)")
            if let server = answer["server"]?["gitVersion"]?.string { print("cluster  \(server)") }
        }
    }
}
