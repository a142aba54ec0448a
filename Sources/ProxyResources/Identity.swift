/// A proxy's certificate, key and the roots it trusts.
package struct Identity: Sendable, Hashable {
    package var certificateChain: String  // PEM
    package var privateKey: String  // PEM
    package var trustRoots: String  // PEM, one or more
    package var expires: Int64  // seconds since 1970

    package init(certificateChain: String, privateKey: String, trustRoots: String, expires: Int64) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.trustRoots = trustRoots
        self.expires = expires
    }
}
