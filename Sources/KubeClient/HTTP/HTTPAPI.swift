internal import Kernel
package import KubeTypes
internal import Synchronization
internal import TLS
package import Wire

/// The API of a server reached over TLS, as any client reaches it.
///
/// Each request takes a kept connection, or makes one, on a thread of its own: right for a command that asks a few things.
package final class HTTPAPI: KubeAPI {
    package struct Answer: Sendable {
        package var status: Int
        package var headers: [String: String]
        package var body: [UInt8]
    }

    private let host: String
    private let port: UInt16
    private let token: String?
    private let tokenFile: String?
    private let context: ClientContext
    private let idle = Mutex<[HTTPExchange]>([])
    /// How long the server may take for an answer, in seconds; watches wait for ever.
    private let patience = 60

    package init(_ file: KubeconfigFile) throws {
        host = file.host
        port = file.port
        token = file.token
        tokenFile = file.tokenFile
        let identity =
            file.certificate.isEmpty
            ? nil : (chain: try Certificate.bundle(pem: file.certificate), key: try PrivateKey(pem: file.key))
        context = try ClientContext(roots: try Certificate.bundle(pem: file.roots), identity: identity)
    }

    /// Any request. An answer of any status is an answer; only a server that cannot be reached is a failure.
    package func raw(
        _ method: String, _ path: String, headers: [(String, String)] = [], body: [UInt8] = []
    ) async throws(APIFailure) -> Answer {
        let result = await onThread { [self] in
            Result<Answer, TLSFailure> { () throws(TLSFailure) in try exchange(method, path, headers, body) }
        }
        do { return try result.get() } catch { throw unreachable(error) }
    }

    private func exchange(
        _ method: String, _ path: String, _ headers: [(String, String)], _ body: [UInt8]
    ) throws(TLSFailure) -> Answer {
        while true {
            let kept = idle.withLock { $0.popLast() }
            let connection: HTTPExchange
            if let kept { connection = kept } else { connection = try connect() }
            do throws(TLSFailure) {
                try connection.send(method, path, host: "\(host):\(port)", headers: full(headers), body: body)
                let head = try connection.readHead()
                let answer = Answer(status: head.status, headers: head.headers, body: try connection.readBody(head))
                if head.keepsConnection { idle.withLock { $0.append(connection) } }
                return answer
            } catch {
                // The server may have closed a kept connection meanwhile; a read may be asked again on a fresh one.
                guard kept != nil, method == "GET" else { throw error }
            }
        }
    }

    private func connect() throws(TLSFailure) -> HTTPExchange {
        HTTPExchange(try ClientStream(context, host: host, port: port, timeout: patience))
    }

    /// A connection of its own for a request whose answer begins something longer.
    func open(_ path: String, _ headers: [(String, String)], patience: Int) throws(TLSFailure) -> (
        HTTPExchange, ResponseHead
    ) {
        let connection = try connect()
        connection.stream.setReceiveTimeout(patience)
        try connection.send("GET", path, host: "\(host):\(port)", headers: full(headers), body: [])
        return (connection, try connection.readHead())
    }

    private func full(_ headers: [(String, String)]) -> [(String, String)] {
        var all = headers + [("user-agent", "weft")]
        if let token = token ?? tokenFile.flatMap(Self.token(in:)) { all.append(("authorization", "Bearer \(token)")) }
        return all
    }

    private static func token(in file: String) -> String? {
        guard let bytes = try? SmallFile.read(file, limit: 1 << 16) else { return nil }
        return String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
    }

    private func unreachable(_ failure: TLSFailure) -> APIFailure {
        APIFailure(
            code: 503, reason: "ServiceUnavailable",
            message: "the API server at https://\(host):\(port) cannot be reached: \(failure)")
    }

    /// A request whose answer is JSON; a `Status` with a failure is thrown.
    private func json(
        _ method: String, _ path: String, body: JSON? = nil, contentType: String = "application/json"
    ) async throws(APIFailure) -> JSON {
        var headers = [("accept", "application/json")]
        if body != nil { headers.append(("content-type", contentType)) }
        return try Self.json(
            try await raw(method, path, headers: headers, body: body?.bytes ?? []), "\(method) \(path)")
    }

    private static func json(_ answer: Answer, _ request: String) throws(APIFailure) -> JSON {
        let json: JSON
        do { json = try JSON(parsing: answer.body) } catch {
            let text = String(decoding: answer.body.prefix(300), as: UTF8.self)
            throw APIFailure(
                code: answer.status, reason: "Unknown", message: "\(request) answered \(answer.status): \(text)")
        }
        guard (200..<300).contains(answer.status) else { throw APIFailure(status: json) }
        return json
    }
}

extension HTTPAPI {
    package func resourceIndex() async throws(APIFailure) -> ResourceIndex {
        let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
        var index = ResourceIndex()
        for path in ["/api", "/apis"] {
            index.add(try Self.json(try await raw("GET", path, headers: [accept]), "GET \(path)"))
        }
        return index
    }

    package func served(_ kind: String, apiVersion: String) async throws(APIFailure) -> ResourceType {
        try await resourceIndex().served(kind, apiVersion: apiVersion)
    }

    package func get(
        _ type: ResourceType, _ key: ObjectKey, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        let path = type.path(namespace: key.namespace, name: key.name, subresource: subresource)
        return KubeObject(try await json("GET", path))
    }

    package func list(
        _ type: ResourceType, namespace: String, _ selection: Selection
    ) async throws(APIFailure) -> KubeList {
        let json = try await json("GET", type.path(namespace: namespace) + query(selection.parameters))
        return KubeList(
            items: (json["items"]?.array ?? []).map { item in
                var object = KubeObject(item)
                if object.kind.isEmpty {
                    object.json["kind"] = .string(type.kind)
                    object.json["apiVersion"] = .string(type.apiVersion)
                }
                return object
            },
            resourceVersion: json["metadata"]?["resourceVersion"]?.string ?? "")
    }

    package func create(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject {
        KubeObject(try await json("POST", type.path(namespace: object.namespace), body: object.json))
    }

    package func update(
        _ type: ResourceType, _ object: KubeObject, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        let path = type.path(namespace: object.namespace, name: object.name, subresource: subresource)
        return KubeObject(try await json("PUT", path, body: object.json))
    }

    package func patch(
        _ type: ResourceType, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        var path = type.path(namespace: key.namespace, name: key.name, subresource: subresource)
        if kind == .apply { path += "?fieldManager=weft&force=true" }
        return KubeObject(try await json("PATCH", path, body: body, contentType: kind.rawValue))
    }

    package func delete(_ type: ResourceType, _ key: ObjectKey, _ options: DeleteOptions) async throws(APIFailure) {
        _ = try await json("DELETE", type.path(namespace: key.namespace, name: key.name), body: options.json)
    }

    package func bind(_ pod: ObjectKey, uid: String, node: String) async throws(APIFailure) {
        let path = ResourceType.pods.path(namespace: pod.namespace, name: pod.name, subresource: "binding")
        let binding: JSON = [
            "apiVersion": "v1", "kind": "Binding",
            "metadata": ["name": .string(pod.name), "namespace": .string(pod.namespace), "uid": .string(uid)],
            "target": ["apiVersion": "v1", "kind": "Node", "name": .string(node)],
        ]
        _ = try await json("POST", path, body: binding)
    }

    package func watch(
        _ type: ResourceType, namespace: String, _ selection: Selection, from resourceVersion: String
    ) async throws(APIFailure) -> AsyncThrowingStream<WatchEvent, any Error> {
        let parameters =
            selection.parameters + [
                ("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", resourceVersion),
            ]
        let path = type.path(namespace: namespace) + query(parameters)
        let opened = await onThread { [self] in
            Result<(HTTPExchange, ResponseHead), TLSFailure> { () throws(TLSFailure) in
                let connection = try connect()
                try connection.send(
                    "GET", path, host: "\(host):\(port)", headers: full([("accept", "application/json")]), body: [])
                return (connection, try connection.readHead())
            }
        }
        let connection: HTTPExchange
        let head: ResponseHead
        do { (connection, head) = try opened.get() } catch { throw unreachable(error) }
        guard head.status == 200 else {
            let body = await onThread {
                Result<[UInt8], TLSFailure> { () throws(TLSFailure) in try connection.readBody(head) }
            }
            let answer = Answer(status: head.status, headers: head.headers, body: (try? body.get()) ?? [])
            _ = try Self.json(answer, "watch of \(type)")
            throw APIFailure.internalError("watch of \(type) answered \(head.status)")
        }
        connection.stream.setReceiveTimeout(0)
        let (stream, continuation) = AsyncThrowingStream<WatchEvent, any Error>.makeStream()
        continuation.onTermination = { _ in connection.stream.shutDown() }
        startThread { Self.follow(connection, head, continuation) }
        return stream
    }

    /// Reads events, one JSON object a line, until the stream ends.
    private static func follow(
        _ connection: HTTPExchange, _ head: ResponseHead,
        _ continuation: AsyncThrowingStream<WatchEvent, any Error>.Continuation
    ) {
        var pending: [UInt8] = []
        do {
            var failure: APIFailure?
            try connection.readPieces(head) { (piece) throws(TLSFailure) in
                pending += piece
                while let end = pending.firstIndex(of: 0x0A) {
                    let line = Array(pending[..<end])
                    pending.removeSubrange(...end)
                    guard let json = try? JSON(parsing: line), let object = json["object"] else { continue }
                    if json["type"]?.string == "ERROR" {
                        failure = APIFailure(status: object)
                        return false
                    }
                    guard let kind = json["type"]?.string.flatMap(WatchEvent.Kind.init) else { continue }
                    if case .terminated = continuation.yield(WatchEvent(kind, KubeObject(object))) { return false }
                }
                return true
            }
            continuation.finish(throwing: failure)
        } catch {
            continuation.finish()  // the server went away: whoever watches lists again
        }
    }

    private func query(_ parameters: [(String, String)]) -> String {
        parameters.isEmpty ? "" : "?" + parameters.map { "\($0.0)=\(percentEncoded($0.1))" }.joined(separator: "&")
    }
}

extension Selection {
    fileprivate var parameters: [(String, String)] {
        (labels.isEmpty ? [] : [("labelSelector", labels)]) + (fields.isEmpty ? [] : [("fieldSelector", fields)])
    }
}

extension DeleteOptions {
    fileprivate var json: JSON {
        var json: JSON = ["apiVersion": "v1", "kind": "DeleteOptions"]
        json["gracePeriodSeconds"] = gracePeriodSeconds.map { .int(Int64($0)) }
        json["propagationPolicy"] = propagation.map { .string($0.rawValue) }
        if uid != nil || resourceVersion != nil {
            var preconditions = JSON.object(JSONObject())
            preconditions["uid"] = uid.map(JSON.string)
            preconditions["resourceVersion"] = resourceVersion.map(JSON.string)
            json["preconditions"] = preconditions
        }
        return json
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3), for a query parameter's value.
package func percentEncoded(_ text: String) -> String {
    let hex = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            out.append(byte)
        default: out += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
        }
    }
    return String(decoding: out, as: UTF8.self)
}
