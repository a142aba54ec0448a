import Wire

/// Kinds described by a CustomResourceDefinition: those of the Gateway API and Istio, and any a user adds.
package enum CustomKinds {
    static func gatewayAPI() -> [ResourceDefinition] {
        load(EmbeddedFile("gateway-api")) {
            $0.hasPrefix("standard/") || $0.hasPrefix("experimental/XBackendTrafficPolicy")
        }
    }
    static func istio() -> [ResourceDefinition] { load(EmbeddedFile("istio")) { _ in true } }

    /// An entry of these files is a line for the kind, then a line for each version.
    private static func load(_ file: EmbeddedFile, keeping: (String) -> Bool) -> [ResourceDefinition] {
        var definitions: [ResourceDefinition] = []
        var header: JSON?
        var versions: [CustomVersion] = []
        func finish() {
            if let header { definitions += Self.definitions(header, versions) }
            versions = []
        }
        for line in file.lines() {
            switch file.bytes[line.lowerBound] {
            case UInt8(ascii: "\""):
                finish()
                guard let quote = file.bytes[(line.lowerBound + 1)..<line.upperBound].firstIndex(of: UInt8(ascii: "\""))
                else {
                    header = nil
                    continue
                }
                let key = String(decoding: file.bytes[(line.lowerBound + 1)..<quote], as: UTF8.self)
                header =
                    keeping(key) ? file.parse(Array(file.bytes[quote + 2..<line.upperBound]) + Array("]}".utf8)) : nil
            case UInt8(ascii: "{") where line.count > 1 && header != nil:
                versions.append(CustomVersion(file, line))
            default: break
            }
        }
        finish()
        return definitions
    }

    private static func definitions(_ header: JSON, _ versions: [CustomVersion]) -> [ResourceDefinition] {
        guard let group = header["group"]?.string, let names = header["names"] else { return [] }
        let served = versions.filter { $0.head["served"]?.bool == true }
        let versionNames = served.map(\.name).sorted { APIVersion($0) > APIVersion($1) }
        guard let storage = versions.first(where: { $0.head["storage"]?.bool == true })?.name ?? versionNames.first
        else {
            return []
        }
        return served.map { version in
            let own = version.sameAs.flatMap { same in versions.first { $0.name == same } } ?? version
            return definition(
                group: group, names: names, isNamespaced: header["scope"]?.string != "Cluster", version: version.name,
                storage: storage, served: versionNames, subresources: version.head["subresources"],
                columns: version.head["columns"]?.array ?? [], schema: own.link)
        }
    }

    static func definition(
        group: String, names: JSON, isNamespaced: Bool, version: String, storage: String, served: [String],
        subresources: JSON?, columns: [JSON], schema: SchemaLink, custom: CustomTraits? = nil
    ) -> ResourceDefinition {
        let kind = names["kind"]?.string ?? ""
        var parts: [Subresource] = []
        if subresources?["status"] != nil {
            parts.append(
                Subresource(
                    name: "status", kind: kind, group: group, version: version, verbs: ["get", "patch", "update"]))
        }
        if subresources?["scale"] != nil {
            parts.append(
                Subresource(
                    name: "scale", kind: "Scale", group: "autoscaling", version: "v1",
                    verbs: ["get", "patch", "update"]))
        }
        let name = PrinterColumn(
            name: "Name", type: "string", format: "name", description: "", priority: 0, jsonPath: nil)
        let age = PrinterColumn(
            name: "Age", type: "date", format: "", description: "", priority: 0, jsonPath: ".metadata.creationTimestamp"
        )
        let own = columns.map { column in
            PrinterColumn(
                name: column["name"]?.string ?? "", type: column["type"]?.string ?? "string",
                format: column["format"]?.string ?? "", description: column["description"]?.string ?? "",
                priority: column["priority"]?.int ?? 0, jsonPath: column["jsonPath"]?.string)
        }
        return ResourceDefinition(
            type: ResourceType(
                group: group, version: version, resource: names["plural"]?.string ?? "", kind: kind,
                isNamespaced: isNamespaced),
            singular: names["singular"]?.string ?? kind.lowercased(),
            shortNames: KubernetesResources.strings(names["shortNames"]),
            categories: KubernetesResources.strings(names["categories"]),
            verbs: ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
            subresources: parts, isCustom: true, storageVersion: storage, servedVersions: served,
            columns: [name] + (own.isEmpty ? [age] : own), schemaLink: schema, custom: custom)
    }
}

/// One version of a custom kind: its head at once, its schema when asked for.
private struct CustomVersion {
    let head: JSON
    let name: String
    let sameAs: String?
    let link: SchemaLink

    init(_ file: EmbeddedFile, _ line: Range<Int>) {
        let mark = Array(",\"schema\":".utf8)
        var place = line.lowerBound
        while place + mark.count < line.upperBound, !file.bytes[place..<place + mark.count].elementsEqual(mark) {
            place += 1
        }
        head = file.parse(Array(file.bytes[line.lowerBound..<place]) + [UInt8(ascii: "}")])
        name = head["name"]?.string ?? ""
        let schema = place + mark.count..<line.upperBound - 1
        sameAs = schema.count < 64 ? file.parse(schema)["sameAs"]?.string : nil
        link = SchemaLink(custom: CustomSchema(file, schema))
    }
}
