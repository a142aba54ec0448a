import ArgumentParser
import ClusterLayout
import KubeClient
import KubeTypes
import MeshModel
import Wire

struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Apply manifests and policies; all of them or, if one is refused, none.",
        discussion: """
            Every object is first checked by the API server without being stored; only when all pass are they applied. An error \
            names the file, the object and the field.

            EXAMPLES
              meshctl apply -f policies/examples/canary
              meshctl apply -f route.yaml -n demo
              cat route.yaml | meshctl apply -f -
            """)

    @OptionGroup var server: ServerOptions
    @Option(name: .shortAndLong, help: "The namespace of objects that name none.")
    var namespace = "default"
    @Option(name: .shortAndLong, help: "A file, a folder, or - for standard input; may be given several times.")
    var filename: [String]
    @Flag(help: "Only check: store nothing.")
    var dryRun = false

    func run() async throws {
        let api = try server.connect()
        let results = try await apply(
            readManifests(filename), to: api, defaultNamespace: namespace, dryRun: dryRun)
        for result in results { print("\(result.name) \(result.outcome)\(dryRun ? " (dry run)" : "")") }
    }
}

struct ApplyResult: Sendable {
    var name: String  // `deployment.apps/web`
    var outcome: String  // created, configured, unchanged
}

/// Applies objects in the order given, namespaces and the like first, after checking them all.
func apply(
    _ manifests: [Manifest], to api: APIConnection, defaultNamespace: String, dryRun: Bool = false
) async throws -> [ApplyResult] {
    let index = try await api.resources()
    var refusals: [String] = []
    var resolved: [(manifest: Manifest, type: ResourceType)] = []
    for var manifest in manifests {
        guard let type = index.type(apiVersion: manifest.object.apiVersion, kind: manifest.object.kind) else {
            refusals.append(
                "\(manifest.place): the cluster has no kind \(manifest.object.kind) in \(manifest.object.apiVersion)"
                    + index.hint(forKind: manifest.object.kind))
            continue
        }
        if type.isNamespaced, manifest.object.namespace.isEmpty { manifest.object.namespace = defaultNamespace }
        resolved.append((manifest, type))
    }
    resolved = resolved.enumerated().sorted {
        (applyRank($0.element.type), $0.offset) < (applyRank($1.element.type), $1.offset)
    }.map(\.element)
    refusals += try await refused(resolved, by: api)
    try throwRefusals(refusals, of: manifests.count)

    for (manifest, finding) in try await PolicyCheck(api, index).findings(resolved) {
        let text = "\(manifest.place): \(finding.field): \(finding.message)"
        if finding.severity == .error || finding.code == .notFound {
            refusals.append(text)
        } else {
            Terminal.error("warning: \(text)")
        }
    }
    try throwRefusals(refusals, of: manifests.count)
    if dryRun {
        return resolved.map { ApplyResult(name: displayName($0.type, $0.manifest.object.name), outcome: "checked") }
    }

    var results: [ApplyResult] = []
    for (manifest, type) in resolved {
        do throws(APIFailure) {
            let before = try await api.find(type, manifest.object.key)
            let after = try await api.apply(type, manifest.object, dryRun: false)
            let outcome =
                before.map { $0.resourceVersion == after.resourceVersion ? "unchanged" : "configured" } ?? "created"
            results.append(ApplyResult(name: displayName(type, manifest.object.name), outcome: outcome))
        } catch {
            let done = results.isEmpty ? "nothing was applied" : "\(results.count) object(s) before it were applied"
            throw CommandFailure("\(manifest.place): \(error.message); \(done)")
        }
    }
    return results
}

/// What the server says against objects, none of which it stores.
private func refused(
    _ objects: [(manifest: Manifest, type: ResourceType)], by api: APIConnection
) async throws -> [String] {
    // Objects of a namespace that this very set creates are checked as if they were in `default`.
    let created = Set(objects.filter { $0.type == .namespaces }.map(\.manifest.object.name))
    var missing: Set<String> = []
    for name in created where try await !api.exists(.namespaces, ObjectKey(name: name)) { missing.insert(name) }
    var refusals: [String] = []
    for (manifest, type) in objects {
        var object = manifest.object
        if missing.contains(object.namespace) { object.namespace = "default" }
        do throws(APIFailure) { _ = try await api.apply(type, object, dryRun: true) } catch {
            refusals.append("\(manifest.place): \(error.message)")
            // These would be said of all of them.
            if [401, 429, 503].contains(error.code) { break }
        }
    }
    return refusals
}

private func throwRefusals(_ refusals: [String], of count: Int) throws(CommandFailure) {
    if refusals.isEmpty { return }
    if refusals.count == 1 { throw CommandFailure("\(refusals[0]); nothing was applied") }
    let lines = refusals + ["\(refusals.count) refusals for \(count) objects; nothing was applied"]
    throw CommandFailure(lines.joined(separator: "\n"))
}

func displayName(_ type: ResourceType, _ name: String) -> String {
    type.group.isEmpty ? "\(type.kind.lowercased())/\(name)" : "\(type.kind.lowercased()).\(type.group)/\(name)"
}

/// What others need comes first.
private func applyRank(_ type: ResourceType) -> Int {
    switch type.kind {
    case "Namespace": 0
    case "CustomResourceDefinition": 1
    case "ServiceAccount", "ConfigMap", "Secret", "GatewayClass": 2
    case "Service": 3
    case "Deployment", "ReplicaSet", "Pod", "DaemonSet", "StatefulSet", "Job": 5
    default: 4
    }
}
