import KubeTypes

/// What one authenticator says to a bearer token.
enum TokenVerdict: Sendable {
    /// `audiences`: those of the asked ones the token is for.
    case accepted(User, audiences: [String])
    /// Not a token of this kind: the next one is asked.
    case unknown
    /// Of this kind, and not good.
    case refused(String)
}

/// Knows who speaks by a bearer token.
protocol TokenAuthenticator: Sendable {
    /// - Parameter audiences: the token must be for one of them.
    func check(_ token: String, audiences: [String]) async -> TokenVerdict
}

/// The authenticators of bearer tokens, in order.
struct TokenAuthenticators: TokenAuthenticator {
    let parts: [any TokenAuthenticator]
    /// The audiences this server is.
    let audiences: [String]

    func check(_ token: String, audiences: [String]) async -> TokenVerdict {
        var refusal = ""
        for part in parts {
            switch await part.check(token, audiences: audiences) {
            case .accepted(let user, let audiences): return .accepted(user, audiences: audiences)
            case .refused(let why): refusal = refusal.isEmpty ? why : "\(refusal), \(why)"
            case .unknown: break
            }
        }
        return refusal.isEmpty ? .unknown : .refused(refusal)
    }
}
