import Wire

extension ResourceDefinition {
    /// What a client is warned of when it uses this version of the resource at all.
    package var deprecation: String? {
        switch (type.group, type.version, type.kind) {
        case ("", "v1", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+"
        case ("", "v1", "Endpoints"):
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
        default: nil
        }
    }

    /// What is allowed in an object but will not do what its author may think: a text for each `Warning` header.
    package func warnings(_ object: KubeObject, old: KubeObject? = nil) -> [String] {
        let spec: JSON?
        let path: String
        switch (type.group, type.kind) {
        case ("", "Pod"): (spec, path) = (object.json["spec"], "spec")
        case ("apps", _), ("batch", "Job"), ("", "ReplicationController"):
            (spec, path) = (object.json[path: ["spec", "template", "spec"]], "spec.template.spec")
        case ("batch", "CronJob"):
            (spec, path) = (
                object.json[path: ["spec", "jobTemplate", "spec", "template", "spec"]],
                "spec.jobTemplate.spec.template.spec"
            )
        case ("", "Service"): return Self.serviceWarnings(object)
        default: return []
        }
        guard let spec, old == nil || old?.json["spec"] != object.json["spec"] else { return [] }
        return PodWarnings(spec: spec, path: path).texts
    }

    private static func serviceWarnings(_ service: KubeObject) -> [String] {
        guard service.spec["type"] == "ExternalName" || service.spec["clusterIP"] == "None" else { return [] }
        guard let addresses = service.spec["externalIPs"]?.array, !addresses.isEmpty else { return [] }
        return ["spec.externalIPs is ignored when spec.clusterIP is \"None\" or spec.type is \"ExternalName\""]
    }
}

/// What is odd about a pod's spec.
private struct PodWarnings {
    let spec: JSON
    let path: String

    private static let oldLabels = [
        "beta.kubernetes.io/arch": "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os": "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region":
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        "failure-domain.beta.kubernetes.io/zone": "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        "beta.kubernetes.io/instance-type": "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ]

    var texts: [String] {
        var texts: [String] = []
        for entry in spec["nodeSelector"]?.object ?? JSONObject() {
            if let text = Self.oldLabels[entry.key] { texts.append("\(path).nodeSelector[\(entry.key)]: \(text)") }
        }
        for list in ["initContainers", "containers"] {
            for (index, container) in spec.list(list).enumerated() {
                containerTexts(container, "\(path).\(list)[\(index)]", &texts)
            }
        }
        if let grace = spec["terminationGracePeriodSeconds"]?.int, grace < 0 {
            texts.append(
                "\(path).terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
            )
        }
        for (index, volume) in spec.list("volumes").enumerated() where volume["gitRepo"] != nil {
            texts.append("\(path).volumes[\(index)].gitRepo: deprecated in v1.11")
        }
        return texts
    }

    private func containerTexts(_ container: JSON, _ path: @autoclosure () -> String, _ texts: inout [String]) {
        var names: Set<String> = []
        for (index, variable) in container.list("env").enumerated() {
            guard let name = variable["name"]?.string else { continue }
            if names.insert(name).inserted { continue }
            // A later value may build on the one before.
            if variable["value"]?.string?.contains("$(\(name))") != true {
                texts.append(
                    "\(path()).env[\(index)]: hides previous definition of \"\(name)\", which may be dropped when using apply"
                )
            }
        }
        var ports: [String: Int] = [:]
        let all = container.list("ports")
        for (index, port) in all.enumerated() where all.count > 1 {
            let key =
                "\(port["containerPort"]?.int ?? 0)/\(port["protocol"]?.string ?? "TCP")/\(port["hostPort"]?.int ?? 0)/\(port["hostIP"]?.string ?? "")"
            if let first = ports[key] {
                texts.append("\(path()).ports[\(index)]: duplicate port definition with \(path()).ports[\(first)]")
            } else {
                ports[key] = index
            }
        }
        for list in ["limits", "requests"] {
            for entry in container["resources"]?[list]?.object ?? JSONObject() {
                guard entry.key == "memory" || entry.key == "ephemeral-storage", let text = entry.value.string,
                    text.hasSuffix("m")
                else { continue }
                texts.append(
                    "\(path()).resources.\(list)[\(entry.key)]: fractional byte value \"\(text)\" is invalid, must be an integer"
                )
            }
        }
    }
}
