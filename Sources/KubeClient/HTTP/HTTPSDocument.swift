internal import Kernel
internal import TLS
package import Wire

/// A document read over HTTPS from a server that is no Kubernetes API: an issuer's keys, for example.
package enum HTTPSDocument {
    package struct Fault: Error, Sendable, CustomStringConvertible {
        package let description: String
        package init(description: String) { self.description = description }
    }

    /// - Parameters:
    ///   - roots: certificates, PEM, one of which the server's must lead to.
    ///   - timeout: seconds for each step of the exchange.
    ///   - limit: bytes; a longer answer is a fault.
    package static func json(
        _ url: String, roots: [UInt8], timeout: Int = 10, limit: Int = 1 << 20
    ) async throws(Fault) -> JSON {
        let result = await onThread { () -> Result<JSON, Fault> in
            do { return .success(try read(url, roots, timeout, limit)) } catch {
                return .failure(Fault(description: "\(url): \(error)"))
            }
        }
        return try result.get()
    }

    private static func read(_ url: String, _ roots: [UInt8], _ timeout: Int, _ limit: Int) throws -> JSON {
        guard url.hasPrefix("https://") else { throw Fault(description: "it must start with https://") }
        let rest = url.dropFirst(8)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let path = String(rest.dropFirst(authority.count))
        let colon = authority.lastIndex { $0 == ":" }
        let host = String(colon.map { authority[..<$0] } ?? authority)
        guard let port = colon.map({ UInt16(authority[authority.index(after: $0)...]) }) ?? 443, !host.isEmpty else {
            throw Fault(description: "\"\(authority)\" is no host and port")
        }
        let context = try ClientContext(roots: try Certificate.bundle(pem: roots), identity: nil)
        let exchange = HTTPExchange(try ClientStream(context, host: host, port: port, timeout: timeout))
        try exchange.send(
            "GET", path.isEmpty ? "/" : path, host: String(authority),
            headers: [("accept", "application/json"), ("user-agent", "weft"), ("connection", "close")], body: [])
        let head = try exchange.readHead()
        var body: [UInt8] = []
        try exchange.readPieces(head) { piece throws(TLSFailure) in
            body += piece
            return body.count <= limit
        }
        guard body.count <= limit else { throw Fault(description: "the answer is longer than \(limit) bytes") }
        guard head.status == 200 else { throw Fault(description: "it answers \(head.status)") }
        return try JSON(parsing: body)
    }
}
