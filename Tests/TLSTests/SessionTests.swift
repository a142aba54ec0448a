import TLS
import Testing

/// Moves ciphertext between two sessions until both are established or one refuses.
func shakeHands(_ client: TLSSession, _ server: TLSSession) throws {
    for _ in 0..<10 {
        _ = try client.handshake()
        move(from: client, to: server)
        _ = try server.handshake()
        move(from: server, to: client)
        // In TLS 1.3 the client is done before the server saw its certificate.
        if client.isEstablished, server.isEstablished { return }
    }
    Issue.record("the handshake did not end")
}

func move(from sender: TLSSession, to receiver: TLSSession) {
    var space = [UInt8](repeating: 0, count: sender.pendingOutput)
    let count = space.withUnsafeMutableBytes { sender.takeOutput(into: $0) }
    space[..<count].withUnsafeBytes { receiver.receive($0) }
}

func readAll(_ session: TLSSession) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var space = [UInt8](repeating: 0, count: 4096)
    while case .bytes(let count) = try space.withUnsafeMutableBytes({ try session.read(into: $0) }) {
        bytes += space[..<count]
    }
    return bytes
}

@Suite("TLS sessions")
struct SessionTests {
    let authority: CertificateAuthority
    let server: TLSContext

    init() throws {
        authority = try CertificateAuthority.create(commonName: "root")
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                commonName: "server", subjectAlternativeNames: [.dns("localhost"), .ip("127.0.0.1")], serverUse: true,
                lifetime: .seconds(60), publicKey: try key.publicKey()))
        server = try TLSContext(
            .server, .server(certificates: [certificate], key: key, clientRoots: [authority.certificate]))
    }

    func client(from issuer: CertificateAuthority? = nil, roots: [Certificate]? = nil) throws -> TLSContext {
        var configuration = TLSConfiguration.client(roots: roots ?? [authority.certificate])
        if let issuer {
            let key = try PrivateKey.generate()
            let request = CertificateRequest(
                commonName: "admin", organizations: ["system:masters"], clientUse: true, lifetime: .seconds(60),
                publicKey: try key.publicKey())
            configuration.certificates = [try issuer.issue(request)]
            configuration.key = key
        }
        return try TLSContext(.client, configuration)
    }

    @Test(
        "both ends agree, see each other's names, and carry bytes of any size", arguments: ["localhost", "127.0.0.1"])
    func agree(name: String) throws {
        let one = try TLSSession(try client(from: authority), serverName: name)
        let other = try TLSSession(server)
        try shakeHands(one, other)
        #expect(other.peerCertificate?.commonName == "admin")
        #expect(other.peerCertificate?.organizations == ["system:masters"])
        #expect(one.peerCertificate?.commonName == "server")
        #expect(one.applicationProtocol == "http/1.1" && other.applicationProtocol == "http/1.1")
        #expect(other.requestedName == (name == "localhost" ? name : nil))
        let message = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try message.withUnsafeBytes { try one.write($0) }
        move(from: one, to: other)
        #expect(try readAll(other) == message)
        one.shutDown()
        move(from: one, to: other)
        var space = [UInt8](repeating: 0, count: 16)
        #expect(try space.withUnsafeMutableBytes { try other.read(into: $0) } == .ended)
    }

    @Test("bytes are encrypted into lent memory, and read out of it in any pieces", arguments: [1, 999, 40_000])
    func lentMemory(piece: Int) throws {
        let one = try TLSSession(try client(), serverName: "localhost")
        let other = try TLSSession(server)
        try shakeHands(one, other)
        let message = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 29) }
        var cipher = [UInt8](repeating: 0, count: TLSSession.mostCiphertext(of: message.count))
        let count = try message.withUnsafeBytes { plain in
            try cipher.withUnsafeMutableBytes { try one.write(plain, into: $0) }
        }
        #expect(count > message.count && one.pendingOutput == 0)
        var read: [UInt8] = []
        for start in stride(from: 0, to: count, by: piece) {
            cipher[start..<min(count, start + piece)].withUnsafeBytes { bytes in
                // Every second time what has come is left for the next.
                other.receive(bytes) { if (start / piece) % 2 == 1 { read += (try? readAll(other)) ?? [] } }
            }
        }
        read += try readAll(other)
        #expect(read == message && other.waitingInput == 0)
    }

    @Test("what does not fit into lent memory waits, in order")
    func tooLittleLent() throws {
        let one = try TLSSession(try client(), serverName: "localhost")
        let other = try TLSSession(server)
        try shakeHands(one, other)
        let message = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 23) }
        var cipher = [UInt8](repeating: 0, count: 40_000)
        let count = try message.withUnsafeBytes { plain in
            try cipher.withUnsafeMutableBytes { try one.write(plain, into: $0) }
        }
        #expect(count > 0 && count + one.pendingOutput > message.count)
        cipher[..<count].withUnsafeBytes { other.receive($0) }
        move(from: one, to: other)
        #expect(try readAll(other) == message)
    }

    @Test("a client without a certificate is let in without a name")
    func anonymous() throws {
        let one = try TLSSession(try client(), serverName: "localhost")
        let other = try TLSSession(server)
        try shakeHands(one, other)
        #expect(other.peerCertificate == nil)
    }

    @Test("a client with a stranger's certificate is refused")
    func stranger() throws {
        let one = try TLSSession(
            try client(from: CertificateAuthority.create(commonName: "stranger")), serverName: "localhost")
        let other = try TLSSession(server)
        #expect(throws: TLSFailure.self) { try shakeHands(one, other) }
    }

    @Test("a server with another name or another root is refused")
    func wrongServer() throws {
        let misnamed = try TLSSession(try client(), serverName: "example.com")
        let refusal = #expect(throws: TLSFailure.self) { try shakeHands(misnamed, try TLSSession(server)) }
        #expect(refusal?.description == "TLS handshake: certificate verify failed, hostname mismatch")
        let stranger = try CertificateAuthority.create(commonName: "stranger")
        let distrusting = try TLSSession(try client(roots: [stranger.certificate]), serverName: "localhost")
        #expect(throws: TLSFailure.self) { try shakeHands(distrusting, try TLSSession(server)) }
    }

    @Test("random bytes end a handshake with an error, not a crash")
    func noise() throws {
        for length in [1, 5, 100, 5000] {
            let other = try TLSSession(server)
            let noise = (0..<length).map { _ in UInt8.random(in: 0...255) }
            noise.withUnsafeBytes { other.receive($0) }
            if length >= 100 {
                #expect(throws: TLSFailure.self) { _ = try other.handshake() }
            } else {
                _ = try? other.handshake()
            }
        }
    }
}
