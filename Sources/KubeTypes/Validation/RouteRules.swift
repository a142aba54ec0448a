import Wire

/// Routes and traffic policy of the Gateway API and of Istio: the mistakes that would otherwise show only as lost traffic.
extension Validator {
    mutating func route(_ object: KubeObject, _ type: ResourceType) {
        parents(object.spec.list("parentRefs"))
        for (index, rule) in object.spec.list("rules").enumerated() {
            let path = "spec.rules[\(index)]"
            let matches = rule.list("matches")
            let backends = rule.list("backendRefs")
            for (place, backend) in backends.enumerated() {
                backendReference(backend, "\(path).backendRefs[\(place)]", matches)
            }
            let filters = rule.list("filters")
            routeFilters(filters, "\(path).filters", matches)
            for (place, filter) in filters.enumerated() where filter["type"] == "RequestRedirect" && !backends.isEmpty {
                invalid(
                    "\(path).filters[\(place)]", filter["type"],
                    "a RequestRedirect filter must not be used together with backendRefs")
            }
            if type.kind == "HTTPRoute" {
                for (place, match) in matches.enumerated() {
                    pathMatch(match["path"], "\(path).matches[\(place)].path")
                }
                routeTimeouts(rule, path)
            }
        }
    }

    /// A route may name a parent twice only by different sections or ports.
    private mutating func parents(_ references: [JSON]) {
        var seen: Set<JSON> = []
        for (index, reference) in references.enumerated() {
            var key: JSON = [
                "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "", "sectionName": "", "port": 0,
            ]
            for member in reference.object ?? JSONObject() { key[member.key] = member.value }
            if !seen.insert(key).inserted { duplicate("spec.parentRefs[\(index)]", reference) }
        }
    }

    private mutating func backendReference(_ backend: JSON, _ path: String, _ matches: [JSON] = []) {
        let isService =
            (backend["kind"]?.string ?? "Service") == "Service" && (backend["group"]?.string ?? "").isEmpty
        if isService, backend["port"] == nil {
            required("\(path).port", "must have a port for a reference to a Service")
        }
        routeFilters(backend.list("filters"), "\(path).filters", matches)
    }

    private static let filterMembers = [
        "RequestHeaderModifier": "requestHeaderModifier", "ResponseHeaderModifier": "responseHeaderModifier",
        "RequestMirror": "requestMirror", "RequestRedirect": "requestRedirect", "URLRewrite": "urlRewrite",
        "CORS": "cors",
        "ExtensionRef": "extensionRef", "ExternalAuth": "externalAuth",
    ]

    private mutating func routeFilters(_ filters: [JSON], _ path: String, _ matches: [JSON]) {
        var seen: Set<String> = []
        for (index, filter) in filters.enumerated() {
            let path = "\(path)[\(index)]"
            guard let type = filter["type"]?.string, let member = Self.filterMembers[type] else { continue }
            if filter[member] == nil { required("\(path).\(member)", "must be specified for a filter of type \(type)") }
            for (owner, other) in Self.filterMembers.sorted(by: { $0.key < $1.key }) {
                if other == member || filter[other] == nil { continue }
                forbidden("\(path).\(other)", "must not be set unless the filter's type is \(owner)")
            }
            let mayRepeat = type == "RequestMirror" || type == "ExtensionRef"
            if !seen.insert(type).inserted, !mayRepeat { duplicate("\(path).type", .string(type)) }
            if let mirror = filter["requestMirror"]?["backendRef"] {
                backendReference(mirror, "\(path).requestMirror.backendRef")
            }
            pathModifier(filter[member]?["path"], "\(path).\(member).path", matches)
        }
        if seen.isSuperset(of: ["RequestRedirect", "URLRewrite"]) {
            forbidden(path, "may have either a RequestRedirect or a URLRewrite filter, but not both")
        }
    }

    /// What replaces the path of a redirect or a rewrite.
    private mutating func pathModifier(_ modifier: JSON?, _ path: String, _ matches: [JSON]) {
        guard let modifier, let type = modifier["type"]?.string else { return }
        for (kind, member) in [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")] {
            if type == kind, modifier[member] == nil {
                required("\(path).\(member)", "must be specified when type is \(kind)")
            }
            if type != kind, modifier[member] != nil {
                forbidden("\(path).\(member)", "must not be set unless type is \(kind)")
            }
        }
        guard type == "ReplacePrefixMatch" else { return }
        let isOnePrefix = matches.count == 1 && (matches[0]["path"]?["type"] ?? "PathPrefix") == "PathPrefix"
        if !isOnePrefix {
            invalid("\(path).type", modifier["type"], "needs exactly one match in the rule, of type PathPrefix")
        }
    }

    private mutating func pathMatch(_ match: JSON?, _ path: String) {
        guard let match, let value = match["value"]?.string else { return }
        let type = match["type"]?.string ?? "PathPrefix"
        if type == "RegularExpression" {
            if Patterns.fault(value) != nil { invalid("\(path).value", .string(value), "must be a regular expression") }
            return
        }
        if !value.hasPrefix("/") {
            invalid("\(path).value", .string(value), "must be an absolute path and start with '/' when type is \(type)")
        }
        for part in ["//", "/./", "/../", "%2f", "%2F", "#"] where value.contains(part) {
            invalid("\(path).value", .string(value), "must not contain '\(part)' when type is \(type)")
        }
    }

    private mutating func routeTimeouts(_ rule: JSON, _ path: String) {
        let timeouts = rule["timeouts"]
        duration("\(path).timeouts.request", timeouts?["request"])
        duration("\(path).timeouts.backendRequest", timeouts?["backendRequest"])
        guard let whole = timeouts?["request"]?.string.flatMap({ Duration(text: $0) }), whole > .zero else { return }
        guard let single = timeouts?["backendRequest"]?.string.flatMap({ Duration(text: $0) }), single > whole else {
            return
        }
        invalid(
            "\(path).timeouts.backendRequest", timeouts?["backendRequest"], "cannot be longer than the request timeout")
    }

    mutating func gateway(_ object: KubeObject) {
        var seen: Set<String> = []
        for (index, listener) in object.spec.list("listeners").enumerated() {
            let path = "spec.listeners[\(index)]"
            let kind = listener["protocol"]?.string ?? ""
            if ["HTTP", "TCP", "UDP"].contains(kind), listener["tls"] != nil {
                forbidden("\(path).tls", "must not be specified for protocol \(kind)")
            }
            if ["HTTPS", "TLS"].contains(kind), listener["tls"] == nil {
                required("\(path).tls", "must be specified for protocol \(kind)")
            }
            if ["TCP", "UDP"].contains(kind), listener["hostname"]?.string?.isEmpty == false {
                forbidden("\(path).hostname", "must not be specified for protocol \(kind)")
            }
            let mode = listener["tls"]?["mode"]?.string ?? "Terminate"
            if listener["tls"] != nil, mode == "Terminate", listener["tls"]?.list("certificateRefs").isEmpty ?? true,
                listener["tls"]?["options"]?.object?.isEmpty ?? true
            {
                required(
                    "\(path).tls.certificateRefs", "certificateRefs or options must be specified when mode is Terminate"
                )
            }
            let key = "\(listener["port"]?.int ?? 0)/\(kind)/\(listener["hostname"]?.string ?? "")"
            if !seen.insert(key).inserted {
                duplicate(
                    path,
                    [
                        "port": listener["port"] ?? .null, "protocol": .string(kind),
                        "hostname": listener["hostname"] ?? "",
                    ])
            }
        }
    }

    // MARK: Istio

    private mutating func hosts(_ value: JSON?, _ path: String) {
        if value?.array?.isEmpty ?? true { required(path, "must have at least one host") }
        for (index, host) in (value?.array ?? []).enumerated() where host.string?.isEmpty ?? true {
            invalid("\(path)[\(index)]", host, "must not be empty")
        }
    }

    mutating func virtualService(_ object: KubeObject) {
        let spec = object.spec
        if spec["hosts"] != nil || spec["http"] == nil { hosts(spec["hosts"], "spec.hosts") }
        if spec.list("http").isEmpty, spec.list("tcp").isEmpty, spec.list("tls").isEmpty {
            required("spec.http", "http, tcp or tls must be provided in a virtual service")
        }
        for (index, route) in spec.list("http").enumerated() { httpRoute(route, "spec.http[\(index)]") }
        for kind in ["tcp", "tls"] {
            for (index, route) in spec.list(kind).enumerated() {
                let path = "spec.\(kind)[\(index)]"
                if route.list("route").isEmpty { required("\(path).route", "\(kind.uppercased()) route is required") }
                destinations(route.list("route"), "\(path).route")
            }
        }
    }

    private mutating func httpRoute(_ route: JSON, _ path: String) {
        let kinds = ["route", "redirect", "directResponse", "delegate"].filter { route[$0] != nil && route[$0] != [] }
        if kinds.isEmpty {
            required("\(path).route", "an HTTP route needs route, redirect, directResponse or delegate")
        }
        for extra in kinds.dropFirst() { forbidden("\(path).\(extra)", "cannot be set together with \(kinds[0])") }
        destinations(route.list("route"), "\(path).route")
        for (index, match) in route.list("match").enumerated() {
            for field in ["uri", "scheme", "method", "authority"] {
                stringMatch(match[field], "\(path).match[\(index)].\(field)")
            }
            for field in ["headers", "queryParams", "withoutHeaders"] {
                for entry in match[field]?.object ?? JSONObject() {
                    stringMatch(entry.value, "\(path).match[\(index)].\(field)[\(entry.key)]")
                }
            }
        }
        duration("\(path).timeout", route["timeout"])
        duration("\(path).retries.perTryTimeout", route["retries"]?["perTryTimeout"])
        notNegative("\(path).retries.attempts", route["retries"]?["attempts"])
        for (kind, value) in [("delay", "fixedDelay"), ("abort", "httpStatus")] {
            guard let fault = route["fault"]?[kind] else { continue }
            let path = "\(path).fault.\(kind)"
            percentage("\(path).percentage.value", fault["percentage"]?["value"])
            if kind == "delay" {
                duration("\(path).\(value)", fault[value])
            } else if let code = fault[value]?.int, !(200...599).contains(code) {
                invalid("\(path).\(value)", .int(Int64(code)), "must be an HTTP status from 200 to 599")
            }
        }
        percentage("\(path).mirrorPercentage.value", route["mirrorPercentage"]?["value"])
        if let mirror = route["mirror"], mirror["host"]?.string?.isEmpty ?? true { required("\(path).mirror.host") }
        for (index, mirror) in route.list("mirrors").enumerated() {
            if mirror["destination"]?["host"]?.string?.isEmpty ?? true {
                required("\(path).mirrors[\(index)].destination.host")
            }
            percentage("\(path).mirrors[\(index)].percentage.value", mirror["percentage"]?["value"])
        }
    }

    private mutating func percentage(_ path: String, _ value: JSON?) {
        if let number = value?.double, !(0...100).contains(number) { invalid(path, value, "must be between 0 and 100") }
    }

    private mutating func stringMatch(_ match: JSON?, _ path: String) {
        guard let match else { return }
        let kinds = ["exact", "prefix", "regex"].filter { match[$0] != nil }
        for extra in kinds.dropFirst() { forbidden("\(path).\(extra)", "cannot be set together with \(kinds[0])") }
        if let regex = match["regex"]?.string, Patterns.fault(regex) != nil {
            invalid("\(path).regex", .string(regex), "must be a regular expression")
        }
    }

    private mutating func destinations(_ routes: [JSON], _ path: String) {
        var isAnyWeighted = false
        for (index, route) in routes.enumerated() {
            let place = "\(path)[\(index)]"
            if route["destination"]?["host"]?.string?.isEmpty ?? true { required("\(place).destination.host") }
            port("\(place).destination.port.number", route["destination"]?["port"]?["number"])
            notNegative("\(place).weight", route["weight"])
            if route["weight"]?.int ?? 0 > 0 { isAnyWeighted = true }
        }
        if routes.count > 1, !isAnyWeighted {
            invalid(
                path, .array(routes.map { $0["weight"] ?? 0 }),
                "the weights of \(routes.count) destinations add up to 0: no request would be routed")
        }
    }

    mutating func destinationRule(_ object: KubeObject) {
        let spec = object.spec
        if spec["host"]?.string?.isEmpty ?? true { required("spec.host") }
        trafficPolicy(spec["trafficPolicy"], "spec.trafficPolicy")
        var names: Set<String> = []
        for (index, subset) in spec.list("subsets").enumerated() {
            let path = "spec.subsets[\(index)]"
            let name = subset["name"]?.string ?? ""
            if name.isEmpty {
                required("\(path).name")
            } else if !names.insert(name).inserted {
                duplicate("\(path).name", .string(name))
            }
            self.name("\(path).name", subset["name"]) { $0.isEmpty ? nil : Names.label($0) }
            labels("\(path).labels", subset["labels"])
            trafficPolicy(subset["trafficPolicy"], "\(path).trafficPolicy")
        }
    }

    private mutating func trafficPolicy(_ policy: JSON?, _ path: String) {
        guard let policy else { return }
        let detection = policy["outlierDetection"]
        duration("\(path).outlierDetection.interval", detection?["interval"])
        duration("\(path).outlierDetection.baseEjectionTime", detection?["baseEjectionTime"])
        percentage("\(path).outlierDetection.maxEjectionPercent", detection?["maxEjectionPercent"])
        let pool = policy["connectionPool"]
        duration("\(path).connectionPool.tcp.connectTimeout", pool?["tcp"]?["connectTimeout"])
        duration("\(path).connectionPool.http.idleTimeout", pool?["http"]?["idleTimeout"])
        notNegative("\(path).connectionPool.tcp.maxConnections", pool?["tcp"]?["maxConnections"])
        let tls = policy["tls"]
        if tls?["mode"] == "MUTUAL", tls?["credentialName"] == nil {
            for field in ["clientCertificate", "privateKey"] where tls?[field]?.string?.isEmpty ?? true {
                required("\(path).tls.\(field)", "must be set when mode is MUTUAL")
            }
        }
        for (index, port) in policy.list("portLevelSettings").enumerated() {
            self.port("\(path).portLevelSettings[\(index)].port.number", port["port"]?["number"])
        }
    }

    mutating func istioGateway(_ object: KubeObject) {
        if object.spec.list("servers").isEmpty { required("spec.servers", "gateway must have at least one server") }
        for (index, server) in object.spec.list("servers").enumerated() {
            let path = "spec.servers[\(index)]"
            hosts(server["hosts"], "\(path).hosts")
            let kind = server["port"]?["protocol"]?.string ?? ""
            port("\(path).port.number", server["port"]?["number"])
            let known = [
                "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS", "MYSQL", "REDIS", "HBONE",
            ]
            if !kind.isEmpty, !known.contains(kind.uppercased()) {
                unsupported("\(path).port.protocol", .string(kind), known)
            }
            if ["HTTPS", "TLS"].contains(kind.uppercased()), server["tls"] == nil {
                required("\(path).tls", "server must have TLS settings for HTTPS/TLS protocols")
            }
        }
    }

    mutating func peerAuthentication(_ object: KubeObject) {
        let ports = object.spec["portLevelMtls"]?.object ?? JSONObject()
        if !ports.isEmpty, object.spec["selector"]?["matchLabels"]?.object?.isEmpty ?? true {
            required("spec.selector", "portLevelMtls needs a selector with matchLabels")
        }
        for entry in ports where Int(entry.key).flatMap(Names.portNumber) != nil || Int(entry.key) == nil {
            invalid("spec.portLevelMtls", .string(entry.key), "must be a port number between 1 and 65535")
        }
    }
}
