import ProxyResources
import TLS
import Testing
import Wire

@testable import Proxy

@Suite struct TokenTests {
    /// Keys and tokens as another implementation makes them: `cryptography`, through a few lines of Python.
    private struct Issuer {
        let keys: String
        let tokens: [String: String]

        init() throws {
            let made = run([TokenTests.python, "-c", TokenTests.script])
            let json = try JSON(parsing: made.text)
            keys = json["jwks"]?.text ?? ""
            tokens = json["tokens"]?.stringMap ?? [:]
        }
    }

    private static let python = {
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
        return "\(root)/.build/tools/bin/python"
    }()

    private static let script = """
        import base64, json, sys, time
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
        num = lambda n, size=None: b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))
        digests = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
        r = rsa.generate_private_key(65537, 2048)
        weak = rsa.generate_private_key(65537, 1024)
        ecs = {"256": ec.generate_private_key(ec.SECP256R1()), "384": ec.generate_private_key(ec.SECP384R1()), "512": ec.generate_private_key(ec.SECP521R1())}
        ed = ed25519.Ed25519PrivateKey.generate()
        sizes = {"256": 32, "384": 48, "512": 66}
        def sign(alg, message):
            kind, size = alg[:2], alg[2:]
            if kind == "RS": return r.sign(message, padding.PKCS1v15(), digests[size])
            if kind == "PS": return r.sign(message, padding.PSS(padding.MGF1(digests[size]), digests[size].digest_size), digests[size])
            if kind == "ES":
                a, b = utils.decode_dss_signature(ecs[size].sign(message, ec.ECDSA(digests[size])))
                return a.to_bytes(sizes[size], "big") + b.to_bytes(sizes[size], "big")
            if alg == "EdDSA": return ed.sign(message)
            return b""
        def token(alg, claims={}, header={}, signer=None):
            body = {"iss": "https://issuer.test", "sub": "alice", "aud": ["shop", "x"], "exp": int(time.time()) + 600, "roles": ["reader"], "deep": {"level": 7}}
            body.update(claims)
            head = {"alg": alg, "typ": "JWT"}
            head.update(header)
            message = (b64(json.dumps(head).encode()) + "." + b64(json.dumps({k: v for k, v in body.items() if v is not None}).encode())).encode()
            return message.decode() + "." + b64((signer or (lambda m: sign(alg, m)))(message))
        keys = []
        def rsa_jwk(key, kid): n = key.public_key().public_numbers(); return {"kty": "RSA", "kid": kid, "n": num(n.n), "e": num(n.e)}
        keys.append(rsa_jwk(r, "r"))
        keys.append(rsa_jwk(weak, "weak"))
        for size, key in ecs.items():
            n = key.public_key().public_numbers()
            keys.append({"kty": "EC", "kid": "e" + size, "crv": {"256": "P-256", "384": "P-384", "512": "P-521"}[size], "x": num(n.x, sizes[size]), "y": num(n.y, sizes[size]), "use": "sig"})
        keys.append({"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": b64(ed.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))})
        keys.append({"kty": "oct", "kid": "h", "k": b64(b"secret" * 8)})
        good = {a: token(a) for a in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]}
        other = rsa.generate_private_key(65537, 2048)
        import hashlib, hmac
        out = dict(good)
        out["kid"] = token("RS256", header={"kid": "r"})
        out["no expiry"] = token("RS256", {"exp": None})
        out["skewed"] = token("RS256", {"exp": int(time.time()) - 30})
        out["jwt_expired"] = token("RS256", {"exp": int(time.time()) - 120})
        out["jwt_not_yet_valid"] = token("RS256", {"nbf": int(time.time()) + 300})
        out["jwt_issuer"] = token("RS256", {"iss": "https://other.test"})
        out["jwt_audience"] = token("RS256", {"aud": "bank"})
        out["jwt_no_key"] = token("RS256", header={"kid": "unknown"})
        out["jwt_no_key 2"] = token("ES256", header={"kid": "r"})
        out["jwt_no_key 3"] = token("RS256", header={"kid": "weak"}, signer=lambda m: weak.sign(m, padding.PKCS1v15(), hashes.SHA256()))
        out["jwt_signature"] = good["RS256"][:-8] + "AAAAAAAA"
        out["jwt_signature 2"] = token("RS256", signer=lambda m: other.sign(m, padding.PKCS1v15(), hashes.SHA256()))
        out["jwt_signature 3"] = token("ES256", signer=lambda m: b"\\0" * 64)
        out["jwt_signature 4"] = token("RS256", signer=lambda m: sign("PS256", m))
        out["jwt_algorithm"] = token("none", signer=lambda m: b"")
        pem = r.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        out["jwt_algorithm 2"] = token("HS256", signer=lambda m: hmac.new(pem, m, hashlib.sha256).digest())
        out["jwt_algorithm 3"] = token("RS256", header={"crit": ["b64"], "b64": False})
        out["jwt_malformed"] = "one.two"
        out["jwt_malformed 2"] = "a.b.c"
        out["jwt_malformed 3"] = token("RS256", {"exp": "tomorrow"})
        out["jwt_too_long"] = token("RS256", {"pad": "x" * 9000})
        print(json.dumps({"jwks": {"keys": keys}, "tokens": out}))
        """

    @Test("tokens of another implementation are believed, and every wrong one is refused for its own reason")
    func verdicts() throws {
        let issuer = try Issuer()
        let verifier = TokenVerifier(TokenRule(issuer: "https://issuer.test", audiences: ["shop"], keys: issuer.keys))
        #expect(issuer.tokens.count > 30)
        var now = 0.0
        for (name, token) in issuer.tokens {
            let part = token.split(separator: ".").dropFirst().first.map(String.init) ?? ""
            let claims = Base64.decodeFromURL(part).flatMap { try? JSON(parsing: $0) }
            if name == "RS256", let expires = claims?["exp"]?.double { now = expires - 600 }
        }
        for (name, token) in issuer.tokens.sorted(by: { $0.key < $1.key }) {
            var reason = ""
            do throws(TokenFault) {
                let good = try verifier.check(token, now: now)
                #expect(good.claims["sub"] == "alice")
            } catch { reason = error.rawValue }
            let expected = name.hasPrefix("jwt_") ? name.split(separator: " ")[0] : ""
            #expect(reason == expected, "\(name)")
        }
    }

    @Test(
        "tokens in their places are believed, shown to policies, told to the app, and taken off; bad ones get 401; none is nobody"
    )
    func gateway() throws {
        let issuer = try Issuer()
        let good = try #require(issuer.tokens["ES256"])
        let origin = Origin()
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        configuration.workload.security.tokenRules = [
            TokenRule(
                name: "demo/login", issuer: "https://issuer.test", keys: issuer.keys, payloadHeader: "x-payload",
                claimHeaders: [.init(header: "x-sub", claim: "sub"), .init(header: "x-level", claim: "deep.level")]),
            TokenRule(
                name: "demo/places", issuer: "https://issuer.test", keys: issuer.keys,
                headers: [.init(name: "x-token", prefix: "T ")], parameters: ["t"], cookies: ["session"],
                forwardsToken: true),
        ]
        configuration.workload.security.policies = [
            try policy(
                #"{"name":"demo/private","action":"DENY","rules":[{"from":[{"notRequestPrincipals":["*"]}],"to":[{"paths":["/name/private*"]}]}]}"#
            ),
            try policy(
                #"{"name":"demo/readers","action":"DENY","rules":[{"to":[{"paths":["/name/read"]}],"when":[{"key":"request.auth.claims[roles]","notValues":["reader"]}]}]}"#
            ),
        ]
        let generation = try gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } })
        let visitor = Visitor(port: gateway.port)
        func get(_ path: String, _ headers: String = "") -> Int? { visitor.get(path, headers)?.status }
        #expect(get("/name", "x-sub: root\r\nX-Payload: me\r\n") == 200)
        #expect(header("x-sub", origin.lastHead) == nil && header("x-payload", origin.lastHead) == nil)
        #expect(get("/name/private") == 403)
        for _ in 0..<3 { #expect(get("/name/private", "authorization: Bearer \(good)\r\n") == 200) }
        #expect(header("x-sub", origin.lastHead) == "alice" && header("x-level", origin.lastHead) == "7")
        #expect(header("x-payload", origin.lastHead) == String(good.split(separator: ".")[1]))
        #expect(header("authorization", origin.lastHead) == nil)
        #expect(get("/name/read") == 403)
        #expect(get("/name/read", "authorization: bearer \(good)\r\nx-sub: root\r\n") == 200)
        #expect(header("x-sub", origin.lastHead) == "alice")
        #expect(get("/name/private?a=1&t=\(good)") == 200)
        #expect(get("/name/private?access_token=\(good)") == 200)
        #expect(get("/name/private", "cookie: a=b; session=\(good)\r\n") == 200)
        #expect(get("/name/private", "x-token: T \(good)\r\n") == 200)
        #expect(header("x-token", origin.lastHead) == "T \(good)")
        #expect(get("/name/private", "x-token: \(good)\r\n") == 403)
        #expect(get("/name", "authorization: Basic abc\r\n") == 200)
        let refused = visitor.get("/name", "authorization: Bearer \(issuer.tokens["jwt_signature"] ?? "")\r\n")
        #expect(refused?.status == 401 && refused?.reason == "jwt_invalid")
        #expect(refused.flatMap { header("www-authenticate", $0.head) } == #"Bearer error="invalid_token""#)
        for (name, token) in issuer.tokens where name.hasPrefix("jwt_") && !name.hasPrefix("jwt_audience") {
            #expect(get("/name", "authorization: Bearer \(token)\r\n") == 401, "\(name)")
        }
        // Keys that are gone take what was believed by them along.
        for place in configuration.workload.security.tokenRules.indices {
            configuration.workload.security.tokenRules[place].keys = ""
        }
        try gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { get("/name", "authorization: Bearer \(good)\r\n") == 401 })
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("the tokens kept are bounded, and those not used for longest go")
    func cache() {
        var cache = TokenCache()
        func entry(_ cache: inout TokenCache, _ number: Int, size: Int, now: UInt64, expires: UInt64 = .max) {
            let bytes = [UInt8](repeating: UInt8(number & 255), count: size) + Array("\(number)".utf8)
            let made = plain(bytes)
            _ = cache.keep(
                CachedToken(
                    hash: TokenCache.hash(made, bytes.count, 1), rule: 1, bytes: made, count: bytes.count,
                    expires: expires,
                    used: now, token: LiveToken(.object(JSONObject())), grants: plain([UInt8]()), grantsCount: 0))
        }
        func has(_ cache: inout TokenCache, _ number: Int, size: Int, now: UInt64) -> Bool {
            let bytes = [UInt8](repeating: UInt8(number & 255), count: size) + Array("\(number)".utf8)
            return bytes.withUnsafeBufferPointer { space in
                guard let start = space.baseAddress else { return false }
                return cache.find(TokenCache.hash(start, space.count, 1), start, space.count, 1, now: now) != nil
            }
        }
        for number in 0..<2000 { entry(&cache, number, size: 10, now: UInt64(number)) }
        let count = cache.count
        #expect(count == TokenCache.most)
        let (first, last) = (has(&cache, 0, size: 10, now: 3000), has(&cache, 1999, size: 10, now: 3000))
        #expect(!first && last)
        for number in 0..<600 { entry(&cache, number, size: 8000, now: UInt64(4000 + number)) }
        let bytes = cache.bytes
        #expect(bytes <= TokenCache.mostBytes)
        entry(&cache, 7, size: 5, now: 9000, expires: 9100)
        let (before, after) = (has(&cache, 7, size: 5, now: 9099), has(&cache, 7, size: 5, now: 9100))
        #expect(before && !after)
    }
}
