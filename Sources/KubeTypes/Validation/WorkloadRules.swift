import Wire

extension Validator {
    /// Deployment, ReplicaSet, StatefulSet and DaemonSet: a selector, and a template it selects.
    mutating func workload(_ object: KubeObject, old: KubeObject?, _ type: ResourceType) {
        if type.kind == "ControllerRevision" {
            if let old { immutable("data", object.json["data"], old.json["data"]) }
            notNegative("revision", object.json["revision"])
            return
        }
        let spec = object.spec
        notNegative("spec.replicas", spec["replicas"])
        notNegative("spec.minReadySeconds", spec["minReadySeconds"])
        notNegative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"])
        selectorAndTemplate(object, type)
        podTemplate(spec["template"], "spec.template")
        oneOf("spec.template.spec.restartPolicy", spec[path: ["template", "spec", "restartPolicy"]], ["Always"])
        if type.kind == "Deployment" { deployment(spec) }
        if type.kind == "StatefulSet" {
            oneOf("spec.podManagementPolicy", spec["podManagementPolicy"], ["OrderedReady", "Parallel"])
        }
        if type.kind == "StatefulSet" { statefulSet(object, old: old) }
        if type.kind == "DaemonSet" { daemonSet(spec) }
        if let old, type.kind != "StatefulSet" { immutable("spec.selector", spec["selector"], old.spec["selector"]) }
    }

    private mutating func selectorAndTemplate(_ object: KubeObject, _ type: ResourceType) {
        guard let selector = object.spec["selector"] else { return required("spec.selector") }
        self.selector("spec.selector", selector)
        let isEmpty = selector["matchLabels"]?.object?.isEmpty ?? true && selector.list("matchExpressions").isEmpty
        if isEmpty {
            return invalid(
                "spec.selector", selector,
                "empty selector is invalid for \(type.kind.lowercased()): it would own every pod")
        }
        let labels = object.spec[path: ["template", "metadata", "labels"]]
        guard let parsed = try? LabelSelector(selector), !parsed.matches(labels?.stringMap ?? [:]) else { return }
        invalid("spec.template.metadata.labels", labels ?? [:], "`selector` does not match template `labels`")
    }

    private mutating func deployment(_ spec: JSON) {
        oneOf("spec.strategy.type", spec["strategy"]?["type"], ["RollingUpdate", "Recreate"])
        let rolling = spec["strategy"]?["rollingUpdate"]
        if spec["strategy"]?["type"] == "Recreate", rolling != nil {
            forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
        }
        intOrPercent("spec.strategy.rollingUpdate.maxUnavailable", rolling?["maxUnavailable"])
        intOrPercent("spec.strategy.rollingUpdate.maxSurge", rolling?["maxSurge"])
        func isZero(_ value: JSON?) -> Bool { value == 0 || value == "0%" }
        if isZero(rolling?["maxUnavailable"]), isZero(rolling?["maxSurge"]) {
            invalid(
                "spec.strategy.rollingUpdate.maxUnavailable", rolling?["maxUnavailable"],
                "may not be 0 when `maxSurge` is 0")
        }
        let ready = spec["minReadySeconds"]?.int ?? 0
        if let deadline = spec["progressDeadlineSeconds"]?.int, deadline <= ready {
            invalid("spec.progressDeadlineSeconds", .int(Int64(deadline)), "must be greater than minReadySeconds")
        }
    }

    /// `path` is where the job's spec stands; in a CronJob it is inside a template.
    mutating func job(_ json: JSON, old: JSON?, at path: String) {
        let spec = json["spec"] ?? [:]
        for field in ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
        {
            notNegative("\(path).\(field)", spec[field])
        }
        podTemplate(spec["template"], "\(path).template")
        let policy = spec[path: ["template", "spec", "restartPolicy"]]
        if policy == "Always" || policy == nil {
            required("\(path).template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\"")
        }
        if let old {
            immutable("\(path).selector", spec["selector"], old["spec"]?["selector"])
            immutable("\(path).completionMode", spec["completionMode"], old["spec"]?["completionMode"])
        }
        jobRules(spec, old: old?["spec"], at: path)
    }

    mutating func cronJob(_ object: KubeObject) {
        let schedule = object.spec["schedule"]?.string ?? ""
        if schedule.isEmpty {
            required("spec.schedule")
        } else {
            self.schedule("spec.schedule", schedule)
        }
        // A job's name is the schedule's with the minute behind it.
        if object.name.utf8.count > 52 {
            invalid("metadata.name", .string(object.name), "must be no more than 52 characters")
        }
        for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            notNegative("spec.\(field)", object.spec[field])
        }
        if let zone = object.spec["timeZone"]?.string {
            if zone.isEmpty || zone.lowercased() == "local" || zone.contains("..") || zone.hasPrefix("/") {
                invalid("spec.timeZone", .string(zone), "unknown time zone \(zone)")
            }
        }
        oneOf("spec.concurrencyPolicy", object.spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"])
        guard let template = object.spec["jobTemplate"] else { return required("spec.jobTemplate") }
        job(template, old: nil, at: "spec.jobTemplate.spec")
    }
}
