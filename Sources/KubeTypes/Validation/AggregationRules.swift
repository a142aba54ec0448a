import Wire

extension Validator {
    /// An APIService says which server answers for one version of a group.
    mutating func apiService(_ object: KubeObject) {
        let spec = object.spec
        let group = spec["group"]?.string ?? ""
        let version = spec["version"]?.string ?? ""
        if version.isEmpty {
            required("spec.version")
        } else {
            name("spec.version", spec["version"], Names.serviceLabel)
        }
        if !group.isEmpty { name("spec.group", spec["group"], Names.subdomain) }
        if object.name != "\(version).\(group)" {
            invalid(
                "metadata.name", .string(object.name),
                "must be `spec.version+\".\"+spec.group`: \"\(version).\(group)\"")
        }
        priority("spec.groupPriorityMinimum", spec["groupPriorityMinimum"], most: 20000)
        priority("spec.versionPriority", spec["versionPriority"], most: 1000)
        guard let service = spec["service"], !service.isNull else {
            if !(spec["caBundle"]?.string ?? "").isEmpty {
                invalid("spec.caBundle", .string("0 bytes"), "local APIServices may not have a caBundle")
            }
            if spec["insecureSkipTLSVerify"] == true {
                invalid("spec.insecureSkipTLSVerify", true, "local APIServices may not have insecureSkipTLSVerify")
            }
            return
        }
        for member in ["namespace", "name"] where service[member]?.string?.isEmpty ?? true {
            required("spec.service.\(member)")
        }
        port("spec.service.port", service["port"])
        if spec["insecureSkipTLSVerify"] == true, !(spec["caBundle"]?.string ?? "").isEmpty {
            invalid("spec.insecureSkipTLSVerify", true, "may not be true if caBundle is present")
        }
    }

    private mutating func priority(_ path: String, _ value: JSON?, most: Int) {
        guard let number = value?.int, (1...most).contains(number) else {
            return invalid(path, value ?? 0, "must be positive and less than or equal to \(most)")
        }
    }
}
