import KubeTypes
import NIOHTTP1
import TLS
import Transport
import Wire

/// Who a request comes from: its client certificate, its bearer token, or nobody known.
struct Authentication: Sendable {
    let tokens: TokenAuthenticators
    /// Paths nobody need be known for; others are refused. `nil`: all paths, what the roles then say of `system:anonymous`.
    let anonymousPaths: [String]?

    static let unauthorized = APIFailure(code: 401, reason: "Unauthorized", message: "Unauthorized")

    /// - Throws: 401 for a token that is not good, and for strangers where there must be none.
    func user(_ request: HTTPRequest, path: String) async throws(APIFailure) -> User {
        if let certificate = request.certificate, let user = Self.user(certificate) { return user }
        if let token = Self.token(request) {
            if case .accepted(let user, _) = await tokens.check(token, audiences: tokens.audiences) { return user }
            throw Self.unauthorized
        }
        guard let anonymousPaths else { return .anonymous }
        if anonymousPaths.contains(path) { return .anonymous }
        throw Self.unauthorized
    }

    /// The name is the subject's CN, the groups its O. Worked out once a connection.
    private static func user(_ certificate: Certificate) -> User? {
        if let known = certificate.note as? KnownUser { return known.user }
        guard let name = certificate.commonName, !name.isEmpty else { return nil }
        var user = User(name: name, groups: certificate.organizations + [User.authenticated])
        // 1.3.6.1.4.1.57683.2 is the attribute Kubernetes reads a user's uid from.
        user.uid = certificate.subject(oid: "1.3.6.1.4.1.57683.2").first ?? ""
        if let der = try? certificate.der() {
            let digits = Array("0123456789abcdef".utf8)
            let text = sha256(der).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
            user.extra["authentication.kubernetes.io/credential-id"] = [
                "X509SHA256=" + String(decoding: text, as: UTF8.self)
            ]
        }
        certificate.note = KnownUser(user: user)
        return user
    }

    /// By reference, as a certificate's note is kept: each request of a connection looks for it.
    private final class KnownUser: Sendable {
        let user: User
        init(user: User) { self.user = user }
    }

    private static let webSocketToken = "base64url.bearer.authorization.k8s.io."

    private static func token(_ request: HTTPRequest) -> String? {
        if let header = request.headers.first(name: "authorization") {
            let parts = header.split(separator: " ", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "bearer" { return String(parts[1]) }
        }
        guard request.wantsWebSocket else { return nil }
        // Browsers can send no header with a WebSocket, so the token comes as one of its protocols.
        for name in request.webSocketProtocols where name.hasPrefix(webSocketToken) {
            let text = String(name.dropFirst(webSocketToken.count))
            return Base64.decodeFromURL(text).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        return nil
    }
}
