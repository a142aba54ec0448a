/// Which JSON Web Tokens are believed, where they stand in a request, and what is made of them (Istio's `jwtRules`).
package struct TokenRule: Sendable, Hashable {
    package struct Header: Sendable, Hashable {
        package var name: String  // lower case
        package var prefix: String  // `Bearer `
        package init(name: String, prefix: String = "") {
            self.name = name
            self.prefix = prefix
        }
    }
    package struct ClaimHeader: Sendable, Hashable {
        package var header: String  // lower case
        package var claim: String  // `sub`, or `nested.claim`
        package init(header: String, claim: String) {
            self.header = header
            self.claim = claim
        }
    }

    package var name: String  // of the policy, `demo/require-login`
    package var issuer: String
    /// One of them must be among the token's; empty for any.
    package var audiences: [String]
    /// A JSON Web Key Set (RFC 7517), inline: proxies fetch nothing. Empty when it could not be fetched: no token is believed then.
    package var keys: String
    /// With no place named at all: `authorization: Bearer …` and the parameter `access_token`.
    package var headers: [Header]
    package var parameters: [String]
    package var cookies: [String]
    package var forwardsToken: Bool
    /// Gets the token's middle part as it stands; empty for none.
    package var payloadHeader: String
    package var claimHeaders: [ClaimHeader]

    package init(
        name: String = "", issuer: String, audiences: [String] = [], keys: String = "", headers: [Header] = [],
        parameters: [String] = [], cookies: [String] = [], forwardsToken: Bool = false, payloadHeader: String = "",
        claimHeaders: [ClaimHeader] = []
    ) {
        self.name = name
        self.issuer = issuer
        self.audiences = audiences
        self.keys = keys
        self.headers = headers
        self.parameters = parameters
        self.cookies = cookies
        self.forwardsToken = forwardsToken
        self.payloadHeader = payloadHeader
        self.claimHeaders = claimHeaders
    }
}
