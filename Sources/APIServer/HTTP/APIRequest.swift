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
    let user: User
    /// Bodies above this are refused.
    static let bodyLimit = 3 << 20

    init(_ http: HTTPRequest, user: User) {
        let parts = http.target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        self.http = http
        self.user = user
        path = String(parts[0])
        route = Route(path: path)
        query = Query(parts.count > 1 ? parts[1] : "")
    }

    func header(_ name: String) -> String? { http.headers.first(name: name) }

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
        let agent = header("user-agent")?.split(separator: "/").first.map(String.init) ?? "unknown"
        context.fieldManager = manager.isEmpty ? agent : manager
        context.fieldValidation = try fieldValidation()
        context.force = query.flag("force")
        context.warn = { warnings.add($0) }
        return context
    }

    func fieldValidation() throws(APIFailure) -> FieldValidation {
        let text = query["fieldValidation"]
        if text.isEmpty { return .warn }
        guard let mode = FieldValidation(rawValue: text) else {
            throw .badRequest("query parameter fieldValidation: \"\(text)\": allowed are Ignore, Warn, Strict")
        }
        return mode
    }

    /// The verb of the access rules.
    var verb: String {
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

    /// A body in any form we read, as a tree.
    func tree(_ bytes: [UInt8]) throws(APIFailure) -> (json: JSON, duplicates: [String]) {
        let type =
            header("content-type")?.split(separator: ";").first.map { String($0).lowercased() } ?? "application/json"
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
                return (try JSON(parsing: bytes, duplicates: &duplicates), duplicates)
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
            if let json = try? JSON(parsing: bytes, duplicates: &duplicates) { return (json, duplicates) }
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
