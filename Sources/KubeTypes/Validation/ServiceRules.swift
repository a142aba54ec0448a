import Wire

extension Validator {
    mutating func service(_ object: KubeObject, old: KubeObject?) {
        let spec = object.spec
        let type = spec["type"]?.string ?? "ClusterIP"
        oneOf("spec.type", spec["type"], ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])
        let address = spec["clusterIP"]?.string ?? ""
        if !address.isEmpty, address != "None", !Names.isAddress(address) {
            invalid("spec.clusterIP", .string(address), "must be empty, 'None' or a valid IP address")
        }
        servicePorts(spec, type, isHeadless: address == "None")
        externalTraffic(spec, type, old?.spec)
        labels("spec.selector", spec["selector"])
        oneOf("spec.sessionAffinity", spec["sessionAffinity"], ["ClientIP", "None"])
        if let seconds = spec[path: ["sessionAffinityConfig", "clientIP", "timeoutSeconds"]]?.int,
            !(1...86_400).contains(seconds)
        {
            invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds", .int(Int64(seconds)),
                "must be between 1 and 86400, inclusive")
        }
        if type == "ExternalName" {
            if !address.isEmpty, address != "None" {
                forbidden("spec.clusterIP", "may not be set for ExternalName services")
            }
            if spec["externalName"]?.string?.isEmpty ?? true {
                required("spec.externalName")
            } else {
                name("spec.externalName", spec["externalName"]) {
                    Names.subdomain($0.hasSuffix(".") ? String($0.dropLast()) : $0)
                }
            }
        } else if address == "None", type != "ClusterIP" {
            invalid("spec.clusterIP", "None", "may not be 'None' for services of type \(type)")
        }
        for (index, entry) in spec.list("externalIPs").enumerated() {
            name("spec.externalIPs[\(index)]", entry) { Names.isAddress($0) ? nil : "must be a valid IP address" }
        }
        guard let old, type != "ExternalName", old.spec["type"] != "ExternalName" else { return }
        let before = old.spec["clusterIP"]?.string ?? ""
        if !before.isEmpty, before != address { invalid("spec.clusterIP", .string(address), "field is immutable") }
    }

    /// How traffic from outside the cluster is treated.
    private mutating func externalTraffic(_ spec: JSON, _ type: String, _ old: JSON?) {
        func needsHealthCheck(_ spec: JSON) -> Bool {
            spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
        }
        if let policy = spec["externalTrafficPolicy"], policy != "" {
            let hasAddresses = type == "ClusterIP" && !spec.list("externalIPs").isEmpty
            if type == "NodePort" || type == "LoadBalancer" || hasAddresses {
                oneOf("spec.externalTrafficPolicy", policy, ["Cluster", "Local"])
            } else {
                invalid(
                    "spec.externalTrafficPolicy", policy, "may only be set for externally-accessible services")
            }
        }
        let path = "spec.healthCheckNodePort"
        guard let number = spec["healthCheckNodePort"], number != 0 else { return }
        guard needsHealthCheck(spec) else {
            return invalid(
                path, number, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")
        }
        port(path, number)
        if let old, needsHealthCheck(old), let before = old["healthCheckNodePort"], before != 0, before != number {
            forbidden(path, "field is immutable")
        }
    }

    private mutating func servicePorts(_ spec: JSON, _ type: String, isHeadless: Bool) {
        let ports = spec.list("ports")
        if ports.isEmpty, type != "ExternalName", !isHeadless { required("spec.ports") }
        var names: Set<String> = []
        var numbers: Set<String> = []
        for (index, port) in ports.enumerated() {
            let path = "spec.ports[\(index)]"
            let name = port["name"]?.string ?? ""
            if name.isEmpty {
                if ports.count > 1 { required("\(path).name", "each port needs a name when there is more than one") }
            } else {
                self.name("\(path).name", port["name"], Names.label)
                if !names.insert(name).inserted { duplicate("\(path).name", .string(name)) }
            }
            if port["port"] == nil { required("\(path).port") }
            self.port("\(path).port", port["port"])
            portOrName("\(path).targetPort", port["targetPort"])
            if let number = port["nodePort"], number != 0 { self.port("\(path).nodePort", number) }
            oneOf("\(path).protocol", port["protocol"], ["SCTP", "TCP", "UDP"])
            let key = "\(port["port"]?.int ?? 0)/\(port["protocol"]?.string ?? "TCP")"
            if !numbers.insert(key).inserted {
                duplicate(path, ["port": port["port"] ?? 0, "protocol": port["protocol"] ?? "TCP"])
            }
            if type == "ClusterIP", let number = port["nodePort"], number != 0 {
                forbidden("\(path).nodePort", "may not be used when `type` is 'ClusterIP'")
            }
        }
    }

    mutating func endpoints(_ object: KubeObject) {
        for (index, subset) in object.json.list("subsets").enumerated() {
            for list in ["addresses", "notReadyAddresses"] {
                for (place, address) in subset.list(list).enumerated() {
                    name("subsets[\(index)].\(list)[\(place)].ip", address["ip"]) {
                        Names.isAddress($0) ? nil : "must be a valid IP address"
                    }
                }
            }
            for (place, port) in subset.list("ports").enumerated() {
                self.port("subsets[\(index)].ports[\(place)].port", port["port"])
            }
        }
    }

    mutating func endpointSlice(_ object: KubeObject, old: KubeObject?) {
        let type = object.json["addressType"]?.string ?? ""
        if type.isEmpty {
            required("addressType")
        } else {
            oneOf("addressType", .string(type), ["FQDN", "IPv4", "IPv6"])
        }
        let endpoints = object.json.list("endpoints")
        if endpoints.count > 1000 {
            add(FieldFault(.tooMany, "endpoints", "\(endpoints.count): must have at most 1000 items"))
        }
        for (index, endpoint) in endpoints.enumerated() {
            let path = "endpoints[\(index)].addresses"
            let addresses = endpoint.list("addresses")
            if addresses.isEmpty { required(path, "must contain at least 1 address") }
            for (place, address) in addresses.enumerated() {
                name("\(path)[\(place)]", address) { text in
                    switch type {
                    case "IPv4": Names.isIPv4(text) ? nil : "must be an IPv4 address"
                    case "IPv6": Names.isIPv6(text) ? nil : "must be an IPv6 address"
                    default: nil
                    }
                }
            }
        }
        for (index, port) in object.json.list("ports").enumerated() {
            self.port("ports[\(index)].port", port["port"])
            oneOf("ports[\(index)].protocol", port["protocol"], ["SCTP", "TCP", "UDP"])
        }
        if let old { immutable("addressType", object.json["addressType"], old.json["addressType"]) }
    }

    mutating func ingress(_ object: KubeObject) {
        let spec = object.spec
        if spec.list("rules").isEmpty, spec["defaultBackend"] == nil {
            invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
        }
        func backend(_ backend: JSON?, _ path: String, _ validator: inout Validator) {
            guard let backend else { return validator.required(path) }
            if backend["service"] == nil, backend["resource"] == nil {
                return validator.required(path, "must have a service or a resource")
            }
            guard let service = backend["service"] else { return }
            if service["name"]?.string?.isEmpty ?? true { validator.required("\(path).service.name") }
            let port = service["port"]
            if port?["number"] == nil, port?["name"] == nil {
                validator.required("\(path).service.port", "a port name or number is required")
            }
            validator.port("\(path).service.port.number", port?["number"])
        }
        if spec["defaultBackend"] != nil { backend(spec["defaultBackend"], "spec.defaultBackend", &self) }
        for (index, rule) in spec.list("rules").enumerated() {
            name("spec.rules[\(index)].host", rule["host"]) { host in
                host.isEmpty ? nil : Names.subdomain(host.hasPrefix("*.") ? String(host.dropFirst(2)) : host)
            }
            for (place, entry) in (rule["http"]?.list("paths") ?? []).enumerated() {
                let path = "spec.rules[\(index)].http.paths[\(place)]"
                if entry["pathType"] == nil { required("\(path).pathType", "pathType must be specified") }
                oneOf("\(path).pathType", entry["pathType"], ["Exact", "ImplementationSpecific", "Prefix"])
                if entry["pathType"] != "ImplementationSpecific", entry["path"]?.string?.hasPrefix("/") != true {
                    invalid("\(path).path", entry["path"] ?? "", "must be an absolute path")
                }
                backend(entry["backend"], "\(path).backend", &self)
            }
        }
    }

    mutating func networkPolicy(_ object: KubeObject) {
        selector("spec.podSelector", object.spec["podSelector"])
        for (index, type) in object.spec.list("policyTypes").enumerated() {
            oneOf("spec.policyTypes[\(index)]", type, ["Ingress", "Egress"])
        }
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in object.spec.list(direction).enumerated() {
                for (place, port) in rule.list("ports").enumerated() {
                    let path = "spec.\(direction)[\(index)].ports[\(place)]"
                    portOrName("\(path).port", port["port"])
                    oneOf("\(path).protocol", port["protocol"], ["SCTP", "TCP", "UDP"])
                    guard let last = port["endPort"]?.int else { continue }
                    if port["port"] == nil {
                        required("\(path).port", "must be specified when `endPort` is specified")
                    } else if let first = port["port"]?.int, last < first {
                        invalid("\(path).endPort", .int(Int64(last)), "must be greater than or equal to `port`")
                    } else if port["port"]?.string != nil {
                        invalid("\(path).endPort", .int(Int64(last)), "may not be specified when `port` is non-numeric")
                    }
                }
                for (place, peer) in rule.list(peers).enumerated() {
                    let path = "spec.\(direction)[\(index)].\(peers)[\(place)]"
                    if peer.object?.isEmpty ?? true { required(path, "must specify a peer") }
                    selector("\(path).podSelector", peer["podSelector"])
                    selector("\(path).namespaceSelector", peer["namespaceSelector"])
                    if let block = peer["ipBlock"] { self.block(block, "\(path).ipBlock") }
                    if peer["ipBlock"] != nil, peer.object?.count ?? 0 > 1 {
                        forbidden(path, "may not specify both ipBlock and another peer")
                    }
                }
            }
        }
    }

    private mutating func block(_ block: JSON, _ path: String) {
        let cidr = block["cidr"]?.string ?? ""
        if cidr.isEmpty { return required("\(path).cidr") }
        if !Self.isNetwork(cidr) {
            invalid("\(path).cidr", .string(cidr), "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        }
        for (index, part) in block.list("except").enumerated() where !Self.isNetwork(part.string ?? "") {
            invalid("\(path).except[\(index)]", part, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        }
    }

    private static func isNetwork(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let length = Int(parts[1]), length >= 0 else { return false }
        return Names.isIPv4(parts[0]) && length <= 32 || Names.isIPv6(parts[0]) && length <= 128
    }
}
