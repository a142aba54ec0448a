import KubeClient
import KubeTypes
import TLS
import Testing
import Wire

@testable import APIServer

@Suite("OpenID Connect")
struct OIDCTests {
    private func claims(_ url: String, _ more: JSON = [:]) -> JSON {
        let now = Timestamp.now().seconds
        var claims: JSON = [
            "iss": .string(url), "aud": ["weft"], "sub": "42", "exp": .int(now + 600), "iat": .int(now),
        ]
        for member in more.object ?? JSONObject() { claims[member.key] = member.value }
        return claims
    }

    @Test(
        "an issuer's tokens are known by its published keys, also new ones, and give name and groups with their prefixes"
    )
    func issuer() async throws {
        let issuer = try await TestIssuer.start()
        let key = try PrivateKey.generate()
        try issuer.publish(key, id: "one")
        try await withTokens({ configuration in
            var oidc = OIDCIssuer(url: issuer.url, clientID: "weft")
            oidc.usernameClaim = "email"
            oidc.usernamePrefix = "corp:"
            oidc.groupsClaim = "roles"
            oidc.groupsPrefix = "corp:"
            oidc.requiredClaims = ["tenant": "a"]
            oidc.rootCertificates = issuer.roots
            oidc.algorithms = ["ES256", "RS256"]
            configuration.access.oidc = [oidc]
        }) { api, kubectl, client in
            let person: JSON = ["email": "ann@example.test", "roles": ["dev"], "tenant": "a"]
            let good = try JSONWebToken.signed(claims(issuer.url, person), keyID: "one", by: key)
            let answer = try await client(good).raw("GET", "/api/v1/pods")
            #expect(answer.status == 403)
            #expect(String(decoding: answer.body, as: UTF8.self).contains("User \\\"corp:ann@example.test\\\""))
            _ = try await kubectl.ok(
                "create", "clusterrolebinding", "dev", "--clusterrole=view", "--group=corp:dev")
            try await poll("the binding") { try await client(good).raw("GET", "/api/v1/pods").status == 200 }
            #expect(issuer.readings == 1)

            var bad: [(String, JSON)] = []
            for (what, change) in [
                ("another audience", ["aud": "other"]), ("over", ["exp": 1000]), ("no name", ["email": .null]),
                ("another tenant", ["tenant": "b"]), ("not verified", ["email_verified": false]),
                ("groups that are none", ["roles": 7]),
            ] as [(String, JSON)] {
                var changed = person
                for member in change.object ?? JSONObject() { changed[member.key] = member.value }
                bad.append((what, changed))
            }
            for (what, changed) in bad {
                let token = try JSONWebToken.signed(claims(issuer.url, changed), keyID: "one", by: key)
                #expect(try await client(token).raw("GET", "/version").status == 401, "\(what)")
            }
            let stranger = try PrivateKey.generate()
            let forged = try JSONWebToken.signed(claims(issuer.url, person), keyID: "one", by: stranger)
            #expect(try await client(forged).raw("GET", "/version").status == 401)
            var none = good.split(separator: ".").map(String.init)
            none[0] = Base64.encodeForURL(Array(#"{"alg":"none"}"#.utf8))
            none[2] = ""
            #expect(try await client(none.joined(separator: ".")).raw("GET", "/version").status == 401)
        }
        await issuer.stop()
    }

    @Test("RS256, as most issuers sign, checked with a key and a signature of openssl's")
    func rsa() async throws {
        let directory = try temporaryDirectory("weft-oidc")
        defer { removeTree(directory) }
        let openssl = try Kubectl(home: directory, kubeconfig: "", program: "/usr/bin/openssl")
        let issuer = try await TestIssuer.start()
        let path = directory + "/rsa.pem"
        _ = try await openssl.ok("genrsa", "-out", path, "2048")
        let modulus = try await openssl.ok("rsa", "-in", path, "-noout", "-modulus")
        let digits = Array(modulus.dropFirst("Modulus=".count).filter(\.isHexDigit).utf8)
        let bytes = stride(from: 0, to: digits.count, by: 2).compactMap { place in
            UInt8(String(decoding: digits[place..<place + 2], as: UTF8.self), radix: 16)
        }
        issuer.publish([
            "kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": .string(Base64.encodeForURL(bytes)),
            "e": "AQAB",
        ])
        let header: JSON = ["alg": "RS256", "kid": "r"]
        let signed =
            Base64.encodeForURL(header.bytes) + "." + Base64.encodeForURL(claims(issuer.url).bytes)
        try writeFile(directory + "/signed", signed)
        _ = try await openssl.ok(
            "dgst", "-sha256", "-sign", path, "-out", directory + "/signature", directory + "/signed")
        let token = signed + "." + Base64.encodeForURL(try fileBytes(directory + "/signature"))
        var configuration = OIDCIssuer(url: issuer.url, clientID: "weft")
        configuration.rootCertificates = issuer.roots
        let tokens = OIDCTokens(configuration)
        guard case .accepted(let user, _) = await tokens.check(token, audiences: []) else {
            Issue.record("the token is refused")
            return
        }
        #expect(user.name == "\(issuer.url)#42" && user.groups == [User.authenticated])
        guard case .refused = await tokens.check(token.dropLast(8) + "AAAAAAAA", audiences: []) else {
            Issue.record("a changed signature is accepted")
            return
        }
        await issuer.stop()
    }
}
