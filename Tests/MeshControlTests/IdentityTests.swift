import Glibc
import KubeTypes
import MeshControl
import ProxyResources
import Synchronization
import TLS
import Testing
import Wire

@Suite struct IdentityTests {
    static func pod(_ name: String, uid: String, account: String? = "catalog") -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: name)
        pod.json[path: ["metadata", "uid"]] = .string(uid)
        if let account { pod.spec = ["serviceAccountName": .string(account)] }
        return pod
    }

    final class Clock: Sendable {
        private let seconds = Mutex(Int64(time(nil)))
        var now: Int64 { seconds.withLock { $0 } }
        func advance(_ by: Int64) { seconds.withLock { $0 += by } }
    }

    @Test("the authority of a directory is made once, closed to others, and read again")
    func authority() throws {
        let directory = temporaryDirectory()
        defer { remove(directory) }
        let path = "\(directory)/pki/mesh-ca"
        let first = try MeshAuthority.open(directory: path, trustDomain: "cluster.local")
        let second = try MeshAuthority.open(directory: path, trustDomain: "cluster.local")
        #expect(first.roots == second.roots)
        var info = stat()
        #expect(stat("\(path)/ca.key", &info) == 0)
        #expect(info.st_mode & 0o777 == 0o600)
        unlink("\(path)/ca.key")
        #expect { try MeshAuthority.open(directory: path, trustDomain: "cluster.local") } throws: {
            "\($0)".contains("ca.key: is missing beside")
        }
    }

    @Test("an identity names the account in its URI alone, is signed by the root, and fits its key")
    func identity() throws {
        let directory = temporaryDirectory()
        defer { remove(directory) }
        let issuer = IdentityIssuer(try MeshAuthority.open(directory: directory, trustDomain: "cluster.local"))
        issuer.admit(Self.pod("a", uid: "1"))
        issuer.admit(Self.pod("b", uid: "2", account: nil))
        let identity = try issuer.identity(podUID: "1")
        let certificate = try Certificate(pem: identity.certificateChain)
        #expect(certificate.subjectAlternativeNames == [.uri("spiffe://cluster.local/ns/demo/sa/catalog")])
        #expect(certificate.commonName == nil && !certificate.isAuthority)
        #expect(certificate.notAfter == identity.expires)
        #expect((23 * 3600...24 * 3600).contains(identity.expires - Int64(time(nil))))
        #expect(try certificate.publicKey().pem() == PrivateKey(pem: identity.privateKey).publicKey().pem())
        let roots = try Certificate.bundle(pem: Array(identity.trustRoots.utf8))
        try certificate.verify(against: roots, use: .client)
        try certificate.verify(against: roots, use: .server)
        let other = try Certificate(pem: try issuer.identity(podUID: "2").certificateChain)
        #expect(other.subjectAlternativeNames == [.uri("spiffe://cluster.local/ns/demo/sa/default")])
        #expect(issuer.counters.issued == 2)
    }

    @Test("openssl verifies the chain too")
    func openssl() throws {
        let directory = temporaryDirectory()
        defer { remove(directory) }
        let issuer = IdentityIssuer(try MeshAuthority.open(directory: directory, trustDomain: "cluster.local"))
        issuer.admit(Self.pod("a", uid: "1"))
        let identity = try issuer.identity(podUID: "1")
        let leaf = "\(directory)/leaf.pem"
        let file = try #require(fopen(leaf, "w"))
        fputs(identity.certificateChain, file)
        fclose(file)
        let status = system(
            "openssl verify -x509_strict -purpose sslclient -CAfile \(directory)/ca.crt \(leaf) >\(directory)/out 2>&1")
        #expect(status == 0)
    }

    @Test(
        "an identity is renewed between 40 and 50 % of its life, the same until then, and only for pods that run here")
    func rotation() throws {
        let directory = temporaryDirectory()
        defer { remove(directory) }
        let clock = Clock()
        let authority = try MeshAuthority.open(directory: directory, trustDomain: "cluster.local")
        let issuer = IdentityIssuer(authority, lifetime: .seconds(1000), now: { clock.now })
        #expect(throws: MeshIdentityFailure.self) { try issuer.identity(podUID: "1") }
        issuer.admit(Self.pod("a", uid: "1"))
        let first = try issuer.identity(podUID: "1")
        clock.advance(390)
        #expect(try issuer.identity(podUID: "1") == first)
        #expect(issuer.due() == [])
        clock.advance(120)
        #expect(issuer.due() == ["1"])
        let second = try issuer.identity(podUID: "1")
        #expect(second.privateKey != first.privateKey)
        #expect(issuer.counters.rotated == 1)
        issuer.admit(Self.pod("a", uid: "1"))
        #expect(try issuer.identity(podUID: "1") == second, "admitting again changes nothing")
        issuer.dismiss(podUID: "1")
        #expect(throws: MeshIdentityFailure.self) { try issuer.identity(podUID: "1") }
    }
}
