import APIServer
import Glibc
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@Suite("API aggregation")
struct AggregationTests {
    @Test("what the server answers itself is listed, one APIService for each version of a group")
    func local() async throws {
        try await withKubectl { kubectl, _ in
            let isListed = try await soon { () async throws -> Bool? in
                let table = try await kubectl.ok("get", "apiservices")
                let lines = table.split(separator: "\n").filter { $0.contains(" Local ") && $0.contains(" True ") }
                return lines.contains { $0.hasPrefix("v1.apps ") } && lines.contains { $0.hasPrefix("v1. ") }
                    && lines.contains { $0.hasPrefix("v1.gateway.networking.k8s.io ") } ? true : nil
            }
            #expect(isListed == true)
        }
    }

    /// An APIService of `group`, answered by `service` of the namespace `default`.
    private func manifest(_ group: String, by service: String, port: String, trust: String) -> String {
        """
        ---
        apiVersion: apiregistration.k8s.io/v1
        kind: APIService
        metadata: {name: v1.\(group)}
        spec: {group: \(group), version: v1, groupPriorityMinimum: 1000, versionPriority: 15, \(trust),
          service: {name: \(service), namespace: default, port: \(port)}}

        """
    }

    /// A service at this machine itself.
    private func local(_ service: String) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: \(service), namespace: default}
        spec: {type: ExternalName, externalName: localhost}

        """
    }

    private func register(_ kubectl: Kubectl, port: String, authority: String) async throws {
        let trust = "caBundle: \(authority)"
        _ = try await kubectl.ok(
            "apply", "-f", "-",
            input: local("space") + manifest("space.example.com", by: "space", port: port, trust: trust))
    }

    /// A busy machine may miss a probe's time now and then: what is asked is asked again until it is answered.
    private func answered(_ kubectl: Kubectl, _ arguments: String..., input: String = "") async throws -> String {
        try #require(
            try await soon { () async throws -> String? in
                let outcome = try await kubectl.run(arguments, input: input)
                return outcome.code == 0 ? outcome.output : nil
            }, "kubectl \(arguments.joined(separator: " "))")
    }

    @Test("another server's kinds are found, read, written and watched through this one, which says who asks")
    func remote() async throws {
        try await withKubectl { kubectl, api in
            let roots = try await kubectl.ok(
                "get", "configmap", "extension-apiserver-authentication", "-n", "kube-system", "-o",
                "jsonpath={.data.requestheader-client-ca-file}")
            #expect(roots.contains("BEGIN CERTIFICATE"))
            let file = try temporaryFile(roots)
            defer { removeTree(parent(file)) }
            let peer = PeerProgram("aggregated_server.py", file, "space.default.svc")
            defer { peer.end() }
            let port = try #require(await peer.line())
            let authority = try #require(await peer.line())
            try await register(kubectl, port: port, authority: authority)
            _ = try await kubectl.ok(
                "wait", "--for=condition=Available", "apiservice/v1.space.example.com", "--timeout=120s")
            let found = try await soon { () async throws -> Bool? in
                try await kubectl("api-resources", "--api-group=space.example.com").output.contains("moons")
                    ? true : nil
            }
            #expect(found == true)
            #expect(try await answered(kubectl, "get", "mo", "-o", "name") == "moon.space.example.com/luna\n")
            let moon = try JSON(
                parsing: try await answered(kubectl, "get", "--raw", "/apis/space.example.com/v1/moons/luna"))
            let said = moon["metadata"]?["annotations"]
            #expect(said?["asked-by"] == "kubernetes-admin")
            #expect(said?["groups"]?.string?.contains("system:masters") == true)
            #expect(said?["authorization"] == "none")
            #expect(said?["certificate"] == "front-proxy-client")
            _ = try await answered(
                kubectl, "create", "--validate=false", "-f", "-",
                input: "{apiVersion: space.example.com/v1, kind: Moon, metadata: {name: io}, spec: {size: 1821}}")
            #expect(try await answered(kubectl, "get", "moons", "-o", "name").contains("io"))
            let missing = try await soon { () async throws -> Bool? in
                let outcome = try await kubectl("get", "moon", "pluto")
                return outcome.errors.contains("moons.space.example.com \"pluto\" not found") ? true : nil
            }
            #expect(missing == true)
            let events = try await answered(kubectl, "get", "--raw", "/apis/space.example.com/v1/moons?watch=true")
            #expect(events.split(separator: "\n").count == 2)
            // What leaves HTTP is handed on byte by byte.
            let upgraded = await runPython(
                "upgrade_client.py", [kubectl.kubeconfig, "/apis/space.example.com/v1/moons/luna/exec", "SPDY/3.1"])
            let lines = upgraded.output.split(separator: "\n").map(String.init)
            #expect(lines.first?.hasPrefix("HTTP/1.1 101") == true && lines.dropFirst().first == "SPDY/3.1", "\(lines)")
            #expect(lines.last == "22:early,8:echo ,300005:echo ,8:echo ,0:", "\(lines)")
            // It goes away: the failure names it.
            peer.end()
            let gone = try await soon { () async throws -> String? in
                let outcome = try await kubectl("get", "--raw", "/apis/space.example.com/v1/moons")
                return outcome.code == 0 ? nil : outcome.errors
            }
            #expect(gone?.contains("the server is currently unable to handle the request") == true, "\(gone ?? "")")
            let pods = try await kubectl("get", "pods")
            #expect(pods.code == 0)
            _ = try await kubectl.ok("delete", "apiservice", "v1.space.example.com")
            let isForgotten = try await soon { () async throws -> Bool? in
                let outcome = try await kubectl("get", "--raw", "/apis/space.example.com/v1")
                return outcome.errors.contains("NotFound") ? true : nil
            }
            #expect(isForgotten == true)
        }
    }

    @Test("a server that takes connections and says nothing holds up no other")
    func silent() async throws {
        try await withKubectl { kubectl, api in
            let (silent, port) = try loopbackListener()
            defer { close(silent) }
            let type = ResourceType(
                group: "apiregistration.k8s.io", version: "v1", resource: "apiservices", kind: "APIService",
                isNamespaced: false)
            let start = try await api.list(type, namespace: "", .all).resourceVersion
            let trust = "insecureSkipTLSVerify: true"
            _ = try await kubectl.ok(
                "apply", "-f", "-",
                input: local("silent") + manifest("silent.example.com", by: "silent", port: "\(port)", trust: trust)
                    + manifest("absent.example.com", by: "nobody", port: "\(port)", trust: trust))
            // Both are told in the end; the one that can be told at once comes first, though it was written last.
            var told: [String] = []
            for try await event in try await api.watch(type, namespace: "", .all, from: start) {
                let name = event.object.name
                guard name.hasSuffix(".example.com"), event.object.status["conditions"] != nil else { continue }
                told.append(name)
                if told.count == 2 { break }
            }
            #expect(told == ["v1.absent.example.com", "v1.silent.example.com"])
        }
    }

    @Test("a service that is not there, and a server nobody trusts, are told by the condition")
    func unavailable() async throws {
        try await withKubectl { kubectl, _ in
            let file = try temporaryFile("")
            defer { removeTree(parent(file)) }
            func reason(_ wanted: String) async throws -> Bool {
                let found = try await soon { () async throws -> Bool? in
                    let text = try await kubectl.ok(
                        "get", "apiservice", "v1.space.example.com", "-o",
                        "jsonpath={.status.conditions[?(@.type==\"Available\")].reason}")
                    return text == wanted ? true : nil
                }
                return found == true
            }
            _ = try await kubectl.ok(
                "apply", "-f", "-",
                input: """
                    apiVersion: apiregistration.k8s.io/v1
                    kind: APIService
                    metadata: {name: v1.space.example.com}
                    spec:
                      group: space.example.com
                      version: v1
                      groupPriorityMinimum: 1000
                      versionPriority: 15
                      insecureSkipTLSVerify: true
                      service: {name: nobody, namespace: default}

                    """)
            #expect(try await reason("ServiceNotFound"))
            let answer = try await kubectl("get", "--raw", "/apis/space.example.com/v1/moons")
            #expect(
                answer.errors.contains("service/nobody in \"default\" is not present"), "\(answer.errors)")
            let named = try await kubectl(
                "apply", "-f", "-",
                input: """
                    apiVersion: apiregistration.k8s.io/v1
                    kind: APIService
                    metadata: {name: v2.space.example.com}
                    spec: {group: space.example.com, version: v1, groupPriorityMinimum: 0, versionPriority: 15}

                    """)
            #expect(named.errors.contains("metadata.name") && named.errors.contains("groupPriorityMinimum"))
        }
    }
}
