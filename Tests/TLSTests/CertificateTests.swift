import TLS
import Testing

@Suite("Certificates")
struct CertificateTests {
    let authority: CertificateAuthority

    init() throws {
        authority = try CertificateAuthority.create(commonName: "test root", lifetime: .seconds(3600))
    }

    @Test("a certificate says what its request asked for, and survives PEM and DER")
    func issue() throws {
        let key = try PrivateKey.generate()
        let names: [SubjectAlternativeName] = [
            .dns("kubernetes.default.svc"), .ip("10.96.0.1"), .ip("fd00::1"), .uri("spiffe://cluster.local/ns/a/sa/b"),
        ]
        let issued = try authority.issue(
            CertificateRequest(
                commonName: "admin", organizations: ["system:masters", "other"], subjectAlternativeNames: names,
                serverUse: true, clientUse: true, lifetime: .seconds(600), publicKey: try key.publicKey()))
        for certificate in [issued, try Certificate(pem: try issued.pem()), try Certificate(der: try issued.der())] {
            #expect(certificate.commonName == "admin")
            #expect(certificate.organizations == ["system:masters", "other"])
            #expect(
                certificate.subjectAlternativeNames == [
                    .dns("kubernetes.default.svc"), .ip("10.96.0.1"), .ip("fd00:0:0:0:0:0:0:1"),
                    .uri("spiffe://cluster.local/ns/a/sa/b"),
                ])
            #expect(certificate.notAfter - certificate.notBefore == 660)
            #expect(certificate.serialNumber == issued.serialNumber)
            #expect(certificate.isAuthority == false)
            try certificate.verify(against: [authority.certificate], use: .server)
            try certificate.verify(against: [authority.certificate], use: .client)
        }
        #expect(authority.certificate.isAuthority)
        #expect(issued.serialNumber.count >= 31)
    }

    @Test("a SPIFFE identity needs no common name")
    func spiffe() throws {
        let identity = SubjectAlternativeName.uri("spiffe://cluster.local/ns/demo/sa/web")
        let certificate = try authority.issue(
            CertificateRequest(
                subjectAlternativeNames: [identity], serverUse: true, clientUse: true, lifetime: .seconds(60),
                publicKey: try PrivateKey.generate().publicKey()))
        #expect(certificate.commonName == nil)
        #expect(certificate.subjectAlternativeNames == [identity])
        try certificate.verify(against: [authority.certificate])
    }

    @Test("verification fails with the reason: a stranger's root, an expired date, a use not granted")
    func refusals() throws {
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                commonName: "web", clientUse: true, lifetime: .seconds(60), publicKey: try key.publicKey()))
        func reason(_ check: () throws(TLSFailure) -> Void) -> String {
            do throws(TLSFailure) { try check() } catch { return error.description }
            return "accepted"
        }
        #expect(
            reason { () throws(TLSFailure) in try certificate.verify(against: [stranger.certificate]) }
                == "certificate of web: unable to get local issuer certificate")
        let late = certificate.notAfter + 1
        #expect(
            reason { () throws(TLSFailure) in try certificate.verify(against: [authority.certificate], at: late) }
                == "certificate of web: certificate has expired")
        #expect(
            reason { () throws(TLSFailure) in try certificate.verify(against: [authority.certificate], use: .server) }
                .hasPrefix("certificate of web: unsuitable certificate purpose"))
        #expect(
            reason { () throws(TLSFailure) in _ = try Certificate(pem: "no certificate") }.hasPrefix(
                "reading a certificate from PEM"))
        #expect(
            reason { () throws(TLSFailure) in
                _ = try authority.issue(
                    CertificateRequest(
                        commonName: "web", subjectAlternativeNames: [.ip("10.0.0.256")], lifetime: .seconds(1),
                        publicKey: try key.publicKey()))
            }.contains("IP:10.0.0.256"))
    }

    @Test("a chain through an intermediate authority verifies only with it")
    func intermediate() throws {
        let middleKey = try PrivateKey.generate()
        let middle = CertificateAuthority(
            certificate: try authority.issue(
                CertificateRequest(
                    commonName: "middle", isAuthority: true, lifetime: .seconds(600),
                    publicKey: try middleKey.publicKey())),
            key: middleKey)
        let leaf = try middle.issue(
            CertificateRequest(
                commonName: "leaf", lifetime: .seconds(60), publicKey: try PrivateKey.generate().publicKey()))
        try leaf.verify(against: [authority.certificate], intermediates: [middle.certificate])
        #expect(throws: TLSFailure.self) { try leaf.verify(against: [authority.certificate]) }
        let bundle = try Certificate.bundle(pem: try middle.certificate.pem() + authority.certificate.pem())
        #expect(bundle.map(\.commonName) == ["middle", "test root"])
    }

    @Test("keys survive PEM, and ES256 signatures are their own only")
    func signatures() throws {
        let key = try PrivateKey(pem: try PrivateKey.generate().pem())
        let message = Array("header.payload".utf8)
        let signature = try key.signES256(message)
        #expect(signature.count == 64)
        let publicKey = try PublicKey(pem: try key.publicKey().pem())
        #expect(publicKey.isValidES256(signature, over: message))
        #expect(!publicKey.isValidES256(signature, over: message + [0]))
        #expect(!publicKey.isValidES256([], over: message))
        #expect(try !PrivateKey.generate().publicKey().isValidES256(signature, over: message))
        #expect(try key.der().count > 100)
    }
}
