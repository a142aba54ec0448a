import Wire

/// Quotas, fairness, admission policies, drivers and addresses.
extension Cells {
    private static let unset: JSON = "<unset>"

    /// The cells of the less common kinds; `nil` for any other.
    func rare(_ type: ResourceType) -> [String: JSON]? {
        switch (type.group, type.kind) {
        case ("", "ResourceQuota"): return quota()
        case ("", "ComponentStatus"): return componentStatus()
        case ("", "PodTemplate"):
            var cells = template("template", "spec")
            cells["Pod Labels"] = Self.labels(object.json[path: ["template", "metadata", "labels"]])
            return cells
        case ("flowcontrol.apiserver.k8s.io", "FlowSchema"):
            let dangling = status.list("conditions").first { $0["type"] == "Dangling" }
            return [
                "PriorityLevel": text("spec", "priorityLevelConfiguration", "name"),
                "MatchingPrecedence": count("spec", "matchingPrecedence"),
                "DistinguisherMethod": text("spec", "distinguisherMethod", "type"),
                "MissingPL": .string(dangling?["status"]?.string ?? "?"),
            ]
        case ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"):
            let queuing = ["spec", "limited", "limitResponse", "queuing"]
            func ofQueues(_ field: String) -> JSON { object.json[path: queuing + [field]] ?? Self.none }
            return [
                "Type": text("spec", "type"),
                "NominalConcurrencyShares": object.json[path: ["spec", "limited", "nominalConcurrencyShares"]]
                    ?? Self.none,
                "Queues": ofQueues("queues"), "HandSize": ofQueues("handSize"),
                "QueueLengthLimit": ofQueues("queueLengthLimit"),
            ]
        case ("admissionregistration.k8s.io", _): return admission(type.kind)
        case ("networking.k8s.io", "IPAddress"):
            let parent = spec["parentRef"]
            let group = parent?["group"]?.string ?? ""
            let parts = [
                (parent?["resource"]?.string ?? "") + (group.isEmpty ? "" : "." + group),
                parent?["namespace"]?.string ?? "", parent?["name"]?.string ?? "",
            ]
            return ["ParentRef": .string(parts.filter { !$0.isEmpty }.joined(separator: "/"))]
        case ("networking.k8s.io", "ServiceCIDR"):
            return ["CIDRs": Self.joined(spec.list("cidrs").compactMap(\.string))]
        case ("resource.k8s.io", "ResourceSlice"):
            return [
                "Node": text("spec", "nodeName"), "Driver": text("spec", "driver"),
                "Pool": text("spec", "pool", "name"),
            ]
        case ("resource.k8s.io", "ResourceClaim"):
            var words = object.deletionTimestamp == nil ? [] : ["deleted"]
            words.append(status["allocation"] == nil ? "pending" : "allocated")
            if !status.list("reservedFor").isEmpty { words.append("reserved") }
            return ["State": Self.joined(words)]
        case ("storage.k8s.io", "CSIDriver"): return driver()
        case ("storage.k8s.io", "CSINode"): return ["Drivers": .int(Int64(spec.list("drivers").count))]
        case ("storage.k8s.io", "CSIStorageCapacity"):
            return [
                "StorageClassName": text("storageClassName"), "Capacity": object.json["capacity"] ?? Self.unset,
            ]
        case ("storage.k8s.io", "VolumeAttachment"):
            return [
                "Attacher": text("spec", "attacher"), "PV": text("spec", "source", "persistentVolumeName"),
                "Node": text("spec", "nodeName"), "Attached": .bool(status["attached"]?.bool ?? false),
            ]
        case ("storage.k8s.io", "VolumeAttributesClass"): return ["DriverName": text("driverName")]
        default: return nil
        }
    }

    /// `cpu: 1/2, pods: 3/10`: what is used of what there is; limits in a column of their own.
    private func quota() -> [String: JSON] {
        var requests: [String] = []
        var limits: [String] = []
        for entry in (status["hard"]?.object ?? JSONObject()).sorted(by: { $0.key < $1.key }) {
            let used = status["used"]?[entry.key] ?? "0"
            let shown = "\(entry.key): \(used.string ?? used.text)/\(entry.value.string ?? entry.value.text)"
            if entry.key.hasPrefix("limits") { limits.append(shown) } else { requests.append(shown) }
        }
        return [
            "Request": .string(requests.joined(separator: ", ")), "Limit": .string(limits.joined(separator: ", ")),
        ]
    }

    private func componentStatus() -> [String: JSON] {
        let condition = object.json.list("conditions").first { $0["type"] == "Healthy" }
        let word: JSON =
            switch condition?["status"]?.string {
            case "True"?: "Healthy"
            case "False"?: "Unhealthy"
            default: "Unknown"
            }
        return ["Status": word, "Message": condition?["message"] ?? "", "Error": condition?["error"] ?? ""]
    }

    private func admission(_ kind: String) -> [String: JSON] {
        switch kind {
        case "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy":
            let param = spec["paramKind"].map { "\($0["apiVersion"]?.string ?? "")/\($0["kind"]?.string ?? "")" }
            return [
                "Validations": .int(Int64(spec.list("validations").count)),
                "Mutations": .int(Int64(spec.list("mutations").count)),
                "ParamKind": param.map { .string($0) } ?? Self.unset,
            ]
        case "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding":
            let reference = spec["paramRef"]
            var shown = Self.unset
            if let reference {
                let namespace = reference["namespace"]?.string ?? "*"
                shown =
                    reference["name"]?.string.map { .string("\(namespace)/\($0)") }
                    ?? Self.selector(reference["selector"])
            }
            return ["PolicyName": text("spec", "policyName"), "ParamRef": shown]
        default: return ["Webhooks": .int(Int64(object.json.list("webhooks").count))]
        }
    }

    private func driver() -> [String: JSON] {
        func flag(_ field: String, _ usual: Bool) -> JSON { .bool(spec[field]?.bool ?? usual) }
        let audiences = spec.list("tokenRequests").compactMap { $0["audience"]?.string }
        return [
            "AttachRequired": flag("attachRequired", true), "PodInfoOnMount": flag("podInfoOnMount", false),
            "StorageCapacity": flag("storageCapacity", false),
            "TokenRequests": audiences.isEmpty ? Self.unset : .string(audiences.joined(separator: ",")),
            "RequiresRepublish": flag("requiresRepublish", false),
            "Modes": Self.joined(spec.list("volumeLifecycleModes").compactMap(\.string)),
        ]
    }
}
