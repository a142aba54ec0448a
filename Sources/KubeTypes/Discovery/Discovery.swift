package import Wire

/// What the API tells clients of itself: groups, versions and resources.
extension SchemaCatalog {
    /// The content type of an aggregated answer; a client that does not ask for it gets the legacy documents.
    package static let aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    /// Whether an `Accept` header asks for aggregated discovery. Parameters may come in any order.
    package static func asksForAggregation(accept: String) -> Bool {
        accept.split(separator: ",").contains { entry in
            let parts = Set(entry.split(separator: ";").map { $0.trimmed.lowercased() })
            return parts.contains("g=apidiscovery.k8s.io") && parts.contains("v=v2")
                && parts.contains("as=apigroupdiscoverylist")
        }
    }

    /// `GET /api` and `GET /apis` in aggregated form.
    /// `legacy` means `/api`, which holds the core group only.
    package func aggregatedDiscovery(legacy: Bool) -> JSON {
        let items = groups.filter { $0.isEmpty == legacy }.map { group -> JSON in
            let versions = versions(of: group).map { version -> JSON in
                [
                    "version": .string(version),
                    "resources": .array(definitions(group: group, version: version).map(Self.aggregated)),
                    "freshness": "Current",
                ]
            }
            return ["metadata": group.isEmpty ? [:] : ["name": .string(group)], "versions": .array(versions)]
        }
        return [
            "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": [:],
            "items": .array(items),
        ]
    }

    private static func aggregated(_ definition: ResourceDefinition) -> JSON {
        let type = definition.type
        var resource: JSON = [
            "resource": .string(type.resource), "responseKind": kind(type.group, type.version, type.kind),
            "scope": type.isNamespaced ? "Namespaced" : "Cluster", "singularResource": .string(definition.singular),
            "verbs": strings(definition.verbs),
        ]
        if !definition.shortNames.isEmpty { resource["shortNames"] = strings(definition.shortNames) }
        if !definition.categories.isEmpty { resource["categories"] = strings(definition.categories) }
        if !definition.subresources.isEmpty {
            resource["subresources"] = .array(
                definition.subresources.map { part in
                    [
                        "subresource": .string(part.name), "responseKind": kind(part.group, part.version, part.kind),
                        "verbs": strings(part.verbs),
                    ]
                })
        }
        return resource
    }

    private static func kind(_ group: String, _ version: String, _ kind: String) -> JSON {
        ["group": .string(group), "version": .string(version), "kind": .string(kind)]
    }

    private static func strings(_ strings: [String]) -> JSON { .array(strings.map(JSON.string)) }

    /// `GET /api`: the versions of the core group.
    /// The address is where clients reach the server, `host:port`.
    package func legacyVersions(address: String) -> JSON {
        [
            "kind": "APIVersions", "versions": Self.strings(versions(of: "")),
            "serverAddressByClientCIDRs": [["clientCIDR": "0.0.0.0/0", "serverAddress": .string(address)]],
        ]
    }

    /// `GET /apis`: all groups but the core group.
    package func legacyGroups() -> JSON {
        [
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": .array(groups.filter { !$0.isEmpty }.compactMap(groupEntry)),
        ]
    }

    /// `GET /apis/<group>`; `nil` for a group that is not served.
    package func legacyGroup(_ group: String) -> JSON? {
        guard var entry = groupEntry(group) else { return nil }
        entry["kind"] = "APIGroup"
        entry["apiVersion"] = "v1"
        return entry
    }

    private func groupEntry(_ group: String) -> JSON? {
        let entries = versions(of: group).map { version -> JSON in
            ["groupVersion": .string("\(group)/\(version)"), "version": .string(version)]
        }
        guard let best = entries.first, !group.isEmpty else { return nil }
        return ["name": .string(group), "versions": .array(entries), "preferredVersion": best]
    }

    /// `GET /api/v1` and `GET /apis/<group>/<version>`; `nil` for a version that is not served.
    ///
    /// `digest`: SHA-256. Of a kind's storage version clients get its first 8 bytes, and see by them that it has changed.
    package func legacyResources(
        group: String, version: String, digest: ([UInt8]) -> [UInt8] = { _ in [] }
    ) -> JSON? {
        let definitions = definitions(group: group, version: version)
        if definitions.isEmpty { return nil }
        var resources: [JSON] = []
        for definition in definitions {
            var entry: JSON = [
                "name": .string(definition.type.resource), "singularName": .string(definition.singular),
                "namespaced": .bool(definition.type.isNamespaced), "kind": .string(definition.type.kind),
                "verbs": Self.strings(definition.verbs),
            ]
            if !definition.shortNames.isEmpty { entry["shortNames"] = Self.strings(definition.shortNames) }
            if !definition.categories.isEmpty { entry["categories"] = Self.strings(definition.categories) }
            if definition.isStored {
                let stored = definition.storageType
                let hash = digest(Array("\(stored.group)/\(stored.version)/\(stored.kind)".utf8)).prefix(8)
                if !hash.isEmpty { entry["storageVersionHash"] = .string(Base64.encode(Array(hash))) }
            }
            resources.append(entry)
            for part in definition.subresources {
                var entry: JSON = [
                    "name": .string("\(definition.type.resource)/\(part.name)"), "singularName": "",
                    "namespaced": .bool(definition.type.isNamespaced),
                ]
                if part.group != group || part.version != version {
                    entry["group"] = .string(part.group)
                    entry["version"] = .string(part.version)
                }
                entry["kind"] = .string(part.kind)
                entry["verbs"] = Self.strings(part.verbs)
                resources.append(entry)
            }
        }
        let groupVersion = group.isEmpty ? version : "\(group)/\(version)"
        return [
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": .string(groupVersion),
            "resources": .array(resources),
        ]
    }
}
