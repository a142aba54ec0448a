package import Wire

/// A CustomResourceDefinition (apiextensions.k8s.io/v1), and the kinds it asks for.
package struct CustomDefinition: Sendable {
    package static let cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io"

    package var object: KubeObject

    package init(_ object: KubeObject) { self.object = object }

    package var group: String { object.spec["group"]?.string ?? "" }
    package var names: JSON { object.spec["names"] ?? [:] }
    package var versions: [JSON] { object.spec.list("versions") }
    package var storageVersion: String {
        versions.first { $0["storage"]?.bool == true }?["name"]?.string ?? ""
    }
    package var isEstablished: Bool { condition("Established")?["status"] == "True" }
    package var isTerminating: Bool { object.deletionTimestamp != nil }

    func condition(_ type: String) -> JSON? {
        object.status.list("conditions").first { $0["type"]?.string == type }
    }

    /// The kinds, one for each served version, under the names that were accepted.
    package func definitions(names accepted: JSON? = nil) -> [ResourceDefinition] {
        let names = accepted ?? self.names
        let served = versions.filter { $0["served"]?.bool == true }
        let best = served.compactMap { $0["name"]?.string }.sorted { APIVersion($0) > APIVersion($1) }
        let schemas = schemas()
        var made: [ResourceDefinition] = []
        for version in served {
            guard let name = version["name"]?.string, let schema = schemas[name] else { continue }
            made.append(
                CustomKinds.definition(
                    group: group, names: names, isNamespaced: object.spec["scope"]?.string != "Cluster", version: name,
                    storage: storageVersion, served: best, subresources: version["subresources"],
                    columns: version["additionalPrinterColumns"]?.array ?? [], schema: SchemaLink(custom: schema),
                    custom: traits(version, names)))
        }
        return made
    }

    /// The kind in its storage version, served or not: for what is done to all its objects.
    package func storageDefinition(names accepted: JSON? = nil) -> ResourceDefinition {
        CustomKinds.definition(
            group: group, names: accepted ?? names, isNamespaced: object.spec["scope"]?.string != "Cluster",
            version: storageVersion, storage: storageVersion, served: [storageVersion], subresources: nil, columns: [],
            schema: SchemaLink(custom: CustomSchema(["x-kubernetes-preserve-unknown-fields": true])))
    }

    /// Versions of one schema share it.
    private func schemas() -> [String: CustomSchema] {
        var made: [(json: JSON, schema: CustomSchema)] = []
        var byVersion: [String: CustomSchema] = [:]
        for version in versions {
            let json = version["schema"]?["openAPIV3Schema"] ?? [:]
            let name = version["name"]?.string ?? ""
            if let known = made.first(where: { $0.json == json }) {
                byVersion[name] = known.schema
                continue
            }
            let schema = CustomSchema(json)
            made.append((json, schema))
            byVersion[name] = schema
        }
        return byVersion
    }

    private func traits(_ version: JSON, _ names: JSON) -> CustomTraits {
        let kind = names["kind"]?.string ?? ""
        let name = version["name"]?.string ?? ""
        var warning: String?
        if version["deprecated"]?.bool == true {
            warning = version["deprecationWarning"]?.string ?? "\(group)/\(name) \(kind) is deprecated"
        }
        return CustomTraits(
            definitionName: object.name, listKind: names["listKind"]?.string ?? kind + "List",
            conversion: versions.count > 1 ? conversion : nil, scale: ScalePaths(version["subresources"]?["scale"]),
            selectableFields: version.list("selectableFields").compactMap { field in
                SelectableField(field["jsonPath"]?.string ?? "")
            }, deprecationWarning: warning, isTerminating: isTerminating)
    }

    private var conversion: WebhookConversion? {
        guard object.spec["conversion"]?["strategy"] == "Webhook" else { return nil }
        let webhook = object.spec["conversion"]?["webhook"]
        return WebhookConversion(
            client: webhook?["clientConfig"] ?? [:],
            reviewVersions: webhook?["conversionReviewVersions"]?.array?.compactMap(\.string) ?? [])
    }
}

// MARK: What the server decides

extension ResourceDefinition {
    var isCustomDefinition: Bool { type.kind == "CustomResourceDefinition" && type.group == "apiextensions.k8s.io" }
}

extension CustomDefinition {
    static func setDefaults(_ json: inout JSON) {
        var definition = CustomDefinition(KubeObject(json))
        definition.setDefaults()
        json = definition.object.json
    }

    /// Names that follow from the kind's, the strategy there is when none is named, and what is known before anything is
    /// accepted.
    private mutating func setDefaults() {
        let kind = names["kind"]?.string ?? ""
        if !kind.isEmpty {
            if names["singular"]?.string?.isEmpty ?? true {
                object.json[path: ["spec", "names", "singular"]] = .string(kind.lowercased())
            }
            if names["listKind"]?.string?.isEmpty ?? true {
                object.json[path: ["spec", "names", "listKind"]] = .string(kind + "List")
            }
        }
        if object.spec["conversion"] == nil { object.json[path: ["spec", "conversion"]] = ["strategy": "None"] }
        if let service = object.json[path: ["spec", "conversion", "webhook", "clientConfig", "service"]],
            service["port"] == nil
        {
            object.json[path: ["spec", "conversion", "webhook", "clientConfig", "service", "port"]] = 443
        }
        noteStorageVersion()
    }

    /// Objects may be stored in each version that ever was the one to store.
    private mutating func noteStorageVersion() {
        let version = storageVersion
        var stored = object.status["storedVersions"]?.array ?? []
        if version.isEmpty || stored.contains(.string(version)) { return }
        stored.append(.string(version))
        object.json[path: ["status", "storedVersions"]] = .array(stored)
    }

    /// A deletion ends when the kind's objects are gone.
    package mutating func prepareForDeletion(now: Timestamp) {
        if object.finalizers.contains(Self.cleanupFinalizer) { return }
        object.finalizers.append(Self.cleanupFinalizer)
        set(
            "Terminating", true, "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon", now)
    }

    package mutating func set(_ type: String, _ isTrue: Bool, _ reason: String, _ message: String, _ now: Timestamp) {
        let status: JSON = isTrue ? "True" : "False"
        var conditions = object.status.list("conditions")
        var fresh: JSON = [
            "type": .string(type), "status": status, "lastTransitionTime": now.json, "reason": .string(reason),
            "message": .string(message),
        ]
        if let place = conditions.firstIndex(where: { $0["type"]?.string == type }) {
            if conditions[place]["status"] == status {
                fresh["lastTransitionTime"] = conditions[place]["lastTransitionTime"]
            }
            conditions[place] = fresh
        } else {
            conditions.append(fresh)
        }
        object.json[path: ["status", "conditions"]] = .array(conditions)
    }
}
