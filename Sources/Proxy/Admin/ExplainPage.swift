import Loop
import ProxyResources
import Wire

/// What would become of a request, by the configuration the loops follow now. Nothing is sent.
///
/// `/explain?host=catalog.demo:8080&path=/x&method=GET&header=a:b`, `&side=gateway`, or
/// `&side=inbound&port=8080&principal=spiffe://…` for what its authorization would say.
struct ExplainPage: Sendable {
    let configuration: ProxyConfiguration

    func page(_ request: AdminRequest) -> AdminPages.Page {
        let form = self.form(request)
        let given = request.value("side") ?? ""
        let isGateway = !configuration.workload.gatewayListeners.isEmpty
        switch given.isEmpty ? (isGateway ? "gateway" : "outbound") : given {
        case "outbound": return .json(outbound(form))
        case "gateway": return .json(gateway(form, listener: request.value("listener")))
        case "inbound": return inbound(form, request)
        default: return .text("side is \"\(given)\", must be inbound, outbound or gateway\n", status: 400)
        }
    }

    /// What the control plane must be asked for before the request can be explained; `nil` when all is there.
    func missing(_ request: AdminRequest) -> String? {
        let form = form(request)
        let isOutbound = (request.value("side") ?? "outbound") == "outbound"
        guard isOutbound, configuration.workload.loading.mode == .onDemand, !form.authority.isEmpty,
            configuration.workload.gatewayListeners.isEmpty, servicePort(form) == nil
        else { return nil }
        return form.authority
    }

    private func form(_ request: AdminRequest) -> RequestForm {
        let authority = request.value("host") ?? ""
        var headers: [HeaderValue] = []
        for (key, value) in request.query where key == "header" {
            let sides = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let text = sides.count > 1 ? sides[1].drop { $0 == " " } : ""
            headers.append(HeaderValue(name: String(sides[0]), value: String(text)))
        }
        let named = authority.split(separator: ":")
        let port = request.value("port").flatMap { Int($0) } ?? (named.count == 2 ? Int(named[1]) ?? 80 : 80)
        return RequestForm(
            method: request.value("method") ?? "GET", path: request.value("path") ?? "/", authority: authority,
            headers: headers, address: request.value("address") ?? "", port: port,
            namespace: configuration.workload.namespace, labels: configuration.workload.labels)
    }

    // MARK: routes

    private func outbound(_ form: RequestForm) -> JSON {
        var out = JSONObject()
        out["side"] = "outbound"
        out["principal"] = .string(configuration.workload.principal)
        guard let port = servicePort(form) else {
            out["outcome"] = "no_route"
            out["message"] = .string(
                "no service of the mesh is named \(form.authority): the connection would be passed through as it is")
            return .object(out)
        }
        out["destination"] = .string(port.resourceName)
        choose(port.routes, form, default: port.defaultBackend, &out)
        return .object(out)
    }

    /// By any of its names, or the short ones a pod may use; of several ports the one that is named.
    private func servicePort(_ form: RequestForm) -> ServicePort? {
        let name = form.authority.lowercased().prefix { $0 != ":" }
        let own = configuration.workload.namespace
        let candidates = configuration.servicePorts.values.filter { port in
            let short = [port.service, "\(port.service).\(port.namespace)", "\(port.service).\(port.namespace).svc"]
            let isNamed = port.hosts.contains { $0.lowercased() == name } || short.dropFirst().contains(String(name))
            return isNamed || (port.namespace == own && port.service == name) || port.addresses.contains(String(name))
        }.sorted { $0.resourceName < $1.resourceName }
        let hasPort = form.authority.contains(":")
        return candidates.first { $0.port == form.port } ?? (hasPort ? nil : candidates.first)
    }

    private func gateway(_ form: RequestForm, listener: String?) -> JSON {
        var out = JSONObject()
        out["side"] = "gateway"
        let listeners = configuration.workload.gatewayListeners.filter { listener == nil || $0.name == listener }
        guard let found = listeners.first(where: { chooseHost(in: $0.routes, for: form.authority) != nil }),
            let place = chooseHost(in: found.routes, for: form.authority)
        else {
            out["outcome"] = "no_route"
            out["message"] = .string("no listener has routes for the host \(form.authority)")
            return .object(out)
        }
        out["destination"] = .string("listener \(found.name), port \(found.port)")
        out["hosts"] = .array(found.routes[place].hosts.map(JSON.string))
        choose(found.routes[place].rules, form, default: "", &out)
        return .object(out)
    }

    private func choose(_ rules: [RouteRule], _ form: RequestForm, default fallback: String, _ out: inout JSONObject) {
        let chosen = chooseRule(in: rules, for: form)
        var list: [JSON] = []
        for (place, rule) in rules.enumerated() {
            var entry = JSONObject()
            entry["name"] = .string(rule.name)
            entry["takesTheRequest"] = .bool(place == chosen)
            if let chosen, place > chosen {
                entry["why"] = "a rule before it takes the request"
            } else if place != chosen {
                let reasons = rule.matches.map { $0.mismatches(with: form).joined(separator: "; ") }
                entry["why"] = .string(reasons.joined(separator: " | or "))
            }
            list.append(.object(entry))
        }
        out["rules"] = .array(list)
        guard let chosen else {
            out["outcome"] = .string(fallback.isEmpty ? (rules.isEmpty ? "no_backend" : "no_route") : "default")
            out["backends"] = fallback.isEmpty ? .array([]) : .array([backend(fallback, weight: 1)])
            return
        }
        let rule = rules[chosen]
        out["rule"] = .string(rule.name)
        let direct: JSON = rule.isNoRoute ? "no_route" : "direct_response"
        out["outcome"] = rule.directStatus == nil ? "routed" : direct
        if let status = rule.directStatus { out["status"] = .int(Int64(status)) }
        if let timeout = rule.timeoutMilliseconds { out["timeoutMilliseconds"] = .int(Int64(timeout)) }
        out["backends"] = .array(rule.backends.map { backend($0.backend, weight: $0.weight) })
        out["policy"] = rule.json
    }

    private func backend(_ name: String, weight: Int) -> JSON {
        var out = JSONObject()
        out["backend"] = .string(name)
        out["weight"] = .int(Int64(weight))
        guard let found = configuration.backends[name] else {
            out["message"] = "this proxy was told of no such backend"
            return .object(out)
        }
        out["service"] = .string(found.service)
        out["endpoints"] = .array(
            found.endpoints.prefix(100).map { endpoint in
                var entry = JSONObject()
                entry["address"] = .string("\(endpoint.address):\(endpoint.port)")
                entry["workload"] = .string(endpoint.workload)
                entry["version"] = .string(endpoint.version)
                if let principal = endpoint.principal { entry["principal"] = .string(principal) }
                return .object(entry)
            })
        return .object(out)
    }

    // MARK: authorization

    private func inbound(_ form: RequestForm, _ request: AdminRequest) -> AdminPages.Page {
        let security = configuration.workload.security
        var facts = AccessFacts(
            principal: request.value("principal") ?? "", destinationPort: form.port, method: form.method,
            path: String(form.path.prefix { $0 != "?" }), host: form.authority, headers: form.headers)
        if !form.address.isEmpty {
            guard let address = IPv4(form.address) else {
                return .text("address is \"\(form.address)\", must be an IPv4 address\n", status: 400)
            }
            facts.sourceAddress = address.value
            facts.remoteAddress = address.value
        }
        if let claims = request.value("claims") {
            do { facts.token = try JSON(parsing: claims) } catch {
                return .text("claims is not JSON: \(error)\n", status: 400)
            }
        }
        var out = JSONObject()
        out["side"] = "inbound"
        let workload = configuration.workload
        let mode = workload.portMutualTLS[form.port] ?? workload.mutualTLS
        out["mutualTLS"] = .string(mode.rawValue)
        if mode == .strict && facts.principal.isEmpty {
            out["outcome"] = "mutual_tls_required"
            out["message"] = "the port takes mutual TLS only, and the caller has no identity of the mesh"
            return .json(.object(out))
        }
        let verdict = authorize(security.policies, facts)
        out["outcome"] = verdict.isAllowed ? "allowed" : "rbac_denied"
        if let place = verdict.policy { out["policy"] = .string(security.policies[place].name) }
        if !verdict.isAllowed && verdict.policy == nil {
            out["message"] = "there are ALLOW policies, and none of them matches"
        }
        if let place = verdict.trialPolicy {
            out["dryRunPolicy"] = .string(security.policies[place].name)
        }
        if let allows = verdict.trialAllows { out["dryRunOutcome"] = allows ? "allowed" : "rbac_denied" }
        if let custom = authorizer(security.policies, for: facts) {
            out["externalAuthorizer"] = .string(custom.provider)
        }
        out["policies"] = .array(
            security.policies.map { policy in
                var entry = JSONObject()
                entry["name"] = .string(policy.name)
                entry["action"] = .string(policy.action.rawValue)
                entry["dryRun"] = .bool(policy.isDryRun)
                entry["matches"] = .bool(policy.matchingRule(facts) != nil)
                return .object(entry)
            })
        return .json(.object(out))
    }
}
