import KubeClient
import KubeTypes
import NIOHTTP1
import Transport
import Wire

/// A request with its path, parameters and caller made out.
struct APIRequest: Sendable {
    let http: HTTPRequest
    let path: String
    let route: Route
    let query: Query
    /// Who asks, as whom: nobody known until the stages of access have said.
    var user = User.anonymous
    /// Where the request is recorded, if it is.
    var audit: AuditRecord?
    /// Tells this request in logs, errors and the audit: the client's own choice or a random UUID.
    let id: String
    /// The verb of the access rules.
    let verb: String
    /// Bodies above this are refused.
    static let bodyLimit = 3 << 20

    init(_ http: HTTPRequest) {
        let target = http.target
        let mark = target.utf8.firstIndex(of: UInt8(ascii: "?"))
        self.http = http
        id = Self.id(http)
        path = mark.map { String(target[..<$0]) } ?? target
        route = Route(path: path)
        query = Query(mark.map { target[target.index(after: $0)...] } ?? "")
        verb = Self.verb(http, route, query)
    }

    func header(_ name: String) -> String? { http.headers.first(name: name) }

    static func id(_ http: HTTPRequest) -> String {
        if let given = http.headers.first(name: "audit-id"), (1...64).contains(given.utf8.count),
            given.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        {
            return given
        }
        return ObjectIdentity.newUID()
    }

    /// Whether an answer may take as long as it likes.
    var isLong: Bool {
        if verb == "watch" { return true }
        guard case .resource(let route) = route else { return false }
        switch route.subresource {
        case "log", "exec", "attach", "portforward", "proxy": return true
        default: return false
        }
    }

    func body() async throws(APIFailure) -> [UInt8] {
        do {
            return try await http.body.collect(limit: Self.bodyLimit)
        } catch let error as BodyTooLarge {
            throw APIFailure(code: 413, reason: "RequestEntityTooLarge", message: "Request entity too large: \(error)")
        } catch let error as BodyTooSlow {
            throw APIFailure(code: 408, reason: "Timeout", message: "Request timed out: \(error)")
        } catch {
            throw .badRequest("the body of the request ended early")
        }
    }

    var selection: Selection { Selection(labels: query["labelSelector"], fields: query["fieldSelector"]) }

    /// What a write's parameters say.
    func context(_ warnings: WarningSink) throws(APIFailure) -> WriteContext {
        var context = WriteContext(user: user)
        switch query.all("dryRun") {
        case []: break
        case ["All"]: context.isDryRun = true
        case let other:
            throw .badRequest(
                "query parameter dryRun: \"\(other.joined(separator: ","))\": the only value allowed is All")
        }
        let manager = query["fieldManager"]
        if manager.utf8.count > 128 {
            throw Self.invalidOption(
                "fieldManager", "Too long: may not be more than 128 bytes", reason: "FieldValueTooLong")
        }
        if manager.unicodeScalars.contains(where: { !$0.properties.isGraphemeBase || $0.value < 0x20 }) {
            throw Self.invalidOption("fieldManager", "Invalid value: should only contain printable characters")
        }
        context.fieldManager = manager.isEmpty ? header("user-agent").map(Self.manager) ?? "unknown" : manager
        if http.method == .PATCH, header("content-type")?.hasPrefix(PatchKind.apply.rawValue) == true {
            if manager.isEmpty {
                throw Self.invalidOption(
                    "fieldManager", "Required value: is required for apply patch", reason: "FieldValueRequired")
            }
        } else if query.flag("force") {
            throw Self.invalidOption("force", "Forbidden: may not be specified for non-apply patch")
        }
        context.fieldValidation = try fieldValidation()
        context.force = query.flag("force")
        context.warn = { warnings.add($0) }
        if let audit { context.annotate = { audit.annotate($0, $1) } }
        return context
    }

    /// A client that does not say who manages what it writes is called what its user agent begins with.
    private static func manager(_ agent: String) -> String {
        let name = Substring(agent.utf8.prefix { $0 != UInt8(ascii: "/") })
        return name.utf8.count <= 128 ? String(name) : String(name.prefix(128))
    }

    static func invalidOption(_ field: String, _ why: String, reason: String = "FieldValueInvalid") -> APIFailure {
        APIFailure(
            code: 422, reason: "Invalid", message: "PatchOptions.meta.k8s.io \"\" is invalid: \(field): \(why)",
            details: [
                "group": "meta.k8s.io", "kind": "PatchOptions",
                "causes": [["reason": .string(reason), "message": .string(why), "field": .string(field)]],
            ])
    }

    func fieldValidation() throws(APIFailure) -> FieldValidation {
        let text = query["fieldValidation"]
        if text.isEmpty { return .warn }
        guard let mode = FieldValidation(rawValue: text) else {
            throw .badRequest("query parameter fieldValidation: \"\(text)\": allowed are Ignore, Warn, Strict")
        }
        return mode
    }

    private static func verb(_ http: HTTPRequest, _ route: Route, _ query: Query) -> String {
        guard case .resource(let route) = route else {
            switch http.method {
            case .GET, .HEAD: return "get"
            case .POST: return "post"
            case .PUT: return "put"
            case .PATCH: return "patch"
            case .DELETE: return "delete"
            default: return "other"
            }
        }
        switch http.method {
        case .GET, .HEAD:
            if !route.subresource.isEmpty { return "get" }
            if query.flag("watch") { return "watch" }
            return route.name.isEmpty ? "list" : "get"
        case .POST: return "create"
        case .PUT: return "update"
        case .PATCH: return "patch"
        case .DELETE: return route.name.isEmpty ? "deletecollection" : "delete"
        default: return "other"
        }
    }

    /// A content type without its parameters.
    static func mediaType(_ header: String) -> String {
        if header == ResourceDefinition.jsonType { return header }
        return String(header.prefix { $0 != ";" }).lowercased()
    }

    /// A body in any form we read, as a tree.
    func tree(_ bytes: [UInt8]) throws(APIFailure) -> (json: JSON, duplicates: [String]) {
        let parsed = try parse(bytes)
        audit?.request(parsed.json)
        return parsed
    }

    private func parse(_ bytes: [UInt8]) throws(APIFailure) -> (json: JSON, duplicates: [String]) {
        let type = Self.mediaType(header("content-type") ?? ResourceDefinition.jsonType)
        switch type {
        case ResourceDefinition.protobufType:
            do throws(KubeProtobufFault) {
                return (try KubeProtobuf.builtIn.decode(bytes), [])
            } catch {
                throw .badRequest("the body of the request is not what its type says: \(error)")
            }
        case "application/yaml", "text/yaml", "application/apply-patch+yaml": return try yaml(bytes)
        case "application/json", "application/json-patch+json", "application/merge-patch+json",
            "application/strategic-merge-patch+json":
            var duplicates: [String] = []
            do throws(JSONFault) {
                return (try JSON(parsing: bytes, duplicates: &duplicates, deepest: ObjectLimits.depth), duplicates)
            } catch {
                throw .badRequest("the body of the request is not JSON: \(error)")
            }
        default:
            throw .unsupportedMediaType(
                type, ["application/json", "application/yaml", ResourceDefinition.protobufType])
        }
    }

    /// Clients' tools send JSON under YAML's name, which JSON's own reader takes in a tenth of the time.
    private func yaml(_ bytes: [UInt8]) throws(APIFailure) -> (json: JSON, duplicates: [String]) {
        if bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{") {
            var duplicates: [String] = []
            let json = try? JSON(parsing: bytes, duplicates: &duplicates, deepest: ObjectLimits.depth)
            if let json { return (json, duplicates) }
        }
        let documents: [YAMLDocument]
        do throws(YAMLFault) {
            documents = try yamlDocuments(String(decoding: bytes, as: UTF8.self), aliasLimit: 16)
        } catch {
            throw .badRequest("the body of the request is not YAML: \(error)")
        }
        guard documents.count == 1 else {
            throw .badRequest("the body of the request must be one YAML document, found \(documents.count)")
        }
        return (documents[0].json, documents[0].duplicates)
    }
}
