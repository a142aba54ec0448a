import KubeTypes
import Wire

/// What another server says of the resources of one version, brought into the aggregated form.
enum RemoteDiscovery {
    /// - Parameter answer: an `APIGroupDiscoveryList`, from a server that speaks it.
    /// - Returns: the version's entry: `APIVersionDiscovery`.
    static func version(ofAggregated answer: JSON, group: String, version: String) -> JSON? {
        guard answer["kind"] == "APIGroupDiscoveryList" else { return nil }
        for item in answer.array(at: "items") where item["metadata"]?["name"]?.string == group {
            for entry in item.array(at: "versions") where entry["version"]?.string == version { return entry }
        }
        return nil
    }

    /// - Parameter answer: the `APIResourceList` of the version.
    static func version(ofResources answer: JSON, group: String, version: String) -> JSON? {
        guard answer["kind"] == "APIResourceList" else { return nil }
        var resources: [JSON] = []
        for entry in answer.array(at: "resources") {
            let parts = (entry["name"]?.string ?? "").split(separator: "/", maxSplits: 1).map(String.init)
            let kind: JSON = [
                "group": entry["group"] ?? .string(group), "version": entry["version"] ?? .string(version),
                "kind": entry["kind"] ?? "",
            ]
            guard parts.count == 2 else {
                var resource: JSON = [
                    "resource": entry["name"] ?? "", "responseKind": kind,
                    "scope": entry["namespaced"] == true ? "Namespaced" : "Cluster",
                    "singularResource": entry["singularName"] ?? "", "verbs": entry["verbs"] ?? [],
                ]
                for member in ["shortNames", "categories"] { resource[member] = entry[member] }
                resources.append(resource)
                continue
            }
            guard let place = resources.firstIndex(where: { $0["resource"]?.string == parts[0] }) else { continue }
            let part: JSON = [
                "subresource": .string(parts[1]), "responseKind": kind, "verbs": entry["verbs"] ?? [],
            ]
            resources[place]["subresources"] = .array(resources[place].array(at: "subresources") + [part])
        }
        return ["version": .string(version), "resources": .array(resources), "freshness": "Current"]
    }

    /// The entry of a server that does not answer: its version is known, what it has is not.
    static func stale(_ version: String) -> JSON { ["version": .string(version), "freshness": "Stale"] }

    /// Versions by group, as discovery lists them: best first.
    static func groups(_ versions: [(group: String, entry: JSON)]) -> [JSON] {
        var byGroup: [String: [JSON]] = [:]
        for (group, entry) in versions { byGroup[group, default: []].append(entry) }
        return byGroup.sorted { $0.key < $1.key }.map { group, entries in
            let sorted = entries.sorted { one, other in
                APIVersion(one["version"]?.string ?? "") > APIVersion(other["version"]?.string ?? "")
            }
            return ["metadata": ["name": .string(group)], "versions": .array(sorted)]
        }
    }

    /// `APIGroup` of the legacy discovery.
    static func legacyGroup(_ group: JSON) -> JSON {
        let name = group["metadata"]?["name"]?.string ?? ""
        let versions = group.array(at: "versions").map { entry -> JSON in
            let version = entry["version"]?.string ?? ""
            return ["groupVersion": .string("\(name)/\(version)"), "version": .string(version)]
        }
        return ["name": .string(name), "versions": .array(versions), "preferredVersion": versions.first ?? [:]]
    }
}
