import KubeClient
import KubeTypes
import TLS
import Testing
import Wire

@testable import APIServer

/// A server, its administrator's API, and a way to ask it with a token.
func withTokens(
    _ configure: (inout APIServerConfiguration) -> Void = { _ in },
    _ body: (InProcessAPI, Kubectl, (String) throws -> HTTPAPI) async throws -> Void
) async throws {
    try await withKubectl(configure) { kubectl, api in
        try await body(api, kubectl) { token in
            try HTTPAPI(
                try KubeconfigFile.load(try otherKubeconfig(kubectl.home, user: "    token: \(token)\n")))
        }
    }
}

private func secret(_ name: String, namespace: String = "default", type: String, _ data: [String: String]) -> KubeObject
{
    var secret = KubeObject(apiVersion: "v1", kind: "Secret", namespace: namespace, name: name)
    secret.json["type"] = .string(type)
    secret.json["stringData"] = JSON(data)
    return secret
}

@Suite("Tokens")
struct TokenTests {
    private let robot = ObjectKey(namespace: "default", name: "default")

    @Test("a token bound to a pod says so, is over with the pod, and is not for other accounts' pods")
    func boundToPod() async throws {
        try await withTokens { api, kubectl, client in
            var made = pod("web")
            made.json[path: ["spec", "serviceAccountName"]] = "default"
            made = try await api.create(.pods, made)
            _ = try await api.create(.nodes, KubeObject(apiVersion: "v1", kind: "Node", name: "n1"))
            try await api.bind(made.key, uid: made.uid, node: "n1")
            let token = try await kubectl.ok(
                "create", "token", "default", "--bound-object-kind=Pod", "--bound-object-name=web",
                "--bound-object-uid=\(made.uid)", "--duration=10m")
            let parsed = try #require(JSONWebToken(token.trimmed))
            let inner = parsed.claims["kubernetes.io"]
            #expect(inner?["pod"]?["name"] == "web" && inner?["node"]?["name"] == "n1")
            #expect(parsed.claims["exp"]?.int == (parsed.claims["iat"]?.int ?? 0) + 600)
            let other = try client(token.trimmed)
            #expect(try await other.raw("GET", "/apis").status == 200)
            let me = try JSON(
                parsing: try await other.raw(
                    "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                    headers: [("content-type", "application/json")],
                    body: Array(#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#.utf8)
                ).body)
            let user = me["status"]?["userInfo"]
            #expect(user?["username"] == "system:serviceaccount:default:default")
            #expect(user?["extra"]?["authentication.kubernetes.io/pod-name"] == ["web"])
            #expect(user?["extra"]?["authentication.kubernetes.io/node-name"] == ["n1"])
            try await api.delete(.pods, made.key, DeleteOptions(gracePeriodSeconds: 0))
            #expect(try await other.raw("GET", "/apis").status == 401)

            _ = try await api.create(
                .serviceAccounts,
                KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "other"))
            _ = try await api.create(.pods, pod("solo"))
            let foreign = try await kubectl(
                "create", "token", "other", "--bound-object-kind=Pod", "--bound-object-name=solo")
            #expect(foreign.code == 1 && foreign.errors.contains("different serviceaccount name"), "\(foreign.errors)")
            let stale = try await kubectl(
                "create", "token", "default", "--bound-object-kind=Pod", "--bound-object-name=solo",
                "--bound-object-uid=1")
            #expect(stale.code == 1 && stale.errors.contains("does not match the UID in record"))
            let brief = try await kubectl("create", "token", "default", "--duration=1m")
            #expect(brief.code == 1 && brief.errors.contains("may not specify a duration less than 10 minutes"))
        }
    }

    @Test("a token is for its audiences; TokenReview says whose it is and for whom")
    func audiences() async throws {
        try await withTokens { api, _, client in
            let mine = try await api.token(robot, [:])
            let theirs = try await api.token(robot, ["audiences": ["vault"]])
            #expect(try await client(mine).raw("GET", "/apis").status == 200)
            #expect(try await client(theirs).raw("GET", "/apis").status == 401)
            func review(_ token: String, _ audiences: [String]) async throws -> JSON {
                let type = ResourceType(
                    group: "authentication.k8s.io", version: "v1", resource: "tokenreviews", kind: "TokenReview",
                    isNamespaced: false)
                var object = KubeObject(apiVersion: type.apiVersion, kind: type.kind, name: "")
                object.json["metadata"] = [:]
                object.json["spec"] = [
                    "token": .string(token), "audiences": .array(audiences.map(JSON.string)),
                ]
                return try await api.create(type, object).status
            }
            let good = try await review(theirs, ["vault", "other"])
            #expect(good["authenticated"] == true && good["audiences"] == ["vault"])
            #expect(good["user"]?["username"] == "system:serviceaccount:default:default")
            let wrong = try await review(theirs, ["other"])
            #expect(wrong["authenticated"] == nil && wrong["error"]?.string?.contains("audiences") == true)
            let junk = try await review("a.b.c", [])
            #expect(junk["authenticated"] == nil && junk["error"] == "invalid bearer token")
            // A good token with one letter of its claims changed.
            var parts = mine.split(separator: ".").map(String.init)
            let letter = parts[1].removeFirst()
            parts[1] = (letter == "e" ? "f" : "e") + parts[1]
            #expect(try await review(parts.joined(separator: "."), [])["authenticated"] == nil)
        }
    }

    @Test("the discovery documents let others check a token: by kid, with the published key")
    func discovery() async throws {
        try await withTokens { api, kubectl, client in
            let token = try await api.token(robot, [:])
            let other = try client(token)
            let configuration = try JSON(
                parsing: try await other.raw("GET", "/.well-known/openid-configuration").body)
            #expect(configuration["issuer"]?.string == AccountTokens.issuer)
            #expect(configuration["jwks_uri"]?.string?.hasSuffix("/openid/v1/jwks") == true)
            let answer = try await other.raw("GET", "/openid/v1/jwks")
            #expect(answer.headers["content-type"] == "application/jwk-set+json")
            let keys = try JSON(parsing: answer.body)["keys"]?.array ?? []
            let parsed = try #require(JSONWebToken(token))
            let found = try #require(keys.compactMap { OIDCTokens.key($0) }.first)
            #expect(parsed.header["kid"]?.string == found.id)
            #expect(found.key.isValid(parsed.signature, over: parsed.signed, .es256))
            #expect(try await kubectl("get", "--raw", "/openid/v1/jwks", "--as=ann").code == 1)
        }
    }

    @Test("a secret for an account gets its token, works as long as it is there, and goes with the account")
    func secrets() async throws {
        try await withTokens { api, _, client in
            _ = try await api.create(
                .serviceAccounts,
                KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "legacy"))
            var wanted = secret("legacy-token", type: SecretTokens.secretType, [:])
            wanted.json["stringData"] = nil
            wanted.annotations["kubernetes.io/service-account.name"] = "legacy"
            let made = try await api.create(.secrets, wanted)
            var filled = made
            try await poll("the secret's token") {
                filled = try await api.get(.secrets, made.key)
                return filled.json["data"]?["token"] != nil
            }
            let data = filled.json["data"]
            func text(_ name: String) -> String {
                String(decoding: data?[name]?.string.flatMap(Base64.decode) ?? [], as: UTF8.self)
            }
            #expect(text("namespace") == "default" && text("ca.crt").hasPrefix("-----BEGIN CERTIFICATE"))
            let other = try client(text("token"))
            #expect(try await other.raw("GET", "/apis").status == 200)
            try await api.delete(.serviceAccounts, ObjectKey(namespace: "default", name: "legacy"))
            #expect(try await other.raw("GET", "/apis").status == 401)
            try await poll("the secret's end") { await isMissing(api, .secrets, made.key) }
        }
    }

    @Test("a bootstrap token lets a machine in as its groups, while it is good and meant for that")
    func bootstrap() async throws {
        try await withTokens { api, _, client in
            let data = [
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
                "auth-extra-groups": "system:bootstrappers:demo", "expiration": "2199-01-01T00:00:00Z",
            ]
            _ = try await api.create(
                .secrets,
                secret(
                    "bootstrap-token-abcdef", namespace: "kube-system", type: "bootstrap.kubernetes.io/token", data))
            let machine = try client("abcdef.0123456789abcdef")
            let denied = try await machine.raw("GET", "/api/v1/nodes")
            #expect(denied.status == 403)
            #expect(String(decoding: denied.body, as: UTF8.self).contains("system:bootstrap:abcdef"))
            #expect(try await client("abcdef.0123456789abcdee").raw("GET", "/apis").status == 401)
        }
    }

    @Test("a bootstrap token that is over, wrong, or not for this is refused, with the reason")
    func bootstrapRules() throws {
        func check(_ change: (inout [String: String]) -> Void, type: String = "bootstrap.kubernetes.io/token") -> String
        {
            var data = [
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
            ]
            change(&data)
            var object = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "kube-system", name: "x")
            object.json["type"] = .string(type)
            object.json["data"] = JSON(data.mapValues { Base64.encode(Array($0.utf8)) })
            let now = Timestamp(seconds: 1_800_000_000)
            switch BootstrapTokens.user(object, id: "abcdef", secret: "0123456789abcdef", now: now) {
            case .accepted(let user, _): return user.groups.joined(separator: ",")
            case .refused(let why): return why
            case .unknown: return "unknown"
            }
        }
        #expect(check { _ in } == "system:bootstrappers,system:authenticated")
        #expect(check { $0["expiration"] = "2020-01-01T00:00:00Z" }.contains("expired"))
        #expect(check { $0["expiration"] = "tomorrow" }.contains("expired"))
        #expect(check { $0["usage-bootstrap-authentication"] = "false" }.contains("not marked"))
        #expect(check { $0["token-secret"] = "0123456789abcdeX" }.contains("does not match"))
        #expect(check { $0["auth-extra-groups"] = "system:masters" }.contains("auth-extra-groups"))
        #expect(check({ _ in }, type: "Opaque") == "unknown")
        #expect(BootstrapTokens.parts("abcdef.0123456789abcdef") != nil)
        for text in ["abcdef", "abcdef.short", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef.x"] {
            #expect(BootstrapTokens.parts(text) == nil)
        }
    }
}

extension String {
    /// Without the newline a command's output ends with.
    fileprivate var trimmed: String { hasSuffix("\n") ? String(dropLast()) : self }
}
