import ProxyResources
import Wire

/// Reads one `match` of a VirtualService's route. One that cannot be carried out takes no request.
enum VirtualServiceMatchReader {
    private static let known: Set<String> = [
        "uri", "ignoreUriCase", "method", "scheme", "authority", "headers", "withoutHeaders", "queryParams", "port",
        "gateways", "sourceLabels", "sourceNamespace", "name", "statPrefix",
    ]

    static func match(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> VirtualService.Match? {
        var match = VirtualService.Match(route: RouteMatch(), port: fields.int("port"), gateways: nil)
        var faults: [PolicyFinding] = []
        for member in fields.json.object ?? JSONObject()
        where !known.contains(member.key) && member.value != .bool(false) {
            faults.append(fields.finding(member.key, .unsupported, "is not supported: this match takes no request"))
        }
        if fields.has("gateways") { match.gateways = fields.strings("gateways") }
        match.route.ignoresPathCase = fields.json["ignoreUriCase"]?.bool ?? false
        if let uri = fields.inside("uri"), let text = text(uri, &faults) {
            switch text.kind {
            case .exact where text.value.isEmpty: faults.append(uri.finding("exact", .invalid, "is empty"))
            case .exact: match.route.path = .exact(text.value)
            case .prefix: match.route.path = text.value == "/" || text.value.isEmpty ? .any : .textPrefix(text.value)
            case .regex: match.route.path = .regex(text.value)
            case .present, .suffix: break
            }
        }
        if let method = fields.inside("method"), let text = text(method, &faults) {
            if text.kind == .exact { match.route.method = text.value } else { match.route.methodText = text }
        }
        match.route.scheme = fields.inside("scheme").flatMap { text($0, &faults) }
        match.route.authority = fields.inside("authority").flatMap { text($0, &faults) }.map {
            // Hosts are compared in lower case.
            $0.kind == .regex
                ? TextMatch(.regex, $0.value, ignoresCase: true) : TextMatch($0.kind, $0.value.lowercased())
        }
        for (name, text) in texts(fields, "headers", &faults) {
            match.route.headers.append(HeaderMatch(name: name.lowercased(), kind: text.kind, value: text.value))
        }
        for (name, text) in texts(fields, "withoutHeaders", &faults) {
            match.route.headers.append(
                HeaderMatch(name: name.lowercased(), kind: text.kind, value: text.value, isInverted: true))
        }
        for (name, text) in texts(fields, "queryParams", &faults) {
            match.route.query.append(QueryMatch(name: name, text))
        }
        match.route.source.labels = fields.json["sourceLabels"]?.stringMap ?? [:]
        match.route.source.namespace = fields.string("sourceNamespace").flatMap { $0.isEmpty ? nil : $0 }
        findings += faults
        return faults.isEmpty ? match : nil
    }

    private static func texts(
        _ fields: PolicyFields, _ field: String, _ faults: inout [PolicyFinding]
    ) -> [(String, TextMatch)] {
        guard let inside = fields.inside(field) else { return [] }
        var found: [(String, TextMatch)] = []
        for member in inside.json.object ?? JSONObject() {
            let isName = field == "queryParams" ? !member.key.isEmpty : HeaderRules.isToken(member.key)
            if !isName { faults.append(inside.finding(member.key, .invalid, "\"\(member.key)\" is not a name")) }
            let value = PolicyFields(member.value, at: inside.place(member.key), of: fields.object)
            if let text = text(value, &faults) { found.append((member.key, text)) }
        }
        return found
    }

    /// `exact`, `prefix` or `regex`; with none of them, anything.
    static func text(_ fields: PolicyFields, _ faults: inout [PolicyFinding]) -> TextMatch? {
        if let exact = fields.string("exact") { return TextMatch(.exact, exact) }
        if let prefix = fields.string("prefix") { return TextMatch(.prefix, prefix) }
        guard let expression = fields.string("regex") else { return TextMatch(.present) }
        if let fault = fields.expressionFinding("regex", expression) {
            faults.append(fault)
            return nil
        }
        return TextMatch(.regex, expression)
    }
}
