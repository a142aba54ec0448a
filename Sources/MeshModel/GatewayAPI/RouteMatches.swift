import ProxyResources
import Wire

/// Reads the matches of Gateway API routes. A match that cannot be carried out takes no request.
enum RouteMatchReader {
    static func match(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RouteMatch? {
        var match = RouteMatch()
        var faults: [PolicyFinding] = []
        let known = ["path", "method", "headers", "queryParams"]
        for member in fields.json.object ?? JSONObject() where !known.contains(member.key) {
            faults.append(fields.finding(member.key, .unsupported, "is not supported: this match takes no request"))
        }
        if let path = fields.inside("path") {
            let value = path.string("value") ?? "/"
            let type = path.string("type") ?? "PathPrefix"
            switch type {
            case "PathPrefix": match.path = value == "/" ? .any : .prefix(value)
            case "Exact": match.path = .exact(value)
            case "RegularExpression":
                match.path = .regex(value)
                if let fault = path.expressionFinding("value", value) { faults.append(fault) }
            default:
                faults.append(
                    path.finding("type", .unsupported, "\(type) is not supported: this match takes no request"))
            }
            if !value.hasPrefix("/"), type != "RegularExpression" {
                faults.append(path.finding("value", .invalid, "\"\(value)\" must begin with /"))
            }
        }
        match.method = fields.string("method")
        match.headers = headers(fields, &faults)
        for parameter in fields.each("queryParams") {
            let name = parameter.string("name") ?? ""
            if name.isEmpty { faults.append(parameter.finding("name", .invalid, "is required")) }
            if match.query.contains(where: { $0.name == name }) { continue }  // the first of a name counts
            if let text = text(parameter, &faults) { match.query.append(QueryMatch(name: name, text)) }
        }
        findings += faults
        return faults.isEmpty ? match : nil
    }

    /// A gRPC method is the path `/service/method`.
    static func grpcMatch(_ fields: PolicyFields, _ findings: inout [PolicyFinding]) -> RouteMatch? {
        var match = RouteMatch()
        var faults: [PolicyFinding] = []
        for member in fields.json.object ?? JSONObject() where !["method", "headers"].contains(member.key) {
            faults.append(fields.finding(member.key, .unsupported, "is not supported: this match takes no request"))
        }
        if let method = fields.inside("method") {
            let service = method.string("service").flatMap { $0.isEmpty ? nil : $0 }
            let name = method.string("method").flatMap { $0.isEmpty ? nil : $0 }
            let type = method.string("type") ?? "Exact"
            switch (type, service, name) {
            case ("Exact", let service?, let name?): match.path = .exact("/\(service)/\(name)")
            case ("Exact", let service?, nil): match.path = .prefix("/\(service)")
            case ("Exact", nil, let name?): match.path = .regex("/[^/]+/\(quoted(name))")
            case ("RegularExpression", _, _):
                let expression = "/(?:\(service ?? "[^/]+"))/(?:\(name ?? "[^/]+"))"
                match.path = .regex(expression)
                if let fault = method.expressionFinding("service", expression) { faults.append(fault) }
            case (_, nil, nil):
                faults.append(method.finding("", .invalid, "must have a service or a method"))
            default:
                faults.append(
                    method.finding("type", .unsupported, "\(type) is not supported: this match takes no request"))
            }
        }
        match.headers = headers(fields, &faults)
        findings += faults
        return faults.isEmpty ? match : nil
    }

    private static func headers(_ fields: PolicyFields, _ faults: inout [PolicyFinding]) -> [HeaderMatch] {
        var headers: [HeaderMatch] = []
        for header in fields.each("headers") {
            let name = (header.string("name") ?? "").lowercased()
            if !HeaderRules.isToken(name) {
                faults.append(header.finding("name", .invalid, "\"\(name)\" is not a header's name"))
            }
            if headers.contains(where: { $0.name == name }) { continue }  // the first of a name counts
            if let text = text(header, &faults) {
                headers.append(HeaderMatch(name: name, kind: text.kind, value: text.value))
            }
        }
        return headers
    }

    private static func text(_ fields: PolicyFields, _ faults: inout [PolicyFinding]) -> TextMatch? {
        let value = fields.string("value") ?? ""
        let type = fields.string("type") ?? "Exact"
        switch type {
        case "Exact": return TextMatch(.exact, value)
        case "RegularExpression":
            if let fault = fields.expressionFinding("value", value) {
                faults.append(fault)
                return nil
            }
            return TextMatch(.regex, value)
        default:
            faults.append(fields.finding("type", .unsupported, "\(type) is not supported: this match takes no request"))
            return nil
        }
    }

    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { $0 += $1.isLetter || $1.isNumber || $1 == "_" ? String($1) : "\\\($1)" }
    }
}
