import Wire

/// ConfigMap, Secret, Node, Lease and access control.
extension Validator {
    private mutating func data(_ object: KubeObject, _ field: String) -> Int {
        var size = 0
        for entry in object.json[field]?.object ?? JSONObject() {
            if let fault = Names.dataKey(entry.key) { invalid("\(field)[\(entry.key)]", .string(entry.key), fault) }
            size += entry.key.utf8.count + (entry.value.string?.utf8.count ?? 0)
        }
        return size
    }

    private mutating func limit(_ size: Int, _ path: String) {
        if size > 1_048_576 {
            add(FieldFault(.tooLong, path, "may not be more than 1048576 bytes in all, found \(size)"))
        }
    }

    private mutating func frozen(_ object: KubeObject, _ old: KubeObject?, _ fields: [String]) {
        guard let old, old.json["immutable"] == true else { return }
        if object.json["immutable"] != true { forbidden("immutable", "field is immutable when `immutable` is set") }
        for field in fields where object.json[field] != old.json[field] {
            forbidden(field, "field is immutable when `immutable` is set")
        }
    }

    mutating func configMap(_ object: KubeObject, old: KubeObject?) {
        let size = data(object, "data") + data(object, "binaryData")
        limit(size, "data")
        for entry in object.json["binaryData"]?.object ?? JSONObject() where object.json["data"]?[entry.key] != nil {
            invalid("data[\(entry.key)]", .string(entry.key), "duplicate of key present in binaryData")
        }
        frozen(object, old, ["data", "binaryData"])
    }

    mutating func secret(_ object: KubeObject, old: KubeObject?) {
        limit(data(object, "data") / 4 * 3, "data")
        let needed: [String]
        switch object.json["type"]?.string ?? "" {
        case "kubernetes.io/tls": needed = ["tls.crt", "tls.key"]
        case "kubernetes.io/dockerconfigjson": needed = [".dockerconfigjson"]
        case "kubernetes.io/ssh-auth": needed = ["ssh-privatekey"]
        default: needed = []
        }
        for key in needed where object.json["data"]?[key] == nil { required("data[\(key)]") }
        frozen(object, old, ["data"])
        if let old { immutable("type", object.json["type"], old.json["type"]) }
    }

    mutating func node(_ object: KubeObject) {
        for (index, taint) in object.spec.list("taints").enumerated() {
            let path = "spec.taints[\(index)]"
            name("\(path).key", taint["key"], Names.qualified)
            name("\(path).value", taint["value"], Names.labelValue)
            oneOf("\(path).effect", taint["effect"], ["NoSchedule", "PreferNoSchedule", "NoExecute"])
        }
        for field in ["capacity", "allocatable"] {
            for entry in object.status[field]?.object ?? JSONObject() {
                _ = quantity("status.\(field)[\(entry.key)]", entry.value)
            }
        }
    }

    mutating func lease(_ object: KubeObject) {
        if let seconds = object.spec["leaseDurationSeconds"]?.int, seconds <= 0 {
            invalid("spec.leaseDurationSeconds", .int(Int64(seconds)), "must be greater than 0")
        }
        notNegative("spec.leaseTransitions", object.spec["leaseTransitions"])
    }

    mutating func access(_ object: KubeObject, old: KubeObject?, _ type: ResourceType) {
        for (index, rule) in object.json.list("rules").enumerated() {
            let path = "rules[\(index)]"
            if rule.list("verbs").isEmpty { required("\(path).verbs", "verbs must contain at least one value") }
            if !rule.list("nonResourceURLs").isEmpty {
                if type.kind == "Role" {
                    invalid(
                        "\(path).nonResourceURLs", rule["nonResourceURLs"],
                        "namespaced rules cannot apply to non-resource URLs")
                }
                continue
            }
            if rule.list("apiGroups").isEmpty {
                required("\(path).apiGroups", "resource rules must supply at least one api group")
            }
            if rule.list("resources").isEmpty {
                required("\(path).resources", "resource rules must supply at least one resource")
            }
        }
        guard type.kind.hasSuffix("Binding") else { return }
        let allowed = type.kind == "RoleBinding" ? ["Role", "ClusterRole"] : ["ClusterRole"]
        if let kind = object.json["roleRef"]?["kind"] { oneOf("roleRef.kind", kind, allowed) }
        if object.json["roleRef"]?["name"]?.string?.isEmpty ?? true { required("roleRef.name") }
        for (index, subject) in object.json.list("subjects").enumerated() {
            let path = "subjects[\(index)]"
            oneOf("\(path).kind", subject["kind"], ["ServiceAccount", "User", "Group"])
            if subject["name"]?.string?.isEmpty ?? true { required("\(path).name") }
            if subject["kind"] == "ServiceAccount", subject["namespace"]?.string?.isEmpty ?? true,
                type.kind == "ClusterRoleBinding"
            {
                required("\(path).namespace")
            }
        }
        if let old { immutable("roleRef", object.json["roleRef"], old.json["roleRef"]) }
    }
}
