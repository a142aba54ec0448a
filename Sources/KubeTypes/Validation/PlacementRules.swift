import Wire

/// Where a pod may run, and what it runs as.
extension Validator {
    mutating func placement(_ spec: JSON, _ path: @autoclosure () -> String) {
        affinity(spec["affinity"], "\(path()).affinity")
        spread(spec, "\(path()).topologySpreadConstraints")
        oneOf("\(path()).preemptionPolicy", spec["preemptionPolicy"], ["Never", "PreemptLowerPriority"])
        name("\(path()).priorityClassName", spec["priorityClassName"], Names.subdomain)
        name("\(path()).runtimeClassName", spec["runtimeClassName"], Names.subdomain)
        oneOf("\(path()).os.name", spec["os"]?["name"], ["linux", "windows"])
        for (index, gate) in spec.list("readinessGates").enumerated() {
            name("\(path()).readinessGates[\(index)].conditionType", gate["conditionType"], Names.qualified)
        }
        var gates: Set<String> = []
        for (index, gate) in spec.list("schedulingGates").enumerated() {
            let text = gate["name"]?.string ?? ""
            name("\(path()).schedulingGates[\(index)]", gate["name"], Names.qualified)
            if !gates.insert(text).inserted { duplicate("\(path()).schedulingGates[\(index)]", .string(text)) }
        }
        if !gates.isEmpty, spec["nodeName"]?.string?.isEmpty == false {
            forbidden("\(path()).nodeName", "cannot be set until all schedulingGates have been cleared")
        }
        let security = spec["securityContext"]
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            identity("\(path()).securityContext.\(field)", security?[field])
        }
        for (index, group) in (security?.list("supplementalGroups") ?? []).enumerated() {
            identity("\(path()).securityContext.supplementalGroups[\(index)]", group)
        }
        oneOf(
            "\(path()).securityContext.fsGroupChangePolicy", security?["fsGroupChangePolicy"],
            ["Always", "OnRootMismatch"])
        profile("\(path()).securityContext.seccompProfile", security?["seccompProfile"])
        for (index, entry) in (security?.list("sysctls") ?? []).enumerated() {
            let text = entry["name"]?.string ?? ""
            if text.isEmpty { required("\(path()).securityContext.sysctls[\(index)].name") }
        }
        for list in ["initContainers", "containers"] {
            for (index, container) in spec.list(list).enumerated() {
                containerSecurity(container["securityContext"], "\(path()).\(list)[\(index)].securityContext")
                policies(container, "\(path()).\(list)[\(index)]")
            }
        }
        dns(spec["dnsConfig"], "\(path()).dnsConfig")
    }

    private mutating func policies(_ container: JSON, _ path: @autoclosure () -> String) {
        oneOf("\(path()).imagePullPolicy", container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"])
        oneOf(
            "\(path()).terminationMessagePolicy", container["terminationMessagePolicy"],
            ["FallbackToLogsOnError", "File"])
        for (index, source) in container.list("envFrom").enumerated() {
            let kinds = ["configMapRef", "secretRef"].filter { source[$0] != nil }
            if kinds.count != 1 {
                invalid("\(path()).envFrom[\(index)]", source, "must specify one of: `configMapRef` or `secretRef`")
            }
            for kind in kinds where source[kind]?["name"]?.string?.isEmpty ?? true {
                required("\(path()).envFrom[\(index)].\(kind).name")
            }
        }
        for (index, device) in container.list("volumeDevices").enumerated()
        where device["devicePath"]?.string?.isEmpty ?? true {
            required("\(path()).volumeDevices[\(index)].devicePath")
        }
    }

    private mutating func containerSecurity(_ context: JSON?, _ path: @autoclosure () -> String) {
        guard let context else { return }
        identity("\(path()).runAsUser", context["runAsUser"])
        identity("\(path()).runAsGroup", context["runAsGroup"])
        oneOf("\(path()).procMount", context["procMount"], ["Default", "Unmasked"])
        profile("\(path()).seccompProfile", context["seccompProfile"])
        if context["allowPrivilegeEscalation"] == false {
            if context["privileged"] == true {
                invalid(path(), context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
            }
            if context["capabilities"]?.list("add").contains("CAP_SYS_ADMIN") == true {
                invalid(
                    path(), context,
                    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                )
            }
        }
    }

    private mutating func profile(_ path: @autoclosure () -> String, _ profile: JSON?) {
        guard let profile else { return }
        oneOf("\(path()).type", profile["type"], ["Localhost", "RuntimeDefault", "Unconfined"])
        let file = profile["localhostProfile"]?.string
        if profile["type"] == "Localhost" {
            if file?.isEmpty ?? true {
                required("\(path()).localhostProfile", "must be set when seccomp type is Localhost")
            }
        } else if file != nil {
            invalid(
                "\(path()).localhostProfile", profile["localhostProfile"],
                "can only be set when seccomp type is Localhost")
        }
    }

    private mutating func dns(_ config: JSON?, _ path: @autoclosure () -> String) {
        guard let config else { return }
        let servers = config.list("nameservers")
        if servers.count > 3 {
            invalid("\(path()).nameservers", config["nameservers"], "must not have more than 3 nameservers")
        }
        for (index, server) in servers.enumerated() {
            name("\(path()).nameservers[\(index)]", server) { Names.isAddress($0) ? nil : "must be a valid IP address" }
        }
        let searches = config.list("searches")
        if searches.count > 32 {
            invalid("\(path()).searches", config["searches"], "must not have more than 32 search paths")
        }
    }

    private mutating func affinity(_ affinity: JSON?, _ path: @autoclosure () -> String) {
        guard let affinity else { return }
        let node = affinity["nodeAffinity"]
        if let hard = node?["requiredDuringSchedulingIgnoredDuringExecution"] {
            let place = "\(path()).nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
            if hard.list("nodeSelectorTerms").isEmpty {
                required("\(place).nodeSelectorTerms", "must have at least one node selector term")
            }
            for (index, term) in hard.list("nodeSelectorTerms").enumerated() {
                nodeTerm(term, "\(place).nodeSelectorTerms[\(index)]")
            }
        }
        for (index, soft) in (node?.list("preferredDuringSchedulingIgnoredDuringExecution") ?? []).enumerated() {
            let place = "\(path()).nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[\(index)]"
            weight(soft["weight"], place)
            nodeTerm(soft["preference"] ?? [:], "\(place).preference")
        }
        for kind in ["podAffinity", "podAntiAffinity"] {
            let rules = affinity[kind]
            for (index, hard) in (rules?.list("requiredDuringSchedulingIgnoredDuringExecution") ?? []).enumerated() {
                podTerm(hard, "\(path()).\(kind).requiredDuringSchedulingIgnoredDuringExecution[\(index)]")
            }
            for (index, soft) in (rules?.list("preferredDuringSchedulingIgnoredDuringExecution") ?? []).enumerated() {
                let place = "\(path()).\(kind).preferredDuringSchedulingIgnoredDuringExecution[\(index)]"
                weight(soft["weight"], place)
                podTerm(soft["podAffinityTerm"] ?? [:], "\(place).podAffinityTerm")
            }
        }
    }

    private mutating func weight(_ weight: JSON?, _ path: @autoclosure () -> String) {
        let number = weight?.int ?? 0
        if !(1...100).contains(number) {
            invalid("\(path()).weight", .int(Int64(number)), "must be in the range 1-100")
        }
    }

    private mutating func nodeTerm(_ term: JSON, _ path: @autoclosure () -> String) {
        for (index, rule) in term.list("matchExpressions").enumerated() {
            func own() -> String { "\(path()).matchExpressions[\(index)]" }
            name("\(own()).key", rule["key"], Names.qualified)
            let values = rule.list("values")
            switch rule["operator"] {
            case "In"?, "NotIn"?:
                if values.isEmpty {
                    required("\(own()).values", "must be specified when `operator` is 'In' or 'NotIn'")
                }
            case "Exists"?, "DoesNotExist"?:
                if !values.isEmpty {
                    forbidden("\(own()).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
                }
            case "Gt"?, "Lt"?:
                if values.count != 1 {
                    required("\(own()).values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
                }
            case let other?:
                unsupported("\(own()).operator", other, ["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"])
            case nil: required("\(own()).operator")
            }
        }
    }

    private mutating func podTerm(_ term: JSON, _ path: @autoclosure () -> String) {
        if term["labelSelector"] != nil { selector("\(path()).labelSelector", term["labelSelector"]) }
        if term["namespaceSelector"] != nil { selector("\(path()).namespaceSelector", term["namespaceSelector"]) }
        if term["topologyKey"]?.string?.isEmpty ?? true {
            required("\(path()).topologyKey", "can not be empty")
        } else {
            name("\(path()).topologyKey", term["topologyKey"], Names.qualified)
        }
    }

    private mutating func spread(_ spec: JSON, _ path: @autoclosure () -> String) {
        var seen: Set<String> = []
        for (index, rule) in spec.list("topologySpreadConstraints").enumerated() {
            func own() -> String { "\(path())[\(index)]" }
            let skew = rule["maxSkew"]?.int ?? 0
            if skew <= 0 { invalid("\(own()).maxSkew", .int(Int64(skew)), "must be greater than zero") }
            let key = rule["topologyKey"]?.string ?? ""
            if key.isEmpty {
                required("\(own()).topologyKey", "can not be empty")
            } else {
                name("\(own()).topologyKey", rule["topologyKey"], Names.qualified)
            }
            let action = rule["whenUnsatisfiable"]
            if action == nil { required("\(own()).whenUnsatisfiable") }
            oneOf("\(own()).whenUnsatisfiable", action, ["DoNotSchedule", "ScheduleAnyway"])
            if !seen.insert("\(key)/\(action?.string ?? "")").inserted {
                duplicate("\(own()).{topologyKey, whenUnsatisfiable}", .string("{\(key), \(action?.string ?? "")}"))
            }
            if let least = rule["minDomains"]?.int {
                if least <= 0 { invalid("\(own()).minDomains", .int(Int64(least)), "must be greater than zero") }
                if action != "DoNotSchedule" {
                    invalid(
                        "\(own()).minDomains", .int(Int64(least)),
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway")
                }
            }
            if rule["labelSelector"] != nil { selector("\(own()).labelSelector", rule["labelSelector"]) }
        }
    }
}
