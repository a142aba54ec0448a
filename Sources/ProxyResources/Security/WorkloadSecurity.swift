/// What a proxy asks of those who call its workload.
package struct WorkloadSecurity: Sendable, Hashable {
    package var policies: [AuthorizationPolicy]
    package var tokenRules: [TokenRule]
    package var authorizers: [ExternalAuthorizer]
    package var revoked: Revocation
    package var pathNormalization: PathNormalization
    /// Proxies in front whose `x-forwarded-for` is believed; the entry that many places from its end is the client.
    package var trustedProxies: Int
    /// The answer to a refused request names the policy. Off, as it tells strangers what is protected and how.
    package var explainsDenials: Bool

    package init(
        policies: [AuthorizationPolicy] = [], tokenRules: [TokenRule] = [], authorizers: [ExternalAuthorizer] = [],
        revoked: Revocation = Revocation(), pathNormalization: PathNormalization = .base, trustedProxies: Int = 0,
        explainsDenials: Bool = false
    ) {
        self.policies = policies
        self.tokenRules = tokenRules
        self.authorizers = authorizers
        self.revoked = revoked
        self.pathNormalization = pathNormalization
        self.trustedProxies = trustedProxies
        self.explainsDenials = explainsDenials
    }

    /// Nothing is asked of anyone: requests pass unseen.
    package var isEmpty: Bool { self == WorkloadSecurity() }
}

/// Peers that are no longer who their certificates say: refused, and cut off where they are connected.
package struct Revocation: Sendable, Hashable {
    package var principals: [String]  // SPIFFE IDs, or all that start with one ending in `*`
    package var serials: [String]  // of certificates, hexadecimal without leading zeros, upper case

    package init(principals: [String] = [], serials: [String] = []) {
        self.principals = principals
        self.serials = serials
    }

    package var isEmpty: Bool { principals.isEmpty && serials.isEmpty }

    package func covers(principal: String, serial: String) -> Bool {
        serials.contains(serial)
            || principals.contains { entry in
                entry.hasSuffix("*") ? principal.hasPrefix(entry.dropLast()) : principal == entry
            }
    }
}
