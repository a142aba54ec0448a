import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    /// A request handed on to a pod, or to a pod of a service: `…/pods/[http:]NAME[:PORT]/proxy/PATH`.
    func proxy(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        if try await addSlash(request, route, responder) { return }
        let asked = try ProxyTarget(route.name)
        var route = route
        route.name = asked.name
        let (pod, port) =
            definition.type == .pods
            ? try podTarget(asked, try registry.get(definition, route.key))
            : try serviceTarget(asked, try registry.get(definition, route.key))
        try PodContainer.requireNode(pod)
        let options = KubeObject([
            "kind": .string("\(definition.type.kind)ProxyOptions"), "apiVersion": "v1", "path": .string(route.suffix),
        ])
        try await registry.admitConnection(definition.type, "proxy", route.key, options, request.user)
        let connection = try await gateway.connect(pod: pod, port: port)
        let body = try await request.body()
        do {
            let path = (route.suffix.isEmpty ? "/" : route.suffix) + queryText(request.http.target)
            try await connection.write(ProxyExchange.head(request.http, path: path, bodyLength: body.count) + body)
            try await ProxyExchange(connection, request.http).answer(responder)
        } catch {
            await connection.close()
            if responder.status != 0 { return }
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable",
                message: "error trying to reach service: pod \"\(pod.name)\", port \(port): \(error)")
        }
        await connection.close()
    }

    /// What is at the root of a pod's server is found under `…/proxy/`: without the slash, its relative links would lead elsewhere.
    ///
    /// - Returns: whether the request was answered.
    private func addSlash(
        _ request: APIRequest, _ route: ResourceRoute, _ responder: HTTPResponder
    ) async throws(APIFailure) -> Bool {
        guard route.suffix.isEmpty, request.http.method == .GET || request.http.method == .HEAD,
            ProxyExchange.upgrade(request.http) == nil
        else { return false }
        // One slash at the start: two would name another host.
        let place = "/" + request.path.drop { $0 == "/" } + "/" + queryText(request.http.target)
        await responder.respond(.movedPermanently, ["location": place])
        return true
    }

    /// A request handed on to a node's agent: `/api/v1/nodes/[http[s]:]NAME[:PORT]/proxy/PATH`.
    func nodeProxy(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        let asked = try ProxyTarget(route.name, schemes: ["http", "https"])
        var route = route
        route.name = asked.name
        _ = try registry.get(definition, route.key)
        guard request.http.method == .GET || request.http.method == .HEAD else {
            throw Self.notAllowed(request)
        }
        let options = KubeObject([
            "kind": "NodeProxyOptions", "apiVersion": "v1", "path": .string(route.suffix),
        ])
        try await registry.admitConnection(definition.type, "proxy", route.key, options, request.user)
        let query = request.query.pairs.map { (name: $0.0, value: $0.1) }
        let wanted = NodeRequest(path: route.suffix.isEmpty ? "/" : route.suffix, query: query)
        let answer = try await gateway.answer(ofNode: asked.name, wanted)
        do {
            try await responder.start(
                HTTPResponseStatus(statusCode: answer.status), ["content-type": answer.contentType])
            for try await bytes in answer.body { try await responder.write(bytes) }
            try await responder.end()
        } catch {
            logger.debug("node proxy ended", metadata: ["node": "\(asked.name)", "reason": "\(error)"])
        }
    }

    private func queryText(_ target: String) -> String {
        target.firstIndex(of: "?").map { String(target[$0...]) } ?? ""
    }

    private func podTarget(_ asked: ProxyTarget, _ pod: KubeObject) throws(APIFailure) -> (KubeObject, Int) {
        if let number = Int(asked.port) { return (pod, number) }
        let ports = (pod.spec["containers"]?.array ?? []).flatMap { $0["ports"]?.array ?? [] }
        if asked.port.isEmpty { return (pod, ports.first?["containerPort"]?.int ?? 80) }
        guard let found = ports.first(where: { $0["name"]?.string == asked.port })?["containerPort"]?.int else {
            throw .badRequest("pod \"\(pod.name)\" has no port named \"\(asked.port)\"")
        }
        return (pod, found)
    }

    /// A ready endpoint of the service, any of them.
    private func serviceTarget(_ asked: ProxyTarget, _ service: KubeObject) throws(APIFailure) -> (KubeObject, Int) {
        let ports = service.spec["ports"]?.array ?? []
        let matching = ports.first { port in
            asked.port.isEmpty || port["name"]?.string == asked.port || port["port"]?.int == Int(asked.port)
        }
        guard let port = matching, asked.port.isEmpty == false || ports.count == 1 else {
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable",
                message: "no service port \"\(asked.port)\" found for service \"\(service.name)\"")
        }
        let slices = try registry.list(
            try registry.definition(of: .endpointSlices), namespace: service.namespace,
            Selection(labels: "kubernetes.io/service-name=\(service.name)"))
        var found: [(pod: String, port: Int)] = []
        for slice in slices.items {
            let numbers = slice.json["ports"]?.array ?? []
            let name = port["name"]?.string ?? ""
            guard let number = numbers.first(where: { ($0["name"]?.string ?? "") == name })?["port"]?.int else {
                continue
            }
            for endpoint in slice.json["endpoints"]?.array ?? []
            where endpoint["conditions"]?["ready"]?.bool ?? true && endpoint["targetRef"]?["kind"]?.string == "Pod" {
                found.append((endpoint["targetRef"]?["name"]?.string ?? "", number))
            }
        }
        guard let one = found.randomElement() else {
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable",
                message: "no endpoints available for service \"\(service.name)\"")
        }
        let pod = try registry.get(
            try registry.definition(of: .pods), ObjectKey(namespace: service.namespace, name: one.pod))
        return (pod, one.port)
    }
}

/// `[SCHEME:]NAME[:PORT]`, as the name of a proxied object says it.
struct ProxyTarget: Hashable {
    var name: String
    /// A number, a name, or empty.
    var port: String

    init(_ text: String, schemes: [String] = ["http"]) throws(APIFailure) {
        var parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 3 {
            guard schemes.contains(parts[0]) || parts[0].isEmpty else {
                throw .badRequest("\"\(text)\": scheme \"\(parts[0])\" is not served by the proxy; http is")
            }
            parts.removeFirst()
        }
        guard parts.count <= 2, !parts[0].isEmpty else {
            throw .badRequest("\"\(text)\" is not [SCHEME:]NAME[:PORT]")
        }
        name = parts[0]
        port = parts.count == 2 ? parts[1] : ""
    }
}

/// One request to a pod over a connection of its own.
struct ProxyExchange {
    private static let headLimit = 64 << 10
    private let connection: any PodConnection
    /// The answer to HEAD says how long a body would be, and has none.
    private let isHead: Bool

    init(_ connection: any PodConnection, _ request: HTTPRequest) {
        self.connection = connection
        isHead = request.method == .HEAD
    }

    /// Names that are between two hops only (RFC 9110 §7.6.1), and what tells who the client is here.
    private static let dropped: Set<String> = [
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade",
        "content-length", "authorization", "host", "expect",
    ]

    static func head(_ request: HTTPRequest, path: String, bodyLength: Int) -> [UInt8] {
        var head = HTTPRequestHead(version: .http1_1, method: request.method, uri: path)
        head.headers.add(name: "host", value: "pod")
        let upgrade = Self.upgrade(request)
        head.headers.add(name: "connection", value: upgrade == nil ? "close" : "Upgrade")
        if let upgrade { head.headers.add(name: "upgrade", value: upgrade) }
        let named = Set(request.headers[canonicalForm: "connection"].map { $0.lowercased() })
        for header in request.headers {
            let name = header.name.lowercased()
            if dropped.contains(name) || named.contains(name) || isIdentity(name) { continue }
            head.headers.add(name: header.name, value: header.value)
        }
        if bodyLength > 0 || [.POST, .PUT, .PATCH].contains(request.method) {
            head.headers.add(name: "content-length", value: "\(bodyLength)")
        }
        return bytes(of: head)
    }

    /// Who the client is to this server, or wants to be: no business of the servers behind it.
    static func isIdentity(_ name: String) -> Bool {
        name.hasPrefix("impersonate-") || name.hasPrefix("x-remote-")
    }

    /// What a request wants its connection to become: `websocket`, `SPDY/3.1`.
    static func upgrade(_ request: HTTPRequest) -> String? {
        guard let wanted = request.headers.first(name: "upgrade"), !wanted.isEmpty else { return nil }
        let options = request.headers[canonicalForm: "connection"]
        return options.contains { $0.lowercased() == "upgrade" } ? wanted : nil
    }

    static func bytes(of head: HTTPRequestHead) -> [UInt8] {
        var lines = ["\(head.method.rawValue) \(head.uri) HTTP/1.1"]
        for header in head.headers { lines.append("\(header.name): \(header.value)") }
        return lines.flatMap { Array($0.utf8.filter { $0 != 13 && $0 != 10 }) + [13, 10] } + [13, 10]
    }

    /// Hands the pod's answer on as it comes.
    func answer(_ responder: HTTPResponder) async throws {
        var parser = HeadParser()
        var bytes: [UInt8] = []
        var status = 0
        var headers = HTTPHeaders()
        var length: Int?
        var isChunked = false
        repeat {
            while true {
                let verdict = bytes.withUnsafeBufferPointer { text in
                    text.baseAddress.map { parser.response($0, text.count) } ?? .incomplete
                }
                if case .complete = verdict { break }
                if case .refused(let fault) = verdict { throw ProxyFault("its answer is not HTTP: \(fault.word)") }
                guard bytes.count < Self.headLimit else { throw ProxyFault("the head of its answer is too long") }
                guard let more = try await connection.read() else { throw ProxyFault("it closed without an answer") }
                bytes += more
            }
            status = parser.head.status
            headers = Self.headers(bytes.prefix(parser.head.length))
            length = headers.first(name: "content-length").flatMap { Int($0) }
            isChunked = headers.first(name: "transfer-encoding")?.lowercased() == "chunked"
            bytes.removeFirst(parser.head.length)
        } while status < 200 && status != 101
        if status == 101 {
            try await relay(bytes, headers, responder)
            return
        }
        for name in ["connection", "keep-alive", "transfer-encoding", "proxy-connection"] { headers.remove(name: name) }
        if !isHead { headers.remove(name: "content-length") }
        try await responder.start(HTTPResponseStatus(statusCode: status), headers)
        if !isHead, status != 204, status != 304 {
            try await relay(&bytes, length: length, isChunked: isChunked, responder)
        }
        try await responder.end()
    }

    /// Bytes both ways until one side ends.
    private func relay(_ early: [UInt8], _ headers: HTTPHeaders, _ responder: HTTPResponder) async throws {
        let client = try await responder.upgradeToBytes(headers)
        let connection = self.connection
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while let bytes = try? await client.read() {
                    guard (try? await connection.write(bytes)) != nil else { return }
                }
            }
            group.addTask {
                guard (try? await client.write(early)) != nil else { return }
                while let bytes = try? await connection.read() {
                    guard (try? await client.write(bytes)) != nil else { return }
                }
            }
            _ = await group.next()
            group.cancelAll()
            await client.close()
            await connection.close()
        }
    }

    private func relay(_ bytes: inout [UInt8], length: Int?, isChunked: Bool, _ responder: HTTPResponder) async throws {
        var scanner = ChunkScanner()
        var left = length ?? .max
        while left > 0 {
            var done = false
            if isChunked {
                bytes = try Self.content(of: bytes, &scanner)
                done = scanner.isDone
            }
            let piece = Array(bytes.prefix(left))
            left -= piece.count
            try await responder.write(piece)
            if done { return }
            if left == 0 { return }
            guard let more = try await connection.read() else {
                if isChunked || length != nil { throw ProxyFault("its answer ended too early") }
                return
            }
            bytes = more
        }
    }

    /// What of a chunked body's bytes is content.
    private static func content(of bytes: [UInt8], _ scanner: inout ChunkScanner) throws -> [UInt8] {
        var content: [UInt8] = []
        try bytes.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return }
            var place = 0
            while place < bytes.count, !scanner.isDone {
                let isData = scanner.state == .data
                let count = isData ? min(scanner.remaining, bytes.count - place) : 1
                if isData { content += UnsafeBufferPointer(start: start + place, count: count) }
                _ = scanner.scan(start + place, count)
                if scanner.isBad { throw ProxyFault("its answer has a broken chunk") }
                place += count
            }
        }
        return content
    }

    private static func headers(_ head: ArraySlice<UInt8>) -> HTTPHeaders {
        var headers = HTTPHeaders()
        for line in String(decoding: head, as: UTF8.self).split(whereSeparator: \.isNewline).dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers.add(name: String(line[..<colon]), value: line[line.index(after: colon)...].trimmed)
        }
        return headers
    }
}

struct ProxyFault: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension Substring {
    fileprivate var trimmed: String { String(drop { $0 == " " || $0 == "\t" }) }
}
