import Wire

extension Validator {
    /// A CustomResourceDefinition must name its kind in one way, store one version, and give each version a schema.
    mutating func customResourceDefinition(_ object: KubeObject, old: KubeObject?) {
        let spec = object.spec
        let names = spec["names"]
        let group = spec["group"]?.string ?? ""
        let plural = names?["plural"]?.string ?? ""
        if group.isEmpty { required("spec.group") } else { name("spec.group", spec["group"], Names.subdomain) }
        if plural.isEmpty {
            required("spec.names.plural")
        } else {
            name("spec.names.plural", names?["plural"], Names.label)
        }
        if names?["kind"]?.string?.isEmpty ?? true { required("spec.names.kind") }
        if !plural.isEmpty, !group.isEmpty, object.name != "\(plural).\(group)" {
            invalid(
                "metadata.name", .string(object.name), "must be spec.names.plural+\".\"+spec.group: \(plural).\(group)")
        }
        oneOf("spec.scope", spec["scope"], ["Cluster", "Namespaced"])
        versions(spec.list("versions"))
        guard let old else { return }
        immutable("spec.group", spec["group"], old.spec["group"])
        immutable("spec.scope", spec["scope"], old.spec["scope"])
        immutable("spec.names.plural", names?["plural"], old.spec["names"]?["plural"])
        immutable("spec.names.kind", names?["kind"], old.spec["names"]?["kind"])
    }

    private mutating func versions(_ versions: [JSON]) {
        if versions.isEmpty { required("spec.versions", "must have at least one version") }
        var seen: Set<String> = []
        for (index, version) in versions.enumerated() {
            let path = "spec.versions[\(index)]"
            let name = version["name"]?.string ?? ""
            if name.isEmpty {
                required("\(path).name")
            } else {
                self.name("\(path).name", version["name"], Names.label)
            }
            if !name.isEmpty, !seen.insert(name).inserted { duplicate("\(path).name", .string(name)) }
            guard let schema = version["schema"]?["openAPIV3Schema"] else {
                required("\(path).schema.openAPIV3Schema", "schemas are required")
                continue
            }
            if schema["type"] != "object" {
                invalid("\(path).schema.openAPIV3Schema.type", schema["type"], "must be object at the root")
            }
            for (place, column) in version.list("additionalPrinterColumns").enumerated() {
                let text = column["jsonPath"]?.string ?? ""
                if JSONPath(text) != nil { continue }
                invalid(
                    "\(path).additionalPrinterColumns[\(place)].jsonPath", .string(text),
                    "must be a simple JSON path such as .spec.host")
            }
        }
        let stored = versions.count { $0["storage"] == true }
        if !versions.isEmpty, stored != 1 {
            invalid(
                "spec.versions", .array(versions.map { $0["name"] ?? "" }),
                "must have exactly one version marked as storage version, found \(stored)")
        }
    }
}
