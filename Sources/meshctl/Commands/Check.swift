import ArgumentParser
import ClusterLayout
import KubeTypes
import Wire

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the machine and the cluster, and say what to do about what is wrong.",
        discussion: """
            The exit status is 1 when a check fails.

            EXAMPLES
              meshctl check
              meshctl check -o json
              meshctl check --pre        only what 'meshctl up' needs of the machine
            """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var format: OutputOptions
    @Flag(help: "Only check the machine, before a start.")
    var pre = false

    private struct Finding {
        var scope: String
        var name: String
        var failure: String?

        var json: JSON {
            var json: JSON = ["scope": .string(scope), "check": .string(name), "ok": .bool(failure == nil)]
            json["failure"] = failure.map(JSON.string)
            return json
        }
    }

    func run() async throws {
        var findings: [Finding] = []
        if server.kubeconfig == nil {
            findings += MachineCheck.requirements.map { Finding(scope: "machine", name: $0.name, failure: $0.check()) }
        }
        if !pre { findings += await clusterChecks().map { Finding(scope: "cluster", name: $0.0, failure: $0.1) } }
        switch format.output {
        case .json, .yaml: try printStructured(["checks": .array(findings.map(\.json))], format.output)
        default: printLines(findings)
        }
        if findings.contains(where: { $0.failure != nil }) { throw ExitCode(1) }
    }

    private func printLines(_ findings: [Finding]) {
        var scope = ""
        for finding in findings {
            if finding.scope != scope { print(Terminal.bold(finding.scope)) }
            scope = finding.scope
            print(
                finding.failure.map { "  \(Terminal.red("✗")) \(finding.name): \($0)" }
                    ?? "  \(Terminal.green("✓")) \(finding.name)")
        }
    }

    private func clusterChecks() async -> [(String, String?)] {
        var results: [(String, String?)] = []
        do {
            let api = try server.connect()
            if server.kubeconfig == nil {
                let layout = try server.cluster.layout()
                let runs = Daemon(layout: layout).runningProcess() != nil
                results.append(
                    (
                        "meshd runs",
                        runs
                            ? nil
                            : "it does not; containers and proxies go on without it: start it with '\(layout.command("up"))'"
                    ))
                if !runs { return results }
            }
            _ = try await api.json("GET", "/version")
            results.append(("the API server answers", nil))
            let summary = try await ClusterSummary.read(api)
            let away = summary.nodes.filter { !$0.isReady }.map(\.name)
            results.append(
                (
                    "all \(summary.nodes.count) nodes are ready",
                    away.isEmpty ? nil : "not ready: \(away.joined(separator: ", "))"
                ))
            results.append(
                (
                    "all pods are ready",
                    summary.unreadyPods.isEmpty
                        ? nil : "not ready: \(summary.unreadyPods.joined(separator: ", ")); see 'kubectl describe pod'"
                ))
            results.append(
                (
                    "all \(summary.proxies) proxies run the newest configuration",
                    summary.proxies == summary.syncedProxies
                        ? nil : "\(summary.proxies - summary.syncedProxies) do not: see 'meshctl proxy-status'"
                ))
            results.append(("policies are accepted", try await refusedPolicies(api)))
        } catch {
            results.append(("the API server answers", "\(error)"))
        }
        return results
    }

    /// Routes whose status says that they are not accepted or refer to what is not there.
    private func refusedPolicies(_ api: APIConnection) async throws -> String? {
        var refused: [String] = []
        for route in try await api.list(.httpRoutes) {
            for parent in route.status["parents"]?.array ?? [] {
                for condition in parent["conditions"]?.array ?? [] where condition["status"]?.string == "False" {
                    refused.append(
                        "\(route.label): \(condition["type"]?.string ?? ""): \(condition["message"]?.string ?? "")")
                }
            }
        }
        return refused.isEmpty ? nil : refused.joined(separator: "; ")
    }
}
