import KubeTypes
import NIOHTTP1
import TLS
import Transport

/// Who a request comes from: its client certificate, its bearer token, or nobody known.
struct Authentication: Sendable {
    let tokens: AccountTokens

    /// - Throws: 401 for a token that is not good.
    func user(_ request: HTTPRequest) throws(APIFailure) -> User {
        if let certificate = request.certificate, let name = certificate.commonName {
            return User(name: name, groups: certificate.organizations + ["system:authenticated"])
        }
        guard let header = request.headers.first(name: "authorization") else { return .anonymous }
        let parts = header.split(separator: " ", maxSplits: 1)
        if parts.count == 2, parts[0].lowercased() == "bearer", let user = tokens.user(String(parts[1])) { return user }
        throw APIFailure(code: 401, reason: "Unauthorized", message: "Unauthorized")
    }
}
