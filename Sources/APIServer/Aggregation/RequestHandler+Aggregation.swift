import KubeClient
import KubeTypes
import Logging
import NIOCore
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    /// The server behind this one that answers the request, if there is one.
    func remote(_ request: APIRequest) -> RemoteService? {
        switch request.route {
        case .resource(let route): return aggregator.remote(group: route.group, version: route.version)
        case .path(let path):
            // `/apis/<group>/<version>` and its document, `/openapi/v3/apis/<group>/<version>`.
            let document = "/openapi/v3"
            let own = path.hasPrefix(document) ? path.dropFirst(document.count) : path[...]
            guard own.hasPrefix("/apis/") else { return nil }
            let parts = own.split(separator: "/")
            guard parts.count == 3 else { return nil }
            return aggregator.remote(group: String(parts[1]), version: String(parts[2]))
        }
    }

    /// Passes the request on, with the word of this server for who asks, and the answer back as it comes.
    func forward(_ request: APIRequest, to remote: RemoteService, _ responder: HTTPResponder) async throws(APIFailure) {
        guard remote.availability.isAvailable else {
            throw Self.unavailable(remote, remote.availability.message)
        }
        let body = try await request.body()
        let exchange: UpstreamExchange
        do throws(WebhookFault) {
            exchange = try aggregator.exchange(remote, within: .seconds(30))
        } catch {
            throw Self.unavailable(remote, error.description)
        }
        if let wanted = ProxyExchange.upgrade(request.http) {
            try await forward(request, to: remote, exchange, upgrade: wanted, responder)
            return
        }
        let isHead = request.http.method == .HEAD
        do {
            try await exchange.run(Self.head(request, remote, body.count), body) { head in
                try await responder.start(head.status, Self.answerHeaders(head.headers))
            } piece: { piece in
                if !isHead { try await responder.write(Array(piece.readableBytesView)) }
            }
            try await responder.end()
        } catch {
            // Once the answer has begun, its end is all that can be said.
            if responder.status != 0 {
                logger.debug("an answer of \(remote.name) ended early: \(error)")
                return
            }
            throw Self.unavailable(remote, "\(error)")
        }
    }

    /// A request that is to leave HTTP: exec, attach and their like on another server.
    private func forward(
        _ request: APIRequest, to remote: RemoteService, _ exchange: UpstreamExchange, upgrade: String,
        _ responder: HTTPResponder
    ) async throws(APIFailure) {
        var head = Self.head(request, remote, 0)
        head.headers.add(name: "connection", value: "Upgrade")
        head.headers.add(name: "upgrade", value: upgrade)
        let bytes = ProxyExchange.bytes(of: head)
        do {
            try await exchange.bytes { connection in
                try await connection.write(bytes)
                try await ProxyExchange(connection, request.http).answer(responder)
            }
        } catch {
            if responder.status != 0 { return }
            throw Self.unavailable(remote, "\(error)")
        }
    }

    private static func unavailable(_ remote: RemoteService, _ why: String) -> APIFailure {
        APIFailure(
            code: 503, reason: "ServiceUnavailable",
            message: "the server is currently unable to handle the request: APIService \(remote.name): \(why)",
            details: ["name": .string(remote.name), "kind": "apiservices", "retryAfterSeconds": 1])
    }

    /// What concerns one connection only (RFC 9110 §7.6.1), and what only this server may say.
    private static let ownHeaders: Set<String> = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "content-length", "host", "authorization",
    ]

    private static func head(_ request: APIRequest, _ remote: RemoteService, _ count: Int) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: request.http.method, uri: request.http.target)
        for (name, value) in request.http.headers {
            let lower = name.lowercased()
            if ownHeaders.contains(lower) || ProxyExchange.isIdentity(lower) { continue }
            head.headers.add(name: name, value: value)
        }
        head.headers.add(name: "host", value: Aggregator.host(remote))
        if count > 0 || request.http.method != .GET { head.headers.add(name: "content-length", value: "\(count)") }
        let user = request.user
        head.headers.add(name: "X-Remote-User", value: user.name)
        for group in user.groups { head.headers.add(name: "X-Remote-Group", value: group) }
        if !user.uid.isEmpty { head.headers.add(name: "X-Remote-Uid", value: user.uid) }
        for (key, values) in user.extra.sorted(by: { $0.key < $1.key }) {
            for value in values { head.headers.add(name: "X-Remote-Extra-" + escaped(key), value: value) }
        }
        if let address = request.http.remoteAddress?.ipAddress {
            head.headers.add(name: "X-Forwarded-For", value: address)
        }
        return head
    }

    /// A key as part of a header's name: other signs than those of a token are written with `%`.
    private static func escaped(_ key: String) -> String {
        var text = ""
        for byte in key.utf8 {
            let isToken =
                (48...57).contains(byte) || (97...122).contains(byte | 32) || "!#$&'*+-.^_`|~".utf8.contains(byte)
            if isToken {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                text += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return text
    }

    private static func answerHeaders(_ headers: HTTPHeaders) -> HTTPHeaders {
        var own: HTTPHeaders = [:]
        for (name, value) in headers where !ownHeaders.contains(name.lowercased()) { own.add(name: name, value: value) }
        return own
    }
}
