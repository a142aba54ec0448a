import Wire

/// Budgets, quotas, limits, autoscalers, priorities and classes.
extension Validator {
    mutating func disruptionBudget(_ object: KubeObject) {
        let spec = object.spec
        if spec["minAvailable"] != nil, spec["maxUnavailable"] != nil {
            invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
        }
        intOrPercent("spec.minAvailable", spec["minAvailable"])
        intOrPercent("spec.maxUnavailable", spec["maxUnavailable"])
        for field in ["minAvailable", "maxUnavailable"] {
            if let text = spec[field]?.string, let percent = Int(text.dropLast()), percent > 100 {
                invalid("spec.\(field)", spec[field], "must not be greater than 100%")
            }
        }
        if spec["selector"] != nil { selector("spec.selector", spec["selector"]) }
        oneOf(
            "spec.unhealthyPodEvictionPolicy", spec["unhealthyPodEvictionPolicy"], ["AlwaysAllow", "IfHealthyBudget"])
    }

    private static let scopes = [
        "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
        "VolumeAttributesClass",
    ]

    mutating func resourceQuota(_ object: KubeObject, old: KubeObject?) {
        for entry in object.spec["hard"]?.object ?? JSONObject() {
            let path = "spec.hard[\(entry.key)]"
            quotaName(path, entry.key)
            guard let amount = quantity(path, entry.value) else { continue }
            if Self.isCounted(entry.key), !amount.isWhole { invalid(path, entry.value, "must be an integer") }
        }
        let scopes = object.spec.list("scopes")
        for (index, scope) in scopes.enumerated() { oneOf("spec.scopes[\(index)]", scope, Self.scopes) }
        for pair in [("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort")]
        where scopes.contains(.string(pair.0)) && scopes.contains(.string(pair.1)) {
            invalid("spec.scopes", object.spec["scopes"], "conflicting scopes")
        }
        for (index, rule) in (object.spec["scopeSelector"]?.list("matchExpressions") ?? []).enumerated() {
            let path = "spec.scopeSelector.matchExpressions[\(index)]"
            oneOf("\(path).scopeName", rule["scopeName"], Self.scopes)
            let count = rule.list("values").count
            switch rule["operator"] {
            case "In"?, "NotIn"?:
                if count == 0 {
                    required(
                        "\(path).values",
                        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")
                }
            case "Exists"?, "DoesNotExist"?:
                if count > 0 {
                    invalid(
                        "\(path).values", rule["values"],
                        "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector")
                }
            case let other?: unsupported("\(path).operator", other, ["In", "NotIn", "Exists", "DoesNotExist"])
            case nil: required("\(path).operator")
            }
        }
        if let old {
            immutable("spec.scopes", object.spec["scopes"], old.spec["scopes"])
        }
    }

    /// `pods` and `count/deployments.apps` are numbers of objects.
    private static func isCounted(_ name: String) -> Bool {
        name.hasPrefix("count/")
            || [
                "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
                "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
            ].contains(name)
    }

    private mutating func quotaName(_ path: String, _ name: String) {
        if let fault = Names.qualified(name) { invalid(path, .string(name), fault) }
        guard !name.contains("/") else { return }
        let known = [
            "cpu", "memory", "storage", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
            "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
        ]
        if known.contains(name) || Self.isCounted(name) || name.hasPrefix("requests.hugepages-")
            || name.hasPrefix("hugepages-")
        {
            return
        }
        invalid(path, .string(name), "must be a standard resource for quota")
    }

    mutating func limitRange(_ object: KubeObject) {
        var types: Set<String> = []
        for (index, limit) in object.spec.list("limits").enumerated() {
            let path = "spec.limits[\(index)]"
            let type = limit["type"]?.string ?? ""
            if type.isEmpty { required("\(path).type") }
            if !types.insert(type).inserted { duplicate("\(path).type", .string(type)) }
            if type == "Pod" {
                for field in ["default", "defaultRequest"] where limit[field]?.object?.isEmpty == false {
                    forbidden("\(path).\(field)", "may not be specified when `type` is 'Pod'")
                }
            }
            if type == "PersistentVolumeClaim", limit["min"]?["storage"] == nil, limit["max"]?["storage"] == nil {
                required(
                    "\(path).limits", "either minimum or maximum storage value is required, but neither was provided")
            }
            limits(limit, path)
        }
    }

    private mutating func limits(_ limit: JSON, _ path: String) {
        var amounts: [String: [String: Quantity]] = [:]
        for field in ["min", "defaultRequest", "default", "max", "maxLimitRequestRatio"] {
            for entry in limit[field]?.object ?? JSONObject() {
                amounts[entry.key, default: [:]][field] = quantity("\(path).\(field)[\(entry.key)]", entry.value)
            }
        }
        let order = [
            ("min", "max"), ("min", "defaultRequest"), ("min", "default"), ("defaultRequest", "max"),
            ("default", "max"), ("defaultRequest", "default"),
        ]
        for (name, found) in amounts.sorted(by: { $0.key < $1.key }) {
            for (low, high) in order {
                guard let one = found[low], let other = found[high], one > other else { continue }
                let words = [
                    "default": "default value", "defaultRequest": "default request value", "min": "min value",
                    "max": "max value",
                ]
                invalid(
                    "\(path).\(low)[\(name)]", .string(one.description),
                    "\(words[low] ?? low) \(one) is greater than \(words[high] ?? high) \(other)")
            }
        }
    }

    mutating func autoscaler(_ object: KubeObject) {
        let spec = object.spec
        let most = spec["maxReplicas"]?.int ?? 0
        if most < 1 { invalid("spec.maxReplicas", .int(Int64(most)), "must be greater than 0") }
        if let least = spec["minReplicas"]?.int {
            if least < 1 { invalid("spec.minReplicas", .int(Int64(least)), "must be greater than or equal to 1") }
            if most > 0, most < least {
                invalid("spec.maxReplicas", .int(Int64(most)), "must be greater than or equal to `minReplicas`")
            }
        }
        for field in ["kind", "name"] where spec["scaleTargetRef"]?[field]?.string?.isEmpty ?? true {
            required("spec.scaleTargetRef.\(field)")
        }
        if let percent = spec["targetCPUUtilizationPercentage"]?.int, percent < 1 {
            invalid("spec.targetCPUUtilizationPercentage", .int(Int64(percent)), "must be greater than 0")
        }
        for (index, metric) in spec.list("metrics").enumerated() { self.metric(metric, "spec.metrics[\(index)]") }
        for direction in ["scaleUp", "scaleDown"] {
            guard let rules = spec["behavior"]?[direction] else { continue }
            let path = "spec.behavior.\(direction)"
            if let window = rules["stabilizationWindowSeconds"]?.int, !(0...3600).contains(window) {
                invalid("\(path).stabilizationWindowSeconds", .int(Int64(window)), "must be between 0 and 3600")
            }
            oneOf("\(path).selectPolicy", rules["selectPolicy"], ["Disabled", "Max", "Min"])
            for (place, policy) in rules.list("policies").enumerated() {
                let path = "\(path).policies[\(place)]"
                oneOf("\(path).type", policy["type"], ["Percent", "Pods"])
                if (policy["value"]?.int ?? 0) <= 0 {
                    invalid("\(path).value", policy["value"], "must be greater than zero")
                }
                let period = policy["periodSeconds"]?.int ?? 0
                if !(1...1800).contains(period) {
                    invalid("\(path).periodSeconds", .int(Int64(period)), "must be between 1 and 1800")
                }
            }
        }
    }

    private mutating func metric(_ metric: JSON, _ path: String) {
        let kinds = [
            "Resource": "resource", "Pods": "pods", "Object": "object", "External": "external",
            "ContainerResource": "containerResource",
        ]
        let type = metric["type"]?.string ?? ""
        guard let member = kinds[type] else {
            if type.isEmpty {
                required("\(path).type", "must specify a metric source type")
            } else {
                unsupported("\(path).type", .string(type), kinds.keys.sorted())
            }
            return
        }
        guard let source = metric[member] else {
            return required("\(path).\(member)", "must populate information for the given metric source")
        }
        let target = source["target"]
        oneOf("\(path).\(member).target.type", target?["type"], ["AverageValue", "Utilization", "Value"])
        if let percent = target?["averageUtilization"]?.int, percent < 1 {
            invalid("\(path).\(member).target.averageUtilization", .int(Int64(percent)), "must be greater than 0")
        }
        let values = ["averageUtilization", "averageValue", "value"].filter { target?[$0] != nil }
        if values.isEmpty {
            required(
                "\(path).\(member).target.\(type.hasSuffix("Resource") ? "averageUtilization" : "value")",
                "must set a target value")
        }
        for field in ["averageValue", "value"] {
            if let value = target?[field] { _ = quantity("\(path).\(member).target.\(field)", value) }
        }
    }

    mutating func priorityClass(_ object: KubeObject, old: KubeObject?) {
        let value = object.json["value"]?.int ?? 0
        if object.name.hasPrefix("system-"), !["system-cluster-critical", "system-node-critical"].contains(object.name)
        {
            forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system use only")
        } else if value > 1_000_000_000, !object.name.hasPrefix("system-") {
            forbidden("value", "maximum allowed value of a user defined priority is 1000000000")
        }
        oneOf("preemptionPolicy", object.json["preemptionPolicy"], ["PreemptLowerPriority", "Never"])
        guard let old else { return }
        if object.json["value"] != old.json["value"] { forbidden("value", "may not be changed in an update.") }
        immutable("preemptionPolicy", object.json["preemptionPolicy"], old.json["preemptionPolicy"])
    }

    mutating func runtimeClass(_ object: KubeObject, old: KubeObject?) {
        if object.json["handler"]?.string?.isEmpty ?? true { required("handler") }
        name("handler", object.json["handler"], Names.label)
        if let old { immutable("handler", object.json["handler"], old.json["handler"]) }
    }

    mutating func ingressClass(_ object: KubeObject, old: KubeObject?) {
        let controller = object.spec["controller"]?.string ?? ""
        if controller.isEmpty {
            required("spec.controller")
        } else if !controller.contains("/") {
            invalid("spec.controller", .string(controller), "must be a domain-prefixed path (such as \"acme.io/foo\")")
        }
        if let parameters = object.spec["parameters"] {
            for field in ["kind", "name"] where parameters[field]?.string?.isEmpty ?? true {
                required("spec.parameters.\(field)")
            }
            oneOf("spec.parameters.scope", parameters["scope"], ["Cluster", "Namespace"])
            if parameters["scope"] == "Namespace", parameters["namespace"] == nil {
                required("spec.parameters.namespace", "`parameters.scope` is set to 'Namespace'")
            }
        }
        if let old { immutable("spec.controller", object.spec["controller"], old.spec["controller"]) }
    }

    mutating func serviceAccount(_ object: KubeObject) {
        for (index, secret) in object.json.list("imagePullSecrets").enumerated() {
            name("imagePullSecrets[\(index)].name", secret["name"], Names.subdomain)
        }
    }

    mutating func event(_ object: KubeObject, involved: JSON?, _ path: String) {
        let place = involved?["namespace"]?.string ?? ""
        let isElsewhere = place != object.namespace && !(place.isEmpty && object.namespace == "default")
        if isElsewhere { invalid("\(path).namespace", .string(place), "does not match event.namespace") }
    }

    /// Webhook configurations: what makes them unusable. Their conditions are compiled where they are used.
    mutating func webhooks(_ object: KubeObject) {
        var names: Set<String> = []
        for (index, hook) in object.json.list("webhooks").enumerated() {
            let path = "webhooks[\(index)]"
            let name = hook["name"]?.string ?? ""
            if name.isEmpty {
                required("\(path).name")
            } else if name.split(separator: ".").count < 3 {
                invalid(
                    "\(path).name", .string(name), "should be a domain with at least three segments separated by dots")
            } else if let fault = Names.subdomain(name) {
                invalid("\(path).name", .string(name), fault)
            }
            if !names.insert(name).inserted { duplicate("\(path).name", .string(name)) }
            webhookClient(hook["clientConfig"], "\(path).clientConfig")
            oneOf("\(path).sideEffects", hook["sideEffects"], ["None", "NoneOnDryRun"])
            if hook["sideEffects"] == nil { required("\(path).sideEffects", "must specify one of None, NoneOnDryRun") }
            let versions = hook.list("admissionReviewVersions").compactMap(\.string)
            if versions.isEmpty { required("\(path).admissionReviewVersions", "must specify one of v1, v1beta1") }
            if !versions.isEmpty, !versions.contains("v1"), !versions.contains("v1beta1") {
                invalid(
                    "\(path).admissionReviewVersions", hook["admissionReviewVersions"],
                    "must include at least one of v1, v1beta1")
            }
            oneOf("\(path).failurePolicy", hook["failurePolicy"], ["Fail", "Ignore"])
            oneOf("\(path).matchPolicy", hook["matchPolicy"], ["Equivalent", "Exact"])
            oneOf("\(path).reinvocationPolicy", hook["reinvocationPolicy"], ["IfNeeded", "Never"])
            if let seconds = hook["timeoutSeconds"]?.int, !(1...30).contains(seconds) {
                invalid(
                    "\(path).timeoutSeconds", .int(Int64(seconds)), "the timeout value must be between 1 and 30 seconds"
                )
            }
            for field in ["namespaceSelector", "objectSelector"] where hook[field] != nil {
                selector("\(path).\(field)", hook[field])
            }
            for (place, rule) in hook.list("rules").enumerated() {
                for field in ["operations", "apiGroups", "apiVersions", "resources"] where rule.list(field).isEmpty {
                    required("\(path).rules[\(place)].\(field)")
                }
                for operation in rule.list("operations") {
                    oneOf(
                        "\(path).rules[\(place)].operations", operation, ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"])
                }
                oneOf("\(path).rules[\(place)].scope", rule["scope"], ["*", "Cluster", "Namespaced"])
            }
        }
    }

    private mutating func webhookClient(_ client: JSON?, _ path: String) {
        let service = client?["service"]
        switch (client?["url"]?.string, service) {
        case (nil, nil), (_?, _?): required(path, "exactly one of url or service is required")
        case (let url?, nil):
            if !url.hasPrefix("https://") {
                invalid(
                    "\(path).url", .string(url),
                    "'https' is the only allowed URL scheme; desired format: https://host[/path]")
            }
        case (nil, _?):
            for field in ["name", "namespace"] where service?[field]?.string?.isEmpty ?? true {
                required("\(path).service.\(field)", "service \(field) is required")
            }
            port("\(path).service.port", service?["port"])
            if let text = service?["path"]?.string, !text.hasPrefix("/") {
                invalid("\(path).service.path", .string(text), "must start with a '/'")
            }
        }
    }
}
