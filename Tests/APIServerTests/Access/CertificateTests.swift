import KubeClient
import KubeTypes
import TLS
import Testing
import Wire

@testable import APIServer

@Suite("Certificates by request")
struct CertificateTests {
    /// A request made by openssl, as a CertificateSigningRequest.
    private func request(
        _ openssl: Kubectl, _ name: String, subject: String, signer: String, usages: [String], names: String = "",
        seconds: Int? = nil
    ) async throws -> (object: KubeObject, key: String) {
        let key = "\(openssl.home)/\(name).key"
        let file = "\(openssl.home)/\(name).csr"
        if names.isEmpty {
            _ = try await openssl.ok(
                "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", file, "-subj", subject)
        } else {
            _ = try await openssl.ok(
                "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", file, "-subj", subject,
                "-addext",
                "subjectAltName=\(names)")
        }
        var object = KubeObject(
            apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", name: name)
        object.json["spec"] = [
            "request": .string(Base64.encode(try fileBytes(file))), "signerName": .string(signer),
            "usages": .array(usages.map(JSON.string)),
        ]
        if let seconds { object.json[path: ["spec", "expirationSeconds"]] = .int(Int64(seconds)) }
        return (object, key)
    }

    private func certificate(_ api: InProcessAPI, _ name: String) async throws -> Certificate {
        var pem: [UInt8] = []
        try await poll("the certificate of \(name)") {
            let found = try await api.get(.certificateSigningRequests, ObjectKey(name: name))
            pem = found.status["certificate"]?.string.flatMap(Base64.decode) ?? []
            return !pem.isEmpty
        }
        return try Certificate(pem: pem)
    }

    @Test(
        "kubectl approves: the certificate lets its holder in under its name, for the time asked; denied, there is none"
    )
    func approving() async throws {
        try await withKubectl { kubectl, api in
            let openssl = try Kubectl(home: kubectl.home, kubeconfig: "", program: "/usr/bin/openssl")
            let client = "kubernetes.io/kube-apiserver-client"
            let (object, key) = try await request(
                openssl, "ann", subject: "/O=team/CN=ann", signer: client,
                usages: ["client auth", "digital signature"],
                seconds: 7200)
            let made = try await api.create(.certificateSigningRequests, object)
            #expect(made.spec["username"] == "kubernetes-admin")
            #expect(try await kubectl.ok("get", "csr", "ann").contains("Pending"))
            #expect(try await kubectl.ok("certificate", "approve", "ann").contains("approved"))
            let issued = try await certificate(api, "ann")
            #expect(issued.commonName == "ann" && issued.organizations == ["team"])
            #expect(issued.notAfter - issued.notBefore <= 7200 + 120)
            #expect(try await kubectl.ok("get", "csr", "ann").contains("Approved,Issued"))
            let pem = Base64.encode(try issued.pem())
            let file = try otherKubeconfig(
                kubectl.home,
                user:
                    "    client-certificate-data: \(pem)\n    client-key-data: \(Base64.encode(try fileBytes(key)))\n")
            let ann = try Kubectl(home: kubectl.home, kubeconfig: file)
            let me = try await ann.ok("auth", "whoami")
            #expect(me.contains("ann") && me.contains("team") && me.contains("X509SHA256="))
            #expect(try await ann("get", "pods").errors.contains("User \"ann\" cannot list"))

            let (other, _) = try await request(
                openssl, "eve", subject: "/CN=eve", signer: client, usages: ["client auth"])
            _ = try await api.create(.certificateSigningRequests, other)
            #expect(try await kubectl.ok("certificate", "deny", "eve").contains("denied"))
            #expect(try await kubectl.ok("get", "csr", "eve").contains("Denied"))
            let denied = try await api.get(.certificateSigningRequests, ObjectKey(name: "eve"))
            #expect(denied.status["certificate"] == nil)
            #expect(try await kubectl("certificate", "approve", "eve").code == 1)
        }
    }

    @Test(
        "who may not approve for a signer cannot; nobody becomes an administrator by a certificate; nonsense is refused"
    )
    func rules() async throws {
        try await withKubectl { kubectl, api in
            let openssl = try Kubectl(home: kubectl.home, kubeconfig: "", program: "/usr/bin/openssl")
            let client = "kubernetes.io/kube-apiserver-client"
            let (object, _) = try await request(
                openssl, "ann", subject: "/CN=ann", signer: client, usages: ["client auth"])
            _ = try await api.create(.certificateSigningRequests, object)
            let text = """
                apiVersion: rbac.authorization.k8s.io/v1
                kind: ClusterRole
                metadata: {name: approver}
                rules:
                - {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [get, list]}
                - {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval], verbs: [update]}
                - {apiGroups: [certificates.k8s.io], resources: [signers], resourceNames: ["example.test/*"], verbs: [approve]}

                """
            _ = try await kubectl.ok("apply", "-f", "-", input: text)
            _ = try await kubectl.ok("create", "clusterrolebinding", "approver", "--clusterrole=approver", "--user=bob")
            try await poll { try await kubectl("get", "csr", "--as=bob").code == 0 }
            let refused = try await kubectl("certificate", "approve", "ann", "--as=bob")
            #expect(
                refused.errors.contains("user not permitted to approve requests with signerName \"\(client)\""),
                "\(refused.errors)")
            let (others, _) = try await request(
                openssl, "theirs", subject: "/CN=x", signer: "example.test/own", usages: ["client auth"])
            _ = try await api.create(.certificateSigningRequests, others)
            #expect(try await kubectl("certificate", "approve", "theirs", "--as=bob").code == 0)

            let (master, _) = try await request(
                openssl, "master", subject: "/O=system:masters/CN=eve", signer: client, usages: ["client auth"])
            let forbidden = await failure { () throws(APIFailure) in
                _ = try await api.create(.certificateSigningRequests, master)
            }
            #expect(forbidden?.code == 403 && forbidden?.message.contains("system:masters") == true)
            for (path, change) in [
                ("spec.request", ["request": "AAAA"]), ("spec.usages", ["usages": []]),
                ("spec.usages[0]", ["usages": ["everything"]]), ("spec.signerName", ["signerName": "mine"]),
                ("spec.signerName", ["signerName": "kubernetes.io/legacy-unknown"]),
                ("spec.expirationSeconds", ["expirationSeconds": 10]),
            ] as [(String, JSON)] {
                var bad = object
                bad.name = "bad"
                for member in change.object ?? JSONObject() { bad.json[path: ["spec", member.key]] = member.value }
                let wanted = bad
                let invalid = await failure { () throws(APIFailure) in
                    _ = try await api.create(.certificateSigningRequests, wanted)
                }
                #expect(
                    invalid?.code == 422 && invalid?.message.contains(path) == true,
                    "\(path): \(invalid?.message ?? "")")
            }
        }
    }

    @Test("a node's certificate is approved by itself for who may join; its serving certificate must be for itself")
    func nodes() async throws {
        try await withKubectl { kubectl, api in
            let openssl = try Kubectl(home: kubectl.home, kubeconfig: "", program: "/usr/bin/openssl")
            _ = try await kubectl.ok(
                "create", "clusterrolebinding", "join", "--group=system:bootstrappers",
                "--clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient")
            _ = try await kubectl.ok(
                "create", "clusterrolebinding", "joiners", "--group=system:bootstrappers",
                "--clusterrole=system:node-bootstrapper")
            try await poll {
                try await kubectl(
                    "auth", "can-i", "create", "certificatesigningrequests", "--as=m", "--as-group=system:bootstrappers"
                ).output == "yes\n"
            }
            let usages = ["digital signature", "client auth"]
            let (object, _) = try await request(
                openssl, "n9", subject: "/O=system:nodes/CN=system:node:n9",
                signer: CertificateSigner.kubeletClient.rawValue,
                usages: usages)
            _ = try await kubectl.ok(
                "create", "-f", "-", "--as=m", "--as-group=system:bootstrappers", input: object.json.text)
            let issued = try await certificate(api, "n9")
            #expect(issued.commonName == "system:node:n9")
            let found = try await api.get(.certificateSigningRequests, ObjectKey(name: "n9"))
            #expect(found.status["conditions"]?[0]?["reason"] == "AutoApproved")

            // Approved by hand, but not a node's: the signer says why it does not sign.
            let (wrong, _) = try await request(
                openssl, "wrong", subject: "/CN=ann", signer: CertificateSigner.kubeletClient.rawValue, usages: usages)
            _ = try await api.create(.certificateSigningRequests, wrong)
            _ = try await kubectl.ok("certificate", "approve", "wrong")
            try await poll("the signer's refusal") {
                let conditions = try await api.get(.certificateSigningRequests, ObjectKey(name: "wrong")).status[
                    "conditions"]
                return conditions?.array?.contains { $0["reason"] == "SignerValidationFailure" } == true
            }

            let serving = CertificateSigner.kubeletServing
            let (mine, _) = try await request(
                openssl, "serving", subject: "/O=system:nodes/CN=system:node:n9", signer: serving.rawValue,
                usages: ["digital signature", "server auth"], names: "DNS:n9,IP:10.0.0.9")
            let parsed = try SigningRequest(pem: Base64.decode(mine.spec["request"]?.string ?? "") ?? [])
            let right = ["digital signature", "server auth"]
            #expect(serving.objection(parsed, usages: right, username: "system:node:n9") == nil)
            #expect(serving.objection(parsed, usages: right, username: "system:node:n8") != nil)
            #expect(serving.objection(parsed, usages: right + ["client auth"], username: "system:node:n9") != nil)
            #expect(serving.objection(parsed, usages: ["digital signature"], username: "system:node:n9") != nil)
            #expect(CertificateSigner.kubeletClient.objection(parsed, usages: usages, username: "m") != nil)
        }
    }
}
