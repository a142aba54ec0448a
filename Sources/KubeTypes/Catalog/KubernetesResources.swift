import Wire

/// The resources of Kubernetes itself that have a schema: its stable versions. Like Kubernetes, we serve no others by default.
enum KubernetesResources {
    static func load() -> [ResourceDefinition] {
        let columns = BuiltInColumns()
        let names = definitionNames()
        let file = EmbeddedFile("kubernetes-resources")
        guard let groups = file.parse(file.bytes).object else { return [] }
        var versionsOfKind: [String: [String]] = [:]
        for group in groups {
            let (name, version) = split(group.key)
            guard APIVersion(version).isStable else { continue }
            for resource in group.value.array ?? [] {
                guard let kind = resource["kind"]?.string, names["\(name)/\(version)/\(kind)"] != nil else { continue }
                versionsOfKind["\(name)/\(kind)", default: []].append(version)
            }
        }
        var definitions: [ResourceDefinition] = []
        for group in groups {
            let (name, version) = split(group.key)
            guard APIVersion(version).isStable else { continue }
            for resource in group.value.array ?? [] {
                guard let kind = resource["kind"]?.string, let plural = resource["name"]?.string else { continue }
                guard let schemaName = names["\(name)/\(version)/\(kind)"] else { continue }
                let served = (versionsOfKind["\(name)/\(kind)"] ?? [version]).sorted { APIVersion($0) > APIVersion($1) }
                definitions.append(
                    ResourceDefinition(
                        type: ResourceType(
                            group: name, version: version, resource: plural, kind: kind,
                            isNamespaced: resource["namespaced"]?.bool ?? false),
                        singular: resource["singularName"]?.string ?? kind.lowercased(),
                        shortNames: strings(resource["shortNames"]), categories: strings(resource["categories"]),
                        verbs: strings(resource["verbs"]),
                        subresources: subresources(resource["subresources"], group: name, version: version),
                        isCustom: false, storageVersion: served[0], servedVersions: served,
                        columns: columns.columns(group: name, kind: kind), schemaLink: SchemaLink(named: schemaName)))
            }
        }
        return definitions
    }

    static func strings(_ json: JSON?) -> [String] { json?.array?.compactMap(\.string) ?? [] }

    private static func split(_ groupVersion: String) -> (group: String, version: String) {
        let parts = groupVersion.split(separator: "/")
        return parts.count == 2 ? (String(parts[0]), String(parts[1])) : ("", groupVersion)
    }

    private static func subresources(_ json: JSON?, group: String, version: String) -> [Subresource] {
        (json?.object ?? JSONObject()).map { member in
            let hasOwnVersion = member.value["version"] != nil
            return Subresource(
                name: member.key, kind: member.value["kind"]?.string ?? "",
                group: member.value["group"]?.string ?? (hasOwnVersion ? "" : group),
                version: member.value["version"]?.string ?? version, verbs: strings(member.value["verbs"]))
        }
    }

    /// `group/version/Kind` to the definition's name, which says the group in short: `io.k8s.api.apps.v1.Deployment`.
    /// Only the entries' keys are read; each candidate is checked against its group-version-kind mark.
    private static func definitionNames() -> [String: String] {
        let file = EmbeddedFile("kubernetes-api")
        let mark = Array("\"x-kubernetes-group-version-kind\":".utf8)
        var names: [String: String] = [:]
        for (key, range) in file.entries() {
            guard let start = find(mark, in: file.bytes, range) else { continue }
            // The mark is the definition's last member: what follows is its value and the closing brace.
            let value = file.parse(Array(file.bytes[start + mark.count..<range.upperBound - 1]))
            for entry in value.array ?? [] {
                let group = entry["group"]?.string ?? ""
                names["\(group)/\(entry["version"]?.string ?? "")/\(entry["kind"]?.string ?? "")"] = key
            }
        }
        return names
    }

    /// Where `needle` stands in the last part of the range; the mark is at most a few hundred bytes from the end.
    private static func find(_ needle: [UInt8], in bytes: [UInt8], _ range: Range<Int>) -> Int? {
        var place = range.upperBound - needle.count
        let first = max(range.lowerBound, range.upperBound - 2400)
        while place >= first {
            if bytes[place] == needle[0], bytes[place + 3] == needle[3],
                bytes[place..<place + needle.count].elementsEqual(needle)
            {
                return place
            }
            place -= 1
        }
        return nil
    }
}

/// The columns of built-in kinds. Kinds not listed have a name and an age.
struct BuiltInColumns {
    private let table: JSON

    init() {
        let file = EmbeddedFile("kubernetes-columns")
        table = file.parse(file.bytes)
    }

    func columns(group: String, kind: String) -> [PrinterColumn] {
        let group = kind == "Event" || group.isEmpty ? "core" : group
        let rows = table["\(group)/\(kind)"]?.array
        let fallback: [JSON] = [["Name", "string", 0, "name"], ["Age", "string", 0]]
        return (rows ?? fallback).map { row in
            PrinterColumn(
                name: row[0]?.string ?? "", type: row[1]?.string ?? "string", format: row[3]?.string ?? "",
                description: "",
                priority: row[2]?.int ?? 0, jsonPath: nil)
        }
    }
}
