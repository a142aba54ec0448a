import Wire

/// The printed values of one object's columns, by column name.
struct Cells {
    let object: KubeObject
    let now: Timestamp

    var spec: JSON { object.spec }
    var status: JSON { object.status }

    static let none: JSON = "<none>"

    /// A date cell: how long ago, or `<unknown>`.
    static func age(_ text: String?, _ now: Timestamp) -> String {
        guard let text, let moment = Timestamp(text) else { return "<unknown>" }
        return (now - moment).ageText
    }

    static func joined(_ parts: [String], _ separator: String = ",") -> JSON {
        parts.isEmpty ? none : .string(parts.joined(separator: separator))
    }

    func count(_ path: String...) -> JSON { .int(Int64(object.json[path: path]?.int ?? 0)) }
    func text(_ path: String...) -> JSON {
        guard let value = object.json[path: path], !value.isNull, value != "" else { return Self.none }
        return .string(value.string ?? value.text)
    }

    /// A LabelSelector as kubectl shows it.
    static func selector(_ json: JSON?) -> JSON {
        guard let json, let selector = try? LabelSelector(json), !selector.isEmpty else { return none }
        return .string(selector.description)
    }
    static func labels(_ json: JSON?) -> JSON {
        joined((json?.stringMap ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
    }

    /// Containers and images of a pod template.
    func template(_ path: String...) -> [String: JSON] {
        let containers = object.json[path: path]?.list("containers") ?? []
        return [
            "Containers": .string(containers.compactMap { $0["name"]?.string }.joined(separator: ",")),
            "Images": .string(containers.compactMap { $0["image"]?.string }.joined(separator: ",")),
        ]
    }

    /// The cells this kind computes; columns not in it are the name, the age, or `<none>`.
    func named(_ type: ResourceType) -> [String: JSON] {
        switch (type.group, type.kind) {
        case ("", "Pod"): return pod()
        case ("", "Service"): return service()
        case ("", "Node"): return node()
        case (_, "Event"): return event()
        case ("", "Namespace"): return ["Status": text("status", "phase")]
        case ("", "ConfigMap"): return ["Data": .int(Int64(size("data") + size("binaryData")))]
        case ("", "Secret"): return ["Type": text("type"), "Data": .int(Int64(size("data")))]
        case ("", "ServiceAccount"): return ["Secrets": .int(Int64(object.json.list("secrets").count))]
        case ("", "Endpoints"): return ["Endpoints": endpoints()]
        case ("discovery.k8s.io", "EndpointSlice"): return endpointSlice()
        case ("coordination.k8s.io", "Lease"): return ["Holder": text("spec", "holderIdentity")]
        case ("apps", _), ("", "ReplicationController"), ("batch", _): return workload(type.kind)
        case ("networking.k8s.io", "NetworkPolicy"): return ["Pod-Selector": Self.selector(spec["podSelector"])]
        case ("networking.k8s.io", "Ingress"): return ingress()
        case ("networking.k8s.io", "IngressClass"):
            return ["Controller": text("spec", "controller"), "Parameters": text("spec", "parameters", "name")]
        case ("rbac.authorization.k8s.io", _): return access()
        case ("", "PersistentVolume"), ("", "PersistentVolumeClaim"): return volume(type.kind)
        case ("autoscaling", "HorizontalPodAutoscaler"): return autoscaler()
        case ("policy", "PodDisruptionBudget"):
            return [
                "Min Available": budget("minAvailable"), "Max Unavailable": budget("maxUnavailable"),
                "Allowed Disruptions": count("status", "disruptionsAllowed"),
            ]
        case ("scheduling.k8s.io", "PriorityClass"):
            return [
                "Value": count("value"), "Global-Default": .bool(object.json["globalDefault"]?.bool ?? false),
                "PreemptionPolicy": text("preemptionPolicy"),
            ]
        case ("storage.k8s.io", "StorageClass"):
            let isDefault = object.annotations["storageclass.kubernetes.io/is-default-class"] == "true"
            return [
                "Name": .string(object.name + (isDefault ? " (default)" : "")), "Provisioner": text("provisioner"),
                "ReclaimPolicy": text("reclaimPolicy"), "VolumeBindingMode": text("volumeBindingMode"),
                "AllowVolumeExpansion": .string(object.json["allowVolumeExpansion"]?.bool == true ? "true" : "false"),
            ]
        case ("apiregistration.k8s.io", "APIService"): return apiService()
        case ("node.k8s.io", "RuntimeClass"): return ["Handler": text("handler")]
        case ("certificates.k8s.io", "CertificateSigningRequest"): return signingRequest()
        default: return rare(type) ?? [:]
        }
    }

    private func size(_ field: String) -> Int { object.json[field]?.object?.count ?? 0 }

    private func budget(_ field: String) -> JSON {
        guard let value = spec[field] else { return "N/A" }
        return .string(value.string ?? value.text)
    }

    private func access() -> [String: JSON] {
        func subjects(_ kind: String) -> JSON {
            let chosen = object.json.list("subjects").filter { $0["kind"]?.string == kind }
            let names = chosen.map { subject in
                let name = subject["name"]?.string ?? ""
                return kind == "ServiceAccount" ? "\(subject["namespace"]?.string ?? "")/\(name)" : name
            }
            return .string(names.joined(separator: ", "))
        }
        guard let role = object.json["roleRef"] else {
            return ["Created At": .string(object.creationTimestamp ?? "<unknown>")]
        }
        return [
            "Role": .string("\(role["kind"]?.string ?? "")/\(role["name"]?.string ?? "")"), "Users": subjects("User"),
            "Groups": subjects("Group"), "ServiceAccounts": subjects("ServiceAccount"),
        ]
    }

    private func apiService() -> [String: JSON] {
        let service = spec["service"]
        let name = service.map { "\($0["namespace"]?.string ?? "")/\($0["name"]?.string ?? "")" } ?? "Local"
        let condition = status.list("conditions").first { $0["type"] == "Available" }
        return ["Service": .string(name), "Available": .string(condition?[Condition.status] ?? "Unknown")]
    }

    private func signingRequest() -> [String: JSON] {
        let conditions = status.list("conditions").compactMap { $0["type"]?.string }
        var shown = conditions.isEmpty ? "Pending" : conditions.joined(separator: ",")
        if status["certificate"] != nil { shown += ",Issued" }
        return [
            "SignerName": text("spec", "signerName"), "Requestor": text("spec", "username"),
            "Condition": .string(shown),
            "RequestedDuration": spec["expirationSeconds"]?.int.map { .string(Duration.seconds($0).ageText) }
                ?? Self.none,
        ]
    }

    private func volume(_ kind: String) -> [String: JSON] {
        let modes = ["ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"]
        let access = (kind == "PersistentVolume" ? spec : status).list("accessModes").compactMap {
            $0.string.flatMap { modes[$0] }
        }
        let capacity = kind == "PersistentVolume" ? spec["capacity"]?["storage"] : status["capacity"]?["storage"]
        func plain(_ value: JSON?) -> JSON { .string(value?.string ?? "") }
        let claim = spec["claimRef"].map { "\($0["namespace"]?.string ?? "")/\($0["name"]?.string ?? "")" } ?? ""
        return [
            "Status": object.deletionTimestamp == nil ? plain(status["phase"]) : "Terminating",
            "Volume": plain(spec["volumeName"]),
            "Capacity": plain(capacity), "Access Modes": .string(access.joined(separator: ",")),
            "StorageClass": plain(spec["storageClassName"]),
            "Reclaim Policy": plain(spec["persistentVolumeReclaimPolicy"]), "Claim": .string(claim),
            "Reason": plain(status["reason"]),
            "VolumeAttributesClass": .string(spec["volumeAttributesClassName"]?.string ?? "<unset>"),
            "VolumeMode": .string(spec["volumeMode"]?.string ?? "<unset>"),
        ]
    }

    private func autoscaler() -> [String: JSON] {
        let target = spec["scaleTargetRef"]
        let metrics = spec.list("metrics").enumerated().map { index, metric -> String in
            let field = metric["containerResource"] == nil ? "resource" : "containerResource"
            let name = metric[field]?["name"]?.string ?? metric["type"]?.string ?? ""
            let current = status.list("currentMetrics").dropFirst(index).first?[field]?["current"]
            let target = metric[field]?["target"]
            if let value = target?["averageValue"], target?["averageUtilization"] == nil {
                let found = current?["averageValue"].map { $0.string ?? $0.text } ?? "<unknown>"
                return "\(name): \(found)/\(value.string ?? value.text)"
            }
            let wanted = target?["averageUtilization"]?.int.map { "\($0)%" } ?? "<auto>"
            let found = current?["averageUtilization"]?.int.map { "\($0)%" } ?? "<unknown>"
            return "\(name): \(found)/\(wanted)"
        }
        return [
            "Reference": .string("\(target?["kind"]?.string ?? "")/\(target?["name"]?.string ?? "")"),
            "Targets": Self.joined(metrics, ", "),
            "MinPods": spec["minReplicas"]?.int.map { .string(String($0)) } ?? "<unset>",
            "MaxPods": count("spec", "maxReplicas"),
            "Replicas": count("status", "currentReplicas"),
        ]
    }
}
