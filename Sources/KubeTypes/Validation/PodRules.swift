import Wire

extension Validator {
    mutating func pod(_ object: KubeObject, old: KubeObject?) {
        podSpec(object.spec, "spec")
        ephemeralContainers(object, old: old)
        guard let old, subresource != "status" else { return }
        // What these leave as it was is seen to where they are served.
        if let subresource, ["ephemeralcontainers", "binding", "resize"].contains(subresource) { return }
        let (new, before) = (Self.fixedPart(of: object, old), Self.fixedPart(of: old, old))
        if new != before {
            let changed = Set(new.object?.keys ?? []).union(before.object?.keys ?? []).filter { new[$0] != before[$0] }
                .sorted()
            forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
                    + "`spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations) and "
                    + "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative); "
                    + "changed here: \(changed.map { "spec.\($0)" }.joined(separator: ", "))")
        }
        let tolerations = object.spec.list("tolerations")
        if !old.spec.list("tolerations").allSatisfy({ known in
            tolerations.contains { Self.isSameButForTime($0, known) }
        }) {
            forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
        }
        if let before = old.spec["activeDeadlineSeconds"]?.int {
            guard let seconds = object.spec["activeDeadlineSeconds"]?.int else {
                return invalid(
                    "spec.activeDeadlineSeconds", nil, "must not update from a positive integer to nil value")
            }
            if seconds > before {
                invalid(
                    "spec.activeDeadlineSeconds", .int(Int64(seconds)),
                    "must be less than or equal to previous value")
            }
        }
    }

    private static func isSameButForTime(_ one: JSON, _ other: JSON) -> Bool {
        var (one, other) = (one, other)
        one["tolerationSeconds"] = nil
        other["tolerationSeconds"] = nil
        return one == other
    }

    /// Containers added to a running pod: there once, for ever, and without what only planned containers have.
    private mutating func ephemeralContainers(_ object: KubeObject, old: KubeObject?) {
        let own = object.spec.list("ephemeralContainers")
        if old == nil, !own.isEmpty {
            forbidden("spec.ephemeralContainers", "cannot be set on create")
        }
        let forbiddenFields = ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"]
        var names = Set((object.spec.list("containers") + object.spec.list("initContainers")).map { $0["name"] ?? "" })
        for (index, container) in own.enumerated() {
            let path = "spec.ephemeralContainers[\(index)]"
            for field in forbiddenFields where container[field] != nil && container[field] != [:] {
                forbidden("\(path).\(field)", "cannot be set for an Ephemeral Container")
            }
            guard let name = container["name"], name != "" else {
                required("\(path).name")
                continue
            }
            self.name("\(path).name", name, Names.label)
            if !names.insert(name).inserted { duplicate("\(path).name", name) }
            if container["image"]?.string?.isEmpty ?? true { required("\(path).image") }
        }
    }

    /// The pod's spec without what may change after creation.
    private static func fixedPart(of pod: KubeObject, _ old: KubeObject) -> JSON {
        var spec = pod.spec
        for key in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] { spec[key] = nil }
        let isGated = !old.spec.list("schedulingGates").isEmpty
        // Gates may only go; while there are any, where the pod may run can still be narrowed.
        let gates = old.spec.list("schedulingGates")
        if pod.spec.list("schedulingGates").allSatisfy({ gates.contains($0) }) { spec["schedulingGates"] = nil }
        if isGated {
            spec["nodeSelector"] = nil
            spec["affinity"] = nil
        }
        for list in ["containers", "initContainers"] {
            guard var containers = spec[list]?.array else { continue }
            for index in containers.indices { containers[index]["image"] = nil }
            spec[list] = .array(containers)
        }
        return spec
    }

    mutating func podTemplate(_ template: JSON?, _ path: @autoclosure () -> String) {
        guard let template else { return required(path()) }
        labels("\(path()).metadata.labels", template["metadata"]?["labels"])
        podSpec(template["spec"] ?? [:], "\(path()).spec")
    }

    mutating func podSpec(_ spec: JSON, _ path: @autoclosure () -> String) {
        let volumes = volumes(spec, "\(path()).volumes")
        if spec.list("containers").isEmpty { required("\(path()).containers", "a pod needs at least one container") }
        var names: Set<String> = []
        for (list, isInit) in [("initContainers", true), ("containers", false)] {
            for (index, container) in spec.list(list).enumerated() {
                func own() -> String { "\(path()).\(list)[\(index)]" }
                self.container(container, own(), volumes: volumes, isInit: isInit)
                guard let name = container["name"]?.string, !name.isEmpty else { continue }
                if !names.insert(name).inserted { duplicate("\(own()).name", .string(name)) }
            }
        }
        oneOf("\(path()).restartPolicy", spec["restartPolicy"], ["Always", "OnFailure", "Never"])
        oneOf("\(path()).dnsPolicy", spec["dnsPolicy"], ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"])
        if spec["dnsPolicy"] == "None", spec["dnsConfig"]?.list("nameservers").isEmpty ?? true {
            required(
                "\(path()).dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
        }
        notNegative("\(path()).terminationGracePeriodSeconds", spec["terminationGracePeriodSeconds"])
        if let seconds = spec["activeDeadlineSeconds"]?.int, seconds < 1 {
            invalid("\(path()).activeDeadlineSeconds", .int(Int64(seconds)), "must be greater than 0")
        }
        name("\(path()).hostname", spec["hostname"], Names.label)
        name("\(path()).subdomain", spec["subdomain"], Names.label)
        name("\(path()).serviceAccountName", spec["serviceAccountName"]) { $0.isEmpty ? nil : Names.subdomain($0) }
        name("\(path()).nodeName", spec["nodeName"]) { $0.isEmpty ? nil : Names.subdomain($0) }
        labels("\(path()).nodeSelector", spec["nodeSelector"])
        tolerations(spec, "\(path()).tolerations")
        placement(spec, path())
        for (index, alias) in spec.list("hostAliases").enumerated() {
            name("\(path()).hostAliases[\(index)].ip", alias["ip"]) {
                Names.isAddress($0) ? nil : "must be a valid IP address"
            }
        }
    }

    private mutating func tolerations(_ spec: JSON, _ path: @autoclosure () -> String) {
        for (index, toleration) in spec.list("tolerations").enumerated() {
            func own() -> String { "\(path())[\(index)]" }
            let key = toleration["key"]?.string ?? ""
            let `operator` = toleration["operator"]?.string ?? "Equal"
            if !key.isEmpty { name("\(own()).key", toleration["key"], Names.qualified) }
            if key.isEmpty, `operator` != "Exists" {
                invalid(
                    "\(own()).operator", .string(`operator`),
                    "must be Exists when `key` is empty, which means \"match all values and all keys\"")
            }
            if `operator` == "Exists", toleration["value"]?.string?.isEmpty == false {
                invalid("\(own()).operator", "Exists", "value must be empty when `operator` is 'Exists'")
            }
            oneOf("\(own()).operator", toleration["operator"], ["Equal", "Exists", "Lt", "Gt"])
            oneOf("\(own()).effect", toleration["effect"], ["NoSchedule", "PreferNoSchedule", "NoExecute", ""])
            if toleration["tolerationSeconds"] != nil, toleration["effect"] != "NoExecute" {
                invalid(
                    "\(own()).effect", toleration["effect"],
                    "effect must be 'NoExecute' when `tolerationSeconds` is set"
                )
            }
        }
    }

    /// Checks the volumes and gives their names.
    private mutating func volumes(_ spec: JSON, _ path: @autoclosure () -> String) -> Set<String> {
        var names: Set<String> = []
        for (index, volume) in spec.list("volumes").enumerated() {
            func own() -> String { "\(path())[\(index)]" }
            guard let name = volume["name"]?.string, !name.isEmpty else {
                required("\(own()).name")
                continue
            }
            self.name("\(own()).name", volume["name"], Names.label)
            if !names.insert(name).inserted { duplicate("\(own()).name", .string(name)) }
            let sources = (volume.object?.keys ?? []).filter { $0 != "name" }
            if sources.isEmpty { required(own(), "must specify a volume type") }
            for extra in sources.dropFirst() {
                forbidden("\(own()).\(extra)", "may not specify more than 1 volume type, \(sources[0]) is set already")
            }
            if volume["hostPath"] != nil, volume["hostPath"]?["path"]?.string?.isEmpty ?? true {
                required("\(own()).hostPath.path")
            }
            if volume["configMap"] != nil, volume["configMap"]?["name"]?.string?.isEmpty ?? true {
                required("\(own()).configMap.name")
            }
            if volume["secret"] != nil, volume["secret"]?["secretName"]?.string?.isEmpty ?? true {
                required("\(own()).secret.secretName")
            }
            if let size = volume["emptyDir"]?["sizeLimit"] { _ = quantity("\(own()).emptyDir.sizeLimit", size) }
        }
        return names
    }

    private mutating func container(
        _ container: JSON, _ path: @autoclosure () -> String, volumes: Set<String>, isInit: Bool
    ) {
        if container["name"]?.string?.isEmpty ?? true {
            required("\(path()).name")
        } else {
            name("\(path()).name", container["name"], Names.label)
        }
        let image = container["image"]?.string ?? ""
        if image.isEmpty {
            required("\(path()).image")
        } else if Names.hasSpace(image) {
            invalid("\(path()).image", .string(image), "must not contain whitespace")
        }
        let isSidecar = isInit && container["restartPolicy"] == "Always"
        if !isInit, let policy = container["restartPolicy"] {
            forbidden("\(path()).restartPolicy", "may not be set for non-init containers, found \(policy.text)")
        } else {
            oneOf("\(path()).restartPolicy", container["restartPolicy"], ["Always"])
        }
        if isInit, !isSidecar {
            for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] where container[field] != nil
            {
                forbidden("\(path()).\(field)", "may not be set for init containers without restartPolicy=Always")
            }
        }
        ports(container, "\(path()).ports")
        environment(container, "\(path()).env")
        mounts(container, "\(path()).volumeMounts", volumes)
        resources(container["resources"], "\(path()).resources")
        for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if let probe = container[field] { self.probe(probe, "\(path()).\(field)", field) }
        }
        for hook in ["postStart", "preStop"] {
            if let action = container["lifecycle"]?[hook] {
                handler(action, "\(path()).lifecycle.\(hook)", ["exec", "httpGet", "tcpSocket", "sleep"])
            }
        }
    }

    private mutating func ports(_ container: JSON, _ path: @autoclosure () -> String) {
        var names: Set<String> = []
        for (index, port) in container.list("ports").enumerated() {
            func own() -> String { "\(path())[\(index)]" }
            self.port("\(own()).containerPort", port["containerPort"])
            if let host = port["hostPort"], host != 0 { self.port("\(own()).hostPort", host) }
            oneOf("\(own()).protocol", port["protocol"], ["SCTP", "TCP", "UDP"])
            guard let name = port["name"]?.string, !name.isEmpty else { continue }
            self.name("\(own()).name", port["name"], Names.port)
            if !names.insert(name).inserted { duplicate("\(own()).name", .string(name)) }
        }
    }

    private mutating func environment(_ container: JSON, _ path: @autoclosure () -> String) {
        for (index, variable) in container.list("env").enumerated() {
            func own() -> String { "\(path())[\(index)]" }
            if variable["name"]?.string?.isEmpty ?? true {
                required("\(own()).name")
            } else {
                name("\(own()).name", variable["name"], Names.environment)
            }
            guard let source = variable["valueFrom"] else { continue }
            if variable["value"]?.string?.isEmpty == false {
                invalid("\(own()).valueFrom", source, "may not be specified when `value` is not empty")
            }
            if source.object?.count ?? 0 != 1 {
                invalid(
                    "\(own()).valueFrom", source,
                    "must specify exactly one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                )
            }
            for reference in ["configMapKeyRef", "secretKeyRef"] where source[reference] != nil {
                if source[reference]?["name"]?.string?.isEmpty ?? true {
                    required("\(own()).valueFrom.\(reference).name")
                }
                if source[reference]?["key"]?.string?.isEmpty ?? true {
                    required("\(own()).valueFrom.\(reference).key")
                }
            }
        }
    }

    private mutating func mounts(_ container: JSON, _ path: @autoclosure () -> String, _ volumes: Set<String>) {
        var places: Set<String> = []
        for (index, mount) in container.list("volumeMounts").enumerated() {
            func own() -> String { "\(path())[\(index)]" }
            let name = mount["name"]?.string ?? ""
            if name.isEmpty {
                required("\(own()).name")
            } else if !volumes.contains(name) {
                notFound("\(own()).name", .string(name))
            }
            let place = mount["mountPath"]?.string ?? ""
            if place.isEmpty {
                required("\(own()).mountPath")
            } else if !places.insert(place).inserted {
                invalid("\(own()).mountPath", .string(place), "must be unique")
            }
            if let inner = mount["subPath"]?.string, inner.hasPrefix("/") || inner.split(separator: "/").contains("..")
            {
                invalid("\(own()).subPath", .string(inner), "must be a relative path without '..'")
            }
        }
    }

    private mutating func resources(_ resources: JSON?, _ path: @autoclosure () -> String) {
        guard let resources else { return }
        var limits: [String: Quantity] = [:]
        for entry in resources["limits"]?.object ?? JSONObject() {
            limits[entry.key] = quantity("\(path()).limits[\(entry.key)]", entry.value)
        }
        for entry in resources["requests"]?.object ?? JSONObject() {
            func own() -> String { "\(path()).requests[\(entry.key)]" }
            guard let request = quantity(own(), entry.value), let limit = limits[entry.key], request > limit else {
                continue
            }
            invalid(own(), entry.value, "must be less than or equal to \(entry.key) limit of \(limit)")
        }
    }

    private mutating func handler(_ action: JSON, _ path: @autoclosure () -> String, _ kinds: [String]) {
        let found = kinds.filter { action[$0] != nil }
        if found.isEmpty { required(path(), "must specify a handler type: one of \(kinds.joined(separator: ", "))") }
        for extra in found.dropFirst() {
            forbidden("\(path()).\(extra)", "may not specify more than 1 handler type, \(found[0]) is set already")
        }
        if let get = action["httpGet"] {
            portOrName("\(path()).httpGet.port", get["port"])
            if let text = get["path"]?.string, text.isEmpty { required("\(path()).httpGet.path") }
            oneOf("\(path()).httpGet.scheme", get["scheme"], ["HTTP", "HTTPS"])
        }
        if let socket = action["tcpSocket"] { portOrName("\(path()).tcpSocket.port", socket["port"]) }
        if let call = action["grpc"] { port("\(path()).grpc.port", call["port"]) }
        if let command = action["exec"], command.list("command").isEmpty { required("\(path()).exec.command") }
    }

    private mutating func probe(_ probe: JSON, _ path: @autoclosure () -> String, _ field: String) {
        handler(probe, path(), ["exec", "httpGet", "tcpSocket", "grpc"])
        for number in [
            "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
        ] {
            notNegative("\(path()).\(number)", probe[number])
        }
        if field != "readinessProbe", let times = probe["successThreshold"]?.int, times > 1 {
            invalid("\(path()).successThreshold", .int(Int64(times)), "must be 1")
        }
    }
}
