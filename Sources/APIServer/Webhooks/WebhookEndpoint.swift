import KubeTypes
import Wire

/// Where an HTTPS server outside this process is, and by what it is known.
struct WebhookEndpoint: Sendable, Hashable {
    enum Place: Sendable, Hashable {
        /// Of the network this process is in.
        case machine(host: String, port: Int)
        /// A pod, in the cluster's network.
        case cluster(address: String, port: Int)
    }
    var place: Place
    /// What the server's certificate must say.
    var serverName: String
    /// Path and query.
    var target: String
    /// PEM; empty trusts whom the machine trusts.
    var trust: [UInt8]
    /// For errors: `https://hook.demo.svc:443/validate`.
    var url: String
}

/// Why a call of a webhook brought no answer.
struct WebhookFault: Error, Sendable, Hashable, CustomStringConvertible {
    let description: String
    /// The connection ended before anything of an answer had come.
    let isUnanswered: Bool

    init(_ description: String, isUnanswered: Bool = false) {
        self.description = description
        self.isUnanswered = isUnanswered
    }
}

/// How to reach the cluster's network, which need not be the one this process is in.
package protocol ClusterDialer: Sendable {
    /// - Returns: a connected TCP socket, whose owner is the caller from then on.
    func connect(address: String, port: Int, within limit: Duration) async throws -> CInt
}

/// A `clientConfig` as webhooks of every kind have it: a URL, or a service.
struct WebhookClientConfig: Sendable, Hashable {
    struct Service: Sendable, Hashable {
        var namespace: String
        var name: String
        var port: Int
        var path: String
    }
    enum Server: Sendable, Hashable {
        case url(String)
        case service(Service)
    }
    let server: Server?
    let trust: [UInt8]

    init(_ json: JSON?) {
        trust = Base64.decode(json?["caBundle"]?.string ?? "") ?? []
        if let service = json?["service"], service.object != nil {
            server = .service(
                Service(
                    namespace: service["namespace"]?.string ?? "", name: service["name"]?.string ?? "",
                    port: service["port"]?.int ?? 443, path: service["path"]?.string ?? ""))
        } else {
            server = json?["url"]?.string.map { .url($0) }
        }
    }
}

/// An `https://` URL, taken apart.
struct WebhookURL: Sendable, Hashable {
    let host: String
    let port: Int
    /// Path and query; at least a slash.
    let target: String

    /// `nil` when it is no https URL with a host.
    init?(_ text: String) {
        guard text.lowercased().hasPrefix("https://") else { return nil }
        let rest = text.dropFirst(8)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        var authority = rest[..<end]
        let path = rest[end...].prefix { $0 != "#" }
        target = path.isEmpty ? "/" : path.hasPrefix("/") ? String(path) : "/" + path
        if authority.contains("@") { return nil }
        var port = 443
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { return nil }
            let after = authority[authority.index(after: close)...]
            if after.hasPrefix(":"), let number = Int(after.dropFirst()) { port = number }
            authority = authority[authority.index(after: authority.startIndex)..<close]
        } else if let colon = authority.lastIndex(of: ":") {
            guard let number = Int(authority[authority.index(after: colon)...]) else { return nil }
            port = number
            authority = authority[..<colon]
        }
        guard !authority.isEmpty, (1...65535).contains(port) else { return nil }
        host = String(authority)
        self.port = port
    }
}
