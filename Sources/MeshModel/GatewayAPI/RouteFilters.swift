import KubeTypes
import ProxyResources
import Wire

/// What the filters of a rule, or of one of its backends, ask for.
struct RouteFilters {
    var request = HeaderEdits()
    var actions = RouteActions()
    var mirrors: [HTTPRoute.MirrorReference] = []
    /// Something is asked for that cannot be left out.
    var isRefused = false
}

/// Reads the filters of Gateway API routes.
struct RouteFilterReader {
    let references: HTTPRouteReader

    func filters(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RouteFilters {
        var filters = RouteFilters()
        for filter in fields.each("filters") { read(filter, into: &filters, &findings) }
        return filters
    }

    private func read(_ filter: PolicyFields, into filters: inout RouteFilters, _ findings: inout [PolicyFinding]) {
        let type = filter.string("type") ?? ""
        let member: String
        switch type {
        case "RequestHeaderModifier": member = "requestHeaderModifier"
        case "ResponseHeaderModifier": member = "responseHeaderModifier"
        case "RequestMirror": member = "requestMirror"
        case "RequestRedirect": member = "requestRedirect"
        case "URLRewrite": member = "urlRewrite"
        case "CORS": member = "cors"
        default:
            findings.append(filter.finding("type", .unsupported, "\(type) is not supported: the rule answers 500"))
            filters.isRefused = true
            return
        }
        guard let inside = filter.inside(member) else {
            findings.append(filter.finding(member, .invalid, "is required by the type of the filter"))
            return
        }
        switch type {
        case "RequestHeaderModifier": filters.request = filters.request.followed(by: edits(inside, &findings))
        case "ResponseHeaderModifier":
            filters.actions.response = filters.actions.response.followed(by: edits(inside, &findings))
        case "RequestMirror": if let mirror = mirror(inside, &findings) { filters.mirrors.append(mirror) }
        case "RequestRedirect": filters.actions.redirect = redirect(inside, &filters, &findings)
        case "URLRewrite":
            filters.actions.host = inside.host("hostname", &findings)
            filters.actions.path = inside.inside("path").flatMap { path($0, &filters, &findings) }
        default: filters.actions.cors = cors(inside, &findings)
        }
    }

    private func edits(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> HeaderEdits {
        func values(_ field: String) -> [HeaderValue] {
            fields.each(field).map {
                HeaderValue(name: ($0.string("name") ?? "").lowercased(), value: $0.string("value") ?? "")
            }
        }
        var edits = HeaderEdits(
            set: values("set"), add: values("add"), remove: fields.strings("remove").map { $0.lowercased() })
        edits.check(fields, &findings)
        return edits
    }

    private func mirror(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> HTTPRoute.MirrorReference? {
        guard let target = fields.inside("backendRef") else {
            findings.append(fields.finding("backendRef", .invalid, "is required"))
            return nil
        }
        var millionths = 1_000_000
        if let percent = fields.int("percent") {
            millionths = percent * 10_000
        } else if let fraction = fields.inside("fraction") {
            let whole = fraction.int("denominator") ?? 100
            let part = fraction.int("numerator") ?? 0
            guard whole > 0, (0...whole).contains(part) else {
                findings.append(fields.finding("fraction", .invalid, "must be between 0 and 1"))
                return nil
            }
            millionths = Int((Double(part) / Double(whole) * 1_000_000).rounded())
        }
        guard (0...1_000_000).contains(millionths) else {
            findings.append(fields.finding("percent", .invalid, "must be from 0 to 100"))
            return nil
        }
        return HTTPRoute.MirrorReference(backend: references.reference(target), millionths: millionths)
    }

    private func redirect(
        _ fields: PolicyFields, _ filters: inout RouteFilters, _ findings: inout [PolicyFinding]
    ) -> Redirect {
        var redirect = Redirect(
            scheme: fields.string("scheme"), host: fields.host("hostname", &findings),
            port: fields.port("port", &findings),
            status: fields.int("statusCode") ?? 302)
        if let scheme = redirect.scheme, !["http", "https"].contains(scheme) {
            findings.append(fields.finding("scheme", .unsupported, "\(scheme) is not supported: the scheme is kept"))
            redirect.scheme = nil
        }
        if !Redirect.statuses.contains(redirect.status) {
            findings.append(
                fields.finding("statusCode", .invalid, "is \(redirect.status), must be 301, 302, 303, 307 or 308"))
            redirect.status = 302
        }
        redirect.path = fields.inside("path").flatMap { path($0, &filters, &findings) }
        return redirect
    }

    private func path(
        _ fields: PolicyFields, _ filters: inout RouteFilters, _ findings: inout [PolicyFinding]
    ) -> PathRewrite? {
        let type = fields.string("type") ?? ""
        let member = type == "ReplaceFullPath" ? "replaceFullPath" : "replacePrefixMatch"
        guard type == "ReplaceFullPath" || type == "ReplacePrefixMatch" else {
            findings.append(fields.finding("type", .unsupported, "\(type) is not supported: the rule answers 500"))
            filters.isRefused = true
            return nil
        }
        let value = fields.string(member) ?? ""
        if let fault = HeaderRules.fault(path: value) {
            findings.append(fields.finding(member, .invalid, fault))
            return nil
        }
        return type == "ReplaceFullPath" ? .full(value) : .prefix(value)
    }

    private func cors(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> CORSPolicy {
        CORSPolicy(
            origins: fields.strings("allowOrigins").map { TextMatch(.exact, $0) },
            methods: fields.tokens("allowMethods", &findings), headers: fields.tokens("allowHeaders", &findings),
            exposedHeaders: fields.tokens("exposeHeaders", &findings),
            maxAgeSeconds: min(max(0, fields.int("maxAge") ?? 5), Int(Int32.max)),
            allowsCredentials: fields.json["allowCredentials"]?.bool ?? false)
    }
}

extension HeaderEdits {
    /// Leaves out what may not be changed, and says so.
    mutating func check(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        func isUsable(_ field: String, _ name: String, _ value: String) -> Bool {
            guard let fault = HeaderRules.fault(name: name) ?? HeaderRules.fault(value: value) else { return true }
            findings.append(fields.finding(field, .invalid, fault))
            return false
        }
        self.set = self.set.filter { isUsable("set", $0.name, $0.value) }
        add = add.filter { isUsable("add", $0.name, $0.value) }
        remove = remove.filter { isUsable("remove", $0, "") }
    }
}

extension PolicyFields {
    /// A host's name; `nil` when absent or wrong, which is reported.
    func host(_ field: String, _ findings: inout [PolicyFinding]) -> String? {
        guard let host = string(field), !host.isEmpty else { return nil }
        guard let fault = HeaderRules.fault(host: host) else { return host }
        findings.append(finding(field, .invalid, fault))
        return nil
    }

    /// A port; `nil` when absent or wrong, which is reported.
    func port(_ field: String, _ findings: inout [PolicyFinding]) -> Int? {
        guard let port = int(field), port != 0 else { return nil }
        if (1...65535).contains(port) { return port }
        findings.append(finding(field, .invalid, "is \(port), must be from 1 to 65535"))
        return nil
    }

    /// Names of methods or headers; those that are none are reported.
    func tokens(_ field: String, _ findings: inout [PolicyFinding]) -> [String] {
        strings(field).filter { token in
            if token == "*" || HeaderRules.isToken(token) { return true }
            findings.append(finding(field, .invalid, "\"\(token)\" is not a name"))
            return false
        }
    }

    /// Why an expression cannot be used, or `nil`.
    func expressionFinding(_ field: String, _ text: String) -> PolicyFinding? {
        if text.isEmpty { return finding(field, .invalid, "is empty") }
        do throws(PatternFault) { _ = try Pattern(text) } catch {
            return finding(field, .invalid, "\"\(text)\" is no expression of RE2: \(error)")
        }
        return nil
    }
}
