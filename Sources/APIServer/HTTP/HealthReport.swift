import KubeTypes
import Store
import Synchronization

/// What a health endpoint answers, from its checks.
struct HealthReport {
    struct Check: Sendable {
        let name: String
        let isHealthy: Bool
    }

    let isHealthy: Bool
    let text: String

    /// `only`: the one check asked for; empty for all. `nil` when there is none of that name.
    init?(kind: String, checks: [Check], only: String, excluded: [String], isVerbose: Bool) {
        var checks = checks
        if !only.isEmpty {
            checks = checks.filter { $0.name == only }
            if checks.isEmpty { return nil }
        }
        let names = Set(checks.map(\.name))
        let failing = checks.filter { !$0.isHealthy && !excluded.contains($0.name) }
        isHealthy = failing.isEmpty
        if isHealthy, !isVerbose {
            text = "ok"
            return
        }
        var lines: [String] = []
        for check in checks {
            if excluded.contains(check.name) {
                lines.append("[+]\(check.name) excluded: ok")
            } else {
                lines.append(check.isHealthy ? "[+]\(check.name) ok" : "[-]\(check.name) failed: reason withheld")
            }
        }
        let unknown = excluded.filter { !names.contains($0) }
        if !unknown.isEmpty {
            let list = unknown.map { "\"\($0)\"" }.joined(separator: ", ")
            lines.append("warn: some health checks cannot be excluded: no matches for \(list)")
        }
        lines.append("\(kind) check \(isHealthy ? "passed" : "failed")")
        text = lines.joined(separator: "\n") + "\n"
    }
}

/// Where the server is between its start and its end, and whether its parts work.
final class ServerLifecycle: Sendable {
    private let registry: Registry
    private let isEnding = Atomic(false)

    init(_ registry: Registry) { self.registry = registry }

    func beginShutdown() { isEnding.store(true, ordering: .relaxed) }

    /// The server listens only after its store is open and what every cluster has is made; it is ready until it ends.
    func checks(_ kind: String) -> [HealthReport.Check] {
        var checks = [
            HealthReport.Check(name: "ping", isHealthy: true),
            HealthReport.Check(name: "store", isHealthy: hasNamespaces),
            HealthReport.Check(name: "poststarthook/bootstrap", isHealthy: true),
        ]
        if kind != "livez" {
            let isEnding = isEnding.load(ordering: .relaxed)
            checks.append(HealthReport.Check(name: "shutdown", isHealthy: !isEnding))
        }
        return checks
    }

    /// The store answers, and what no cluster is without is there.
    private var hasNamespaces: Bool {
        registry.exists(.namespaces, ObjectKey(name: "default"))
    }
}

extension Registry {
    /// How many objects of each resource are stored.
    func countByResource() -> [(resource: String, count: Int)] {
        var counts: [(resource: String, count: Int)] = []
        let index = store.snapshot().index
        for definition in catalog.definitions where definition.isStored && definition.type == definition.storageType {
            var count = 0
            index.visit(under: StorageKey.scope(definition.type)) { _ in
                count += 1
                return true
            }
            counts.append((definition.type.qualifiedName, count))
        }
        return counts
    }
}
