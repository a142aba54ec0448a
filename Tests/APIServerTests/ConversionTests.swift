import APIServer
import Glibc
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@Suite("versions of a custom kind")
struct ConversionTests {
    private func crd(port: String, authority: String, path: String = "/convert") throws -> KubeObject {
        KubeObject(
            try #require(
                try yamlDocuments(
                    """
                    apiVersion: apiextensions.k8s.io/v1
                    kind: CustomResourceDefinition
                    metadata: {name: sites.example.com}
                    spec:
                      group: example.com
                      scope: Namespaced
                      names: {plural: sites, kind: Site}
                      conversion:
                        strategy: Webhook
                        webhook:
                          conversionReviewVersions: [v1]
                          clientConfig: {url: "https://localhost:\(port)\(path)", caBundle: \(authority)}
                      versions:
                      - name: v1
                        served: true
                        storage: true
                        schema:
                          openAPIV3Schema:
                            type: object
                            properties: {spec: {type: object, properties: {hostPort: {type: string}, zone: {type: string, default: a}}}}
                      - name: v1beta1
                        served: true
                        storage: false
                        schema:
                          openAPIV3Schema:
                            type: object
                            properties: {spec: {type: object, properties: {host: {type: string}, port: {type: integer}, zone: {type: string}}}}

                    """
                ).first
            ).json)
    }

    private let new = ResourceType(group: "example.com", version: "v1", resource: "sites", kind: "Site")
    private let old = ResourceType(group: "example.com", version: "v1beta1", resource: "sites", kind: "Site")

    private func site(_ name: String, _ type: ResourceType, _ spec: JSON) -> KubeObject {
        var object = KubeObject(apiVersion: type.apiVersion, kind: "Site", namespace: "default", name: name)
        object.json["spec"] = spec
        return object
    }

    private func withSites(_ body: (APIServer, InProcessAPI) async throws -> Void) async throws {
        let peer = PeerProgram("conversion_webhook.py", "localhost")
        defer { peer.end() }
        let port = try #require(await peer.line())
        let authority = try #require(await peer.line())
        try await withServer { server, api in
            _ = try await api.create(.customResourceDefinitions, try crd(port: port, authority: authority))
            let isServed = try await soon { () async throws -> Bool? in
                (try? await api.list(new, namespace: "", .all)) == nil ? nil : true
            }
            try #require(isServed == true)
            try await body(server, api)
        }
    }

    @Test("objects are stored in one version and shown in the one asked for")
    func bothWays() async throws {
        try await withSites { _, api in
            let made = try await api.create(old, site("one", old, ["host": "a.test", "port": 81]))
            #expect(made.apiVersion == "example.com/v1beta1" && made.spec["host"] == "a.test")
            let stored = try await api.get(new, made.key)
            #expect(stored.spec == ["hostPort": "a.test:81", "zone": "a"] && stored.uid == made.uid)
            #expect(stored.labels == ["converted": "yes"])
            _ = try await api.create(new, site("two", new, ["hostPort": "b.test:82"]))
            let listed = try await api.list(old, namespace: "default", .all).items
            #expect(listed.map { $0.spec["port"] ?? 0 } == [81, 82])
            #expect(listed.allSatisfy { $0.apiVersion == old.apiVersion })
            let patched = try await api.patch(
                old, made.key, .merge, ["spec": ["port": 90]], subresource: nil)
            #expect(patched.spec["port"] == 90)
            #expect(try await api.get(new, made.key).spec["hostPort"] == "a.test:90")
        }
    }

    @Test("a watch of either version sees each event in its own")
    func watching() async throws {
        try await withSites { _, api in
            let before = try await api.list(old, namespace: "default", .all).resourceVersion
            let events = try await api.watch(old, namespace: "default", .all, from: before)
            _ = try await api.create(new, site("one", new, ["hostPort": "a.test:1"]))
            try await api.delete(new, ObjectKey(namespace: "default", name: "one"), DeleteOptions())
            var seen: [String] = []
            for try await event in events {
                seen.append(
                    "\(event.kind.rawValue) \(event.object.apiVersion) \(event.object.spec["host"]?.string ?? "")")
                if seen.count == 2 { break }
            }
            #expect(
                seen == ["ADDED example.com/v1beta1 a.test", "DELETED example.com/v1beta1 a.test"])
        }
    }

    @Test("what the webhook says went wrong is told")
    func failures() async throws {
        try await withSites { _, api in
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(old, site("broken", old, ["host": "a.test"]))
            }
            #expect(
                refused?.message
                    == "conversion webhook for example.com/v1beta1, Kind=Site failed: broken things stay as they are")
            // Its own version needs nobody.
            _ = try await api.create(new, site("broken", new, ["hostPort": "a.test:1"]))
            let unread = await failure { () throws(APIFailure) in
                _ = try await api.get(old, ObjectKey(namespace: "default", name: "broken"))
            }
            #expect(unread?.code == 500 && unread?.message.contains("broken things stay") == true)
        }
    }

    @Test("a webhook that does not answer fails what needs it, with its address")
    func unreachable() async throws {
        try await withServer { _, api in
            let (descriptor, port) = try loopbackListener()
            close(descriptor)
            let authority = "LS0tLS1CRUdJTg=="
            _ = try await api.create(.customResourceDefinitions, try crd(port: "\(port)", authority: authority))
            _ = try await soon { () async throws -> Bool? in
                (try? await api.list(new, namespace: "", .all)) == nil ? nil : true
            }
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(old, site("one", old, ["host": "a.test"]))
            }
            #expect(
                refused?.message.hasPrefix(
                    "conversion webhook for example.com/v1beta1, Kind=Site failed: Post \"https://localhost:\(port)/convert"
                )
                    == true, "\(refused?.message ?? "")")
        }
    }
}
