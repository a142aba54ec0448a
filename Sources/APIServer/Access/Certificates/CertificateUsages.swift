/// The words `spec.usages` of a CertificateSigningRequest may have, and OpenSSL's for them.
enum CertificateUsages {
    static let keyUsages: [String: String] = [
        "signing": "digitalSignature", "digital signature": "digitalSignature",
        "content commitment": "nonRepudiation", "key encipherment": "keyEncipherment", "key agreement": "keyAgreement",
        "data encipherment": "dataEncipherment", "cert sign": "keyCertSign", "crl sign": "cRLSign",
        "encipher only": "encipherOnly", "decipher only": "decipherOnly",
    ]
    static let extended: [String: String] = [
        "any": "anyExtendedKeyUsage", "server auth": "serverAuth", "client auth": "clientAuth",
        "code signing": "codeSigning", "email protection": "emailProtection", "s/mime": "emailProtection",
        "ipsec end system": "ipsecEndSystem", "ipsec tunnel": "ipsecTunnel", "ipsec user": "ipsecUser",
        "timestamping": "timeStamping", "ocsp signing": "OCSPSigning", "microsoft sgc": "msSGC",
        "netscape sgc": "nsSGC",
    ]

    static func isKnown(_ word: String) -> Bool { keyUsages[word] != nil || extended[word] != nil }

    /// In a stable order, each once.
    static func words(_ usages: [String], in table: [String: String]) -> [String] {
        Set(usages.compactMap { table[$0] }).sorted()
    }
}
