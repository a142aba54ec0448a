import Wire

extension Cells {
    func workload(_ kind: String) -> [String: JSON] {
        switch kind {
        case "Deployment":
            var cells = template("spec", "template", "spec")
            cells["Ready"] = .string("\(status["readyReplicas"]?.int ?? 0)/\(spec["replicas"]?.int ?? 1)")
            cells["Up-to-date"] = count("status", "updatedReplicas")
            cells["Available"] = count("status", "availableReplicas")
            cells["Selector"] = Self.selector(spec["selector"])
            return cells
        case "ReplicaSet", "ReplicationController":
            var cells = template("spec", "template", "spec")
            cells["Desired"] = count("spec", "replicas")
            cells["Current"] = count("status", "replicas")
            cells["Ready"] = count("status", "readyReplicas")
            cells["Selector"] = kind == "ReplicaSet" ? Self.selector(spec["selector"]) : Self.labels(spec["selector"])
            return cells
        case "StatefulSet":
            var cells = template("spec", "template", "spec")
            cells["Ready"] = .string("\(status["readyReplicas"]?.int ?? 0)/\(spec["replicas"]?.int ?? 1)")
            return cells
        case "DaemonSet":
            var cells = template("spec", "template", "spec")
            cells["Desired"] = count("status", "desiredNumberScheduled")
            cells["Current"] = count("status", "currentNumberScheduled")
            cells["Ready"] = count("status", "numberReady")
            cells["Up-to-date"] = count("status", "updatedNumberScheduled")
            cells["Available"] = count("status", "numberAvailable")
            cells["Node Selector"] = Self.labels(spec[path: ["template", "spec", "nodeSelector"]])
            cells["Selector"] = Self.selector(spec["selector"])
            return cells
        case "Job": return job()
        case "CronJob":
            var cells = template("spec", "jobTemplate", "spec", "template", "spec")
            cells["Schedule"] = text("spec", "schedule")
            cells["Timezone"] = text("spec", "timeZone")
            cells["Suspend"] = .bool(spec["suspend"]?.bool ?? false)
            cells["Active"] = .int(Int64(status.list("active").count))
            cells["Last Schedule"] = status["lastScheduleTime"]?.string.map { .string(Self.age($0, now)) } ?? Self.none
            return cells
        case "ControllerRevision":
            let owner = object.controller.map {
                "\($0.kind.lowercased()).\(($0.apiVersion.split(separator: "/").first).map(String.init) ?? "")/\($0.name)"
            }
            return ["Controller": owner.map { .string($0) } ?? Self.none, "Revision": count("revision")]
        default: return [:]
        }
    }

    private func job() -> [String: JSON] {
        var cells = template("spec", "template", "spec")
        let done = status["succeeded"]?.int ?? 0
        let completions = spec["completions"]?.int
        let parallel = spec["parallelism"]?.int ?? 0
        cells["Completions"] = .string(
            completions.map { "\(done)/\($0)" } ?? (parallel > 1 ? "\(done)/1 of \(parallel)" : "\(done)/1"))
        let conditions = status.list("conditions").filter { $0["status"] == "True" }.compactMap { $0["type"]?.string }
        let ending = ["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"].first(
            where: conditions.contains)
        cells["Status"] = .string(ending ?? (object.deletionTimestamp == nil ? "Running" : "Terminating"))
        if let start = status["startTime"]?.string.flatMap({ Timestamp($0) }) {
            let end = status["completionTime"]?.string.flatMap { Timestamp($0) } ?? now
            cells["Duration"] = .string((end - start).ageText)
        } else {
            cells["Duration"] = ""
        }
        cells["Selector"] = Self.selector(spec["selector"])
        return cells
    }

    func node() -> [String: JSON] {
        let ready = status.list("conditions").first { $0["type"] == "Ready" }?["status"]?.string
        var words = [ready == nil ? "Unknown" : ready == "True" ? "Ready" : "NotReady"]
        if spec["unschedulable"] == true { words.append("SchedulingDisabled") }
        let roles = object.labels.compactMap { label, value -> String? in
            if label.hasPrefix("node-role.kubernetes.io/") {
                return String(label.dropFirst("node-role.kubernetes.io/".count))
            }
            return label == "kubernetes.io/role" && !value.isEmpty ? value : nil
        }
        func address(_ type: String) -> JSON {
            let found = status.list("addresses").first { $0["type"]?.string == type }
            return found?["address"] ?? Self.none
        }
        func info(_ field: String) -> JSON { .string(status["nodeInfo"]?[field]?.string ?? "<unknown>") }
        return [
            "Status": .string(words.joined(separator: ",")),
            "Roles": Self.joined(roles.filter { !$0.isEmpty }.sorted()),
            "Version": info("kubeletVersion"), "Internal-IP": address("InternalIP"),
            "External-IP": address("ExternalIP"),
            "OS-Image": info("osImage"), "Kernel-Version": info("kernelVersion"),
            "Container-Runtime": info("containerRuntimeVersion"),
        ]
    }

    /// Events of both groups: `events.k8s.io` calls the same fields by other names.
    func event() -> [String: JSON] {
        let json = object.json
        let about = json["involvedObject"] ?? json["regarding"]
        let source = json["source"] ?? json["deprecatedSource"]
        let component =
            source?["component"]?.string ?? json["reportingComponent"]?.string ?? json["reportingController"]?.string
            ?? ""
        let host = source?["host"]?.string ?? json["reportingInstance"]?.string ?? ""
        let series = json["series"]
        let first =
            json["firstTimestamp"]?.string ?? json["deprecatedFirstTimestamp"]?.string ?? json["eventTime"]?.string
        let last =
            series?["lastObservedTime"]?.string ?? json["lastTimestamp"]?.string ?? json["deprecatedLastTimestamp"]?
            .string ?? first
        let count = series?["count"]?.int ?? json["count"]?.int ?? json["deprecatedCount"]?.int ?? 1
        let kind = about?["kind"]?.string?.lowercased() ?? ""
        let name = about?["name"]?.string ?? ""
        return [
            "Last Seen": .string(Self.age(last, now)), "Type": .string(json["type"]?.string ?? ""),
            "Reason": .string(json["reason"]?.string ?? ""), "Object": .string(name.isEmpty ? kind : "\(kind)/\(name)"),
            "Subobject": .string(about?["fieldPath"]?.string ?? ""),
            "Source": .string(host.isEmpty ? component : "\(component), \(host)"),
            "Message": .string((json["message"]?.string ?? json["note"]?.string ?? "").trimmed),
            "First Seen": .string(Self.age(first, now)), "Count": .int(Int64(max(count, 1))),
            "Name": .string(object.name),
        ]
    }
}
