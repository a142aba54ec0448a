import NIOHTTP1
import Synchronization
import TLS
import Transport
import Wire

/// An OpenID Connect issuer on loopback, with a certificate of its own authority.
final class TestIssuer: Sendable {
    /// What it publishes, and how often that was read.
    private final class Keys: Sendable {
        let published = Mutex<[JSON]>([])
        let readings = Mutex(0)
    }

    let url: String
    /// By which its server is known, PEM.
    let roots: [UInt8]
    private let server: HTTPServer
    private let keys: Keys

    var readings: Int { keys.readings.withLock { $0 } }

    private init(url: String, roots: [UInt8], server: HTTPServer, keys: Keys) {
        self.url = url
        self.roots = roots
        self.server = server
        self.keys = keys
    }

    static func start() async throws -> TestIssuer {
        let authority = try CertificateAuthority.create(commonName: "issuer-ca")
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                commonName: "issuer", subjectAlternativeNames: [.ip("127.0.0.1")], serverUse: true,
                lifetime: .seconds(3600), publicKey: try key.publicKey()))
        let tls = try TLSContext(.server, .server(certificates: [certificate], key: key, clientRoots: []))
        let (descriptor, port) = try loopbackListener()
        let base = "https://127.0.0.1:\(port)"
        let keys = Keys()
        let server = HTTPServer(HTTPServer.Configuration(tls: tls)) { request, responder in
            var json: JSON?
            switch request.target {
            case "/realm/.well-known/openid-configuration":
                json = ["issuer": .string(base + "/realm"), "jwks_uri": .string(base + "/keys")]
            case "/keys":
                keys.readings.withLock { $0 += 1 }
                json = ["keys": .array(keys.published.withLock { $0 })]
            default: break
            }
            guard let json else {
                await responder.respond(.notFound)
                return
            }
            await responder.respond(.ok, ["content-type": "application/json"], json.bytes)
        }
        try await server.listen(on: descriptor)
        return TestIssuer(
            url: base + "/realm", roots: try authority.certificate.pem(), server: server, keys: keys)
    }

    /// Publishes a P-256 key beside those there are.
    func publish(_ key: PrivateKey, id: String) throws {
        let point = try key.publicKey().der().suffix(64)
        let json: JSON = [
            "kty": "EC", "crv": "P-256", "use": "sig", "kid": .string(id),
            "x": .string(Base64.encodeForURL(point.prefix(32))), "y": .string(Base64.encodeForURL(point.suffix(32))),
        ]
        publish(json)
    }

    func publish(_ key: JSON) { keys.published.withLock { $0.append(key) } }

    func stop() async { await server.stop() }
}
