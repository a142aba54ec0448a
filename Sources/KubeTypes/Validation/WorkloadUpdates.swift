import Wire

/// What of a workload may not change once it is made.
extension Validator {
    mutating func statefulSet(_ object: KubeObject, old: KubeObject?) {
        let spec = object.spec
        oneOf("spec.updateStrategy.type", spec["updateStrategy"]?["type"], ["OnDelete", "RollingUpdate"])
        let rolling = spec["updateStrategy"]?["rollingUpdate"]
        if spec["updateStrategy"]?["type"] == "OnDelete", rolling != nil {
            invalid("spec.updateStrategy.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
        }
        notNegative("spec.updateStrategy.rollingUpdate.partition", rolling?["partition"])
        notNegative("spec.ordinals.start", spec["ordinals"]?["start"])
        for field in ["whenDeleted", "whenScaled"] {
            let policy = spec["persistentVolumeClaimRetentionPolicy"]?[field]
            oneOf("spec.persistentVolumeClaimRetentionPolicy.\(field)", policy, ["Retain", "Delete"])
        }
        for (index, claim) in spec.list("volumeClaimTemplates").enumerated() {
            claimSpec(claim["spec"] ?? [:], "spec.volumeClaimTemplates[\(index)].spec")
        }
        guard let old else { return }
        let mutable = [
            "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
        ]
        if without(spec, mutable) != without(old.spec, mutable) {
            forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
                    + "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            )
        }
    }

    private func without(_ spec: JSON, _ fields: [String]) -> JSON {
        var spec = spec
        for field in fields { spec[field] = nil }
        return spec
    }

    mutating func daemonSet(_ spec: JSON) {
        oneOf("spec.updateStrategy.type", spec["updateStrategy"]?["type"], ["OnDelete", "RollingUpdate"])
        let rolling = spec["updateStrategy"]?["rollingUpdate"]
        intOrPercent("spec.updateStrategy.rollingUpdate.maxUnavailable", rolling?["maxUnavailable"])
        intOrPercent("spec.updateStrategy.rollingUpdate.maxSurge", rolling?["maxSurge"])
        func isZero(_ value: JSON?) -> Bool { value == 0 || value == "0%" }
        guard spec["updateStrategy"]?["type"] == "RollingUpdate", let rolling else { return }
        let (unavailable, surge) = (rolling["maxUnavailable"], rolling["maxSurge"])
        if isZero(unavailable), surge == nil || isZero(surge) {
            required("spec.updateStrategy.rollingUpdate.maxUnavailable", "cannot be 0 when `maxSurge` is 0")
        }
        if unavailable != nil, !isZero(unavailable), surge != nil, !isZero(surge) {
            invalid(
                "spec.updateStrategy.rollingUpdate.maxSurge", surge, "may not be set when `maxUnavailable` is non-zero")
        }
    }

    mutating func replicationController(_ object: KubeObject) {
        let spec = object.spec
        notNegative("spec.replicas", spec["replicas"])
        notNegative("spec.minReadySeconds", spec["minReadySeconds"])
        let selector = spec["selector"]?.stringMap ?? [:]
        if selector.isEmpty { required("spec.selector") }
        guard let template = spec["template"] else { return required("spec.template") }
        podTemplate(template, "spec.template")
        let labels = template["metadata"]?["labels"]?.stringMap ?? [:]
        if !selector.isEmpty, !selector.allSatisfy({ labels[$0.key] == $0.value }) {
            invalid(
                "spec.template.metadata.labels", template["metadata"]?["labels"] ?? [:],
                "`selector` does not match template `labels`")
        }
        oneOf("spec.template.spec.restartPolicy", template["spec"]?["restartPolicy"], ["Always"])
    }

    mutating func podTemplateObject(_ object: KubeObject) { podTemplate(object.json["template"], "template") }

    /// A Job's rules beyond those of its pods.
    mutating func jobRules(_ spec: JSON, old: JSON?, at path: String) {
        oneOf("\(path).completionMode", spec["completionMode"], ["NonIndexed", "Indexed"])
        oneOf("\(path).podReplacementPolicy", spec["podReplacementPolicy"], ["TerminatingOrFailed", "Failed"])
        let isIndexed = spec["completionMode"] == "Indexed"
        if isIndexed {
            if spec["completions"] == nil { required("\(path).completions", "when completion mode is Indexed") }
            if let parallel = spec["parallelism"]?.int, parallel > 100_000 {
                invalid(
                    "\(path).parallelism", .int(Int64(parallel)),
                    "must be less than or equal to 100000 when completion mode is Indexed")
            }
        }
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            notNegative("\(path).\(field)", spec[field])
            if spec[field] != nil, !isIndexed {
                invalid("\(path).\(field)", spec[field], "requires indexed completion mode")
            }
        }
        if let seconds = spec["activeDeadlineSeconds"]?.int, seconds == 0 {
            invalid("\(path).activeDeadlineSeconds", 0, "must be greater than 0")
        }
        if let manager = spec["managedBy"]?.string, !manager.contains("/") {
            invalid("\(path).managedBy", .string(manager), "must be a domain-prefixed path (such as \"acme.io/foo\")")
        }
        failurePolicy(spec, "\(path).podFailurePolicy")
        guard let old else { return }
        for field in ["podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            immutable("\(path).\(field)", spec[field], old[field])
        }
        // An indexed job may grow and shrink, with as many at once.
        let isElastic = isIndexed && spec["completions"] == spec["parallelism"]
        if spec["completions"] != old["completions"], !isElastic {
            immutable("\(path).completions", spec["completions"], old["completions"])
        }
        let isSuspended = old["suspend"] == true && spec["suspend"] == true
        var (new, before) = (spec["template"] ?? [:], old["template"] ?? [:])
        if isSuspended {
            for field in ["affinity", "nodeSelector", "tolerations", "schedulingGates"] {
                new[path: ["spec", field]] = nil
                before[path: ["spec", field]] = nil
            }
            for field in ["labels", "annotations"] {
                new[path: ["metadata", field]] = nil
                before[path: ["metadata", field]] = nil
            }
        }
        immutable("\(path).template", new, before)
    }

    private mutating func failurePolicy(_ spec: JSON, _ path: String) {
        for (index, rule) in (spec["podFailurePolicy"]?.list("rules") ?? []).enumerated() {
            let path = "\(path).rules[\(index)]"
            oneOf("\(path).action", rule["action"], ["Count", "FailIndex", "FailJob", "Ignore"])
            let codes = rule["onExitCodes"]
            let conditions = rule.list("onPodConditions")
            if codes == nil, conditions.isEmpty {
                invalid(path, rule, "specifying one of OnExitCodes and OnPodConditions is required")
            }
            if codes != nil, !conditions.isEmpty {
                invalid(path, rule, "specifying both OnExitCodes and OnPodConditions is not supported")
            }
            guard let codes else { continue }
            oneOf("\(path).onExitCodes.operator", codes["operator"], ["In", "NotIn"])
            if codes.list("values").isEmpty {
                invalid("\(path).onExitCodes.values", codes["values"] ?? [], "at least one value is required")
            }
            if codes["operator"] == "In", codes.list("values").contains(0) {
                invalid("\(path).onExitCodes.values", 0, "must not be 0 for the In operator")
            }
        }
        if spec["podFailurePolicy"] != nil, spec[path: ["template", "spec", "restartPolicy"]] != "Never" {
            invalid(
                path.replacingLast(with: "template.spec.restartPolicy"),
                spec[path: ["template", "spec", "restartPolicy"]],
                "only \"Never\" is supported when podFailurePolicy is specified")
        }
    }

    /// The five fields of a schedule, in Vixie cron's form, or one of its words.
    mutating func schedule(_ path: String, _ text: String) {
        if let fault = CronFields.fault(text) { invalid(path, .string(text), fault) }
    }
}

extension String {
    /// The path with another last part.
    fileprivate func replacingLast(with part: String) -> String {
        guard let dot = lastIndex(of: ".") else { return part }
        return self[...dot] + part
    }
}

/// What a CronJob's schedule may say.
enum CronFields {
    private static let words: Set<String> = [
        "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
    ]
    private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    private static let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    static func fault(_ text: String) -> String? {
        if text.hasPrefix("TZ=") || text.hasPrefix("CRON_TZ=") {
            return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        }
        if words.contains(text) { return nil }
        if text.hasPrefix("@every ") {
            return Duration(text: text.dropFirst(7).trimmed) == nil
                ? "must be a duration after @every, such as 1h30m" : nil
        }
        let fields = text.split(whereSeparator: \.isWhitespace)
        guard fields.count == 5 else {
            return
                "must have five fields (minute hour day month weekday) or be a word such as @hourly, found \(fields.count)"
        }
        let limits: [(String, ClosedRange<Int>, [String])] = [
            ("minute", 0...59, []), ("hour", 0...23, []), ("day of the month", 1...31, []), ("month", 1...12, months),
            ("day of the week", 0...6, days),
        ]
        for (field, (name, range, names)) in zip(fields, limits) {
            for part in field.split(separator: ",", omittingEmptySubsequences: false) {
                if !isGood(part, range, names) {
                    return "the \(name) \"\(part)\" is not in the range \(range.lowerBound)-\(range.upperBound)"
                }
            }
        }
        return nil
    }

    private static func isGood(_ part: Substring, _ range: ClosedRange<Int>, _ names: [String]) -> Bool {
        let halves = part.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(halves.count) else { return false }
        if halves.count == 2 {
            guard let step = Int(halves[1]), step > 0 else { return false }
        }
        if halves[0] == "*" || halves[0] == "?" { return true }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2).contains(ends.count) else { return false }
        let numbers = ends.compactMap { number($0, range, names) }
        guard numbers.count == ends.count else { return false }
        return numbers.count == 1 || numbers[0] <= numbers[1]
    }

    private static func number(_ text: Substring, _ range: ClosedRange<Int>, _ names: [String]) -> Int? {
        if let place = names.firstIndex(of: text.lowercased()) { return place + range.lowerBound }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text), range.contains(number)
        else {
            return nil
        }
        return number
    }
}
