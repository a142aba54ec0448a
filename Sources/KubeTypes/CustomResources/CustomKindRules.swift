import Wire

/// What versions of a CRD have in common is validated once, and named as if it stood at the top of the spec, as Kubernetes does.
struct CommonParts {
    let hasSchema: Bool
    let hasSubresources: Bool
    let hasColumns: Bool
    let hasSelectableFields: Bool

    init(_ versions: [JSON]) {
        func isCommon(_ member: String) -> Bool {
            guard let first = versions.first?[member] else { return false }
            return versions.allSatisfy { $0[member] == first }
        }
        hasSchema = isCommon("schema")
        hasSubresources = isCommon("subresources")
        hasColumns = isCommon("additionalPrinterColumns")
        hasSelectableFields = isCommon("selectableFields")
    }
}

extension Validator {
    /// A CustomResourceDefinition must name its kind in one way, store one version, and give each version a structural schema.
    mutating func customResourceDefinition(_ object: KubeObject, old: KubeObject?) {
        storedVersions(object)
        // Only the status changed: what was accepted stays.
        if let old, old.spec == object.spec { return }
        let spec = object.spec
        let group = spec["group"]?.string ?? ""
        if group.isEmpty {
            required("spec.group")
        } else if let fault = Names.subdomain(group) {
            invalid("spec.group", spec["group"], fault)
        } else if !group.contains(".") {
            invalid("spec.group", spec["group"], "should be a domain with at least one dot")
        }
        if spec["scope"]?.string?.isEmpty ?? true { required("spec.scope") }
        oneOf("spec.scope", spec["scope"], ["Cluster", "Namespaced"])
        if spec["preserveUnknownFields"] == true {
            invalid(
                "spec.preserveUnknownFields", true,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
            )
        }
        let names = spec["names"] ?? [:]
        customNames(names)
        let plural = names["plural"]?.string ?? ""
        if !plural.isEmpty, !group.isEmpty, object.name != "\(plural).\(group)" {
            invalid("metadata.name", .string(object.name), "must be spec.names.plural+\".\"+spec.group")
        }
        approval(object, group, old)
        customVersions(spec, old: old?.spec)
        conversion(spec["conversion"])
        guard let old else { return }
        immutable("spec.group", spec["group"], old.spec["group"])
        immutable("spec.names.plural", names["plural"], old.spec["names"]?["plural"])
        guard CustomDefinition(old).isEstablished else { return }
        immutable("spec.scope", spec["scope"], old.spec["scope"])
        immutable("spec.names.kind", names["kind"], old.spec["names"]?["kind"])
    }

    /// Versions that objects may be stored in cannot leave the list.
    private mutating func storedVersions(_ object: KubeObject) {
        let stored = object.status.list("storedVersions").compactMap(\.string)
        let path = "status.storedVersions"
        let names = object.spec.list("versions").compactMap { $0["name"]?.string }
        let storage = CustomDefinition(object).storageVersion
        if stored.isEmpty {
            if !storage.isEmpty { invalid(path, [], "must have at least one stored version") }
            return
        }
        if !storage.isEmpty, !stored.contains(storage) {
            invalid(path, object.status["storedVersions"], "must have the storage version \(storage)")
        }
        for (index, version) in stored.enumerated() where !names.contains(version) {
            invalid(
                "\(path)[\(index)]", .string(version),
                "missing from spec.versions; \(version) was previously a storage version, and must remain in spec.versions"
                    + " until a storage migration ensures no data remains persisted in \(version) and removes \(version)"
                    + " from status.storedVersions")
        }
    }

    private mutating func customNames(_ names: JSON) {
        let path = "spec.names"
        for member in ["plural", "singular", "kind", "listKind"] where names[member]?.string?.isEmpty ?? true {
            required("\(path).\(member)")
        }
        for member in ["plural", "singular"] { name("\(path).\(member)", names[member], Names.serviceLabel) }
        for member in ["kind", "listKind"] {
            name("\(path).\(member)", names[member]) { text in
                Names.serviceLabel(text.lowercased()).map { "may have mixed case, but should otherwise match: \($0)" }
            }
        }
        for member in ["shortNames", "categories"] {
            for (index, text) in names.list(member).enumerated() {
                guard let fault = Names.serviceLabel(text.string ?? "") else { continue }
                invalid("\(path).\(member)[\(index)]", text, fault)
            }
        }
        if let kind = names["kind"]?.string, !kind.isEmpty, names["listKind"]?.string == kind {
            invalid("\(path).listKind", names["listKind"], "kind and listKind may not be the same")
        }
    }

    private static let protectedGroups = ["k8s.io", "kubernetes.io"]

    /// Groups of the Kubernetes project need its word (KEP-1111).
    private mutating func approval(_ object: KubeObject, _ group: String, _ old: KubeObject?) {
        guard Self.protectedGroups.contains(where: { group == $0 || group.hasSuffix("." + $0) }) else { return }
        let key = "api-approved.kubernetes.io"
        let path = "metadata.annotations[\(key)]"
        guard let value = object.annotations[key], !value.isEmpty else {
            if old != nil, old?.annotations[key] == nil { return }
            return required(
                path, "protected groups must have approval annotation \"\(key)\" with the address of the approval")
        }
        if value.hasPrefix("unapproved") || value.hasPrefix("http://") || value.hasPrefix("https://") { return }
        invalid(
            path, .string(value),
            "protected groups must have approval annotation \"\(key)\" with either a URL or a"
                + " reason starting with \"unapproved\"")
    }

    // MARK: Versions

    private mutating func customVersions(_ spec: JSON, old: JSON?) {
        let versions = spec.list("versions")
        if versions.isEmpty { required("spec.versions", "must have at least one version") }
        let common = CommonParts(versions)
        let hasStatus = versions.contains { $0["subresources"]?["status"] != nil }
        var seen: Set<String> = []
        var isUnique = true
        for (index, version) in versions.enumerated() {
            let path = "spec.versions[\(index)]"
            let text = version["name"]?.string ?? ""
            if let fault = Names.serviceLabel(text) { invalid("\(path).name", .string(text), fault) }
            if !seen.insert(text).inserted { isUnique = false }
            deprecation(version, path)
            let place = common.hasSchema ? "spec.validation" : "\(path).schema"
            let schema = version["schema"]?["openAPIV3Schema"]
            if schema == nil { required("\(path).schema.openAPIV3Schema", "schemas are required") }
            if let schema, !common.hasSchema || index == 0 {
                let before = old?.list("versions").first { $0["name"] == version["name"] }?["schema"]
                // What was accepted once stays acceptable.
                if before?["openAPIV3Schema"] != schema {
                    let ownStatus = version["subresources"]?["status"] != nil
                    let document = SchemaDocument(
                        schema, path: "\(place).openAPIV3Schema", hasStatus: common.hasSchema ? hasStatus : ownStatus)
                    for fault in document.faults() { add(fault) }
                }
            }
            if !common.hasSubresources || index == 0 {
                let place = common.hasSubresources ? "spec" : path
                subresources(version["subresources"], "\(place).subresources")
            }
            if !common.hasColumns || index == 0 {
                columns(version, common.hasColumns ? "spec" : path)
            }
            if !common.hasSelectableFields || index == 0 {
                selectableFields(version, common.hasSelectableFields ? "spec" : path)
            }
        }
        let list = JSON.array(versions.map { $0["name"] ?? "" })
        if !isUnique { invalid("spec.versions", list, "must contain unique version names") }
        if !versions.isEmpty, versions.count(where: { $0["storage"] == true }) != 1 {
            invalid("spec.versions", list, "must have exactly one version marked as storage version")
        }
    }

    private mutating func deprecation(_ version: JSON, _ path: String) {
        guard let text = version["deprecationWarning"]?.string else { return }
        let field = "\(path).deprecationWarning"
        if version["deprecated"] != true {
            invalid(field, .string(text), "can only be set for deprecated versions")
        } else if text.isEmpty {
            invalid(field, .string(text), "must not be an empty string")
        } else if text.utf8.count > 256 {
            invalid(field, .string(text), "must be <= 256 characters long")
        } else if let place = text.unicodeScalars.firstIndex(where: { $0.value < 0x20 || $0.value == 0x7F }) {
            let offset = text.unicodeScalars.distance(from: text.unicodeScalars.startIndex, to: place)
            invalid(
                field, .string(text),
                "must only contain printable UTF-8 characters; non-printable character found at index \(offset)")
        }
    }

    private static let columnTypes = ["boolean", "date", "integer", "number", "string"]
    private static let columnFormats = [
        "byte", "date", "date-time", "double", "float", "int32", "int64", "password",
    ]

    private mutating func columns(_ version: JSON, _ path: String) {
        for (index, column) in version.list("additionalPrinterColumns").enumerated() {
            let place = "\(path).additionalPrinterColumns[\(index)]"
            if column["name"]?.string?.isEmpty ?? true { required("\(place).name") }
            let type = column["type"]?.string ?? ""
            let types = "must be one of \(Self.columnTypes.joined(separator: ","))"
            if type.isEmpty {
                required("\(place).type", types)
            } else if !Self.columnTypes.contains(type) {
                invalid("\(place).type", column["type"], types)
            }
            if let format = column["format"]?.string, !format.isEmpty, !Self.columnFormats.contains(format) {
                invalid(
                    "\(place).format", column["format"], "must be one of \(Self.columnFormats.joined(separator: ","))")
            }
            let text = column["jsonPath"]?.string ?? ""
            if text.isEmpty {
                required("\(place).JSONPath")
            } else if !text.hasPrefix(".") {
                invalid("\(place).JSONPath", column["jsonPath"], "must be a simple json path starting with .")
            } else if JSONPath(text) == nil {
                invalid(
                    "\(place).JSONPath", column["jsonPath"],
                    "is not a JSON path, such as .spec.host or .status.conditions[?(@.type==\"Ready\")].status")
            }
        }
    }

    private mutating func subresources(_ parts: JSON?, _ path: String) {
        guard let scale = parts?["scale"] else { return }
        func simple(_ member: String, under roots: [String], _ wording: String, isOptional: Bool = false) {
            let place = "\(path).scale.\(member)"
            let text = scale[member]?.string ?? ""
            if text.isEmpty {
                if !isOptional { required(place) }
            } else if !text.hasPrefix(".") {
                invalid(place, scale[member], "must be a simple json path starting with .")
            } else if !roots.contains(where: text.hasPrefix) {
                invalid(place, scale[member], "should be a json path under \(wording)")
            }
        }
        simple("specReplicasPath", under: [".spec."], ".spec")
        simple("statusReplicasPath", under: [".status."], ".status")
        simple("labelSelectorPath", under: [".spec.", ".status."], "either .spec or .status", isOptional: true)
    }

    private static let mostSelectableFields = 8

    private mutating func selectableFields(_ version: JSON, _ path: String) {
        let fields = version.list("selectableFields")
        guard !fields.isEmpty, let schema = version["schema"]?["openAPIV3Schema"] else { return }
        var seen: Set<[String]> = []
        for (index, field) in fields.enumerated() {
            let place = "\(path).selectableFields[\(index)].jsonPath"
            let text = field["jsonPath"]?.string ?? ""
            guard !text.isEmpty else {
                required(place)
                continue
            }
            guard let steps = FieldSteps(text), !steps.steps.isEmpty, !steps.hasBrackets else {
                invalid(place, field["jsonPath"], "is an invalid path: array notation is not allowed")
                continue
            }
            guard let found = SchemaDocument.part(of: schema, at: steps.steps) else {
                invalid(place, field["jsonPath"], "is an invalid path: does not refer to a valid field")
                continue
            }
            if steps.steps[0] == "metadata" {
                invalid(place, field["jsonPath"], "must not point to fields in metadata")
            }
            if !["string", "boolean", "integer"].contains(found["type"]?.string ?? "") {
                invalid(
                    place, field["jsonPath"],
                    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats"
                        + " are allowed.")
            }
            if !seen.insert(steps.steps).inserted { duplicate(place, .string(text)) }
        }
        if seen.count > Self.mostSelectableFields {
            add(
                FieldFault(
                    .tooMany, "\(path).selectableFields",
                    "\(seen.count): must have at most \(Self.mostSelectableFields) items"))
        }
    }

    // MARK: Conversion

    private static let reviewVersions: Set<String> = ["v1", "v1beta1"]

    private mutating func conversion(_ conversion: JSON?) {
        guard let conversion else { return }
        let path = "spec.conversion"
        let strategy = conversion["strategy"]?.string ?? ""
        if strategy.isEmpty { required("\(path).strategy") }
        oneOf("\(path).strategy", conversion["strategy"], ["None", "Webhook"])
        let webhook = conversion["webhook"]
        guard strategy == "Webhook" else {
            if webhook != nil {
                forbidden("\(path).webhook", "should not be set when strategy is not set to Webhook")
            }
            return
        }
        guard let client = webhook?["clientConfig"] else {
            return required("\(path).webhookClientConfig", "required when strategy is set to Webhook")
        }
        webhookClient(client, "\(path).webhookClientConfig")
        let versions = webhook?.list("conversionReviewVersions").compactMap(\.string) ?? []
        let place = "\(path).conversionReviewVersions"
        if versions.isEmpty {
            required(place)
        } else if Self.reviewVersions.isDisjoint(with: versions) {
            invalid(place, .array(versions.map(JSON.string)), "must include at least one of v1, v1beta1")
        }
        for (index, version) in versions.enumerated() where versions[..<index].contains(version) {
            invalid("\(place)[\(index)]", .string(version), "duplicate version")
        }
    }

    private static let urlFormat = "desired format: https://host[/path]"

    /// A webhook's address: `url` or `service`.
    mutating func webhookClient(_ client: JSON, _ path: String) {
        switch (client["url"]?.string, client["service"]) {
        case (nil, nil), (_?, _?): required(path, "exactly one of url or service is required")
        case (let url?, nil):
            let host = url.dropFirst(8).prefix { $0 != "/" }
            if !url.hasPrefix("https://") {
                let scheme = url.split(separator: ":").first.map(String.init) ?? ""
                invalid(
                    "\(path).url", .string(scheme), "'https' is the only allowed URL scheme; \(Self.urlFormat)")
            } else if host.isEmpty {
                invalid("\(path).url", .string(""), "host must be specified; \(Self.urlFormat)")
            } else if url.contains("#") || url.contains("?") || host.contains("@") {
                invalid(
                    "\(path).url", .string(url),
                    "query parameters, fragments and user information are not permitted; \(Self.urlFormat)")
            }
        case (nil, let service?):
            if service["name"]?.string?.isEmpty ?? true {
                required("\(path).service.name", "service name is required")
            }
            if service["namespace"]?.string?.isEmpty ?? true {
                required("\(path).service.namespace", "service namespace is required")
            }
            if let port = service["port"]?.int, let fault = Names.portNumber(port) {
                invalid("\(path).service.port", service["port"], fault)
            }
            if let text = service["path"]?.string, !text.hasPrefix("/") {
                invalid("\(path).service.path", .string(text), "must start with a '/'")
            }
        }
    }
}
