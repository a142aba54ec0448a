import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

private struct Greeting: APIExtension {
    let prefix = "/apis/example.test/v1/greetings"
    func answer(method: String, path: String, query: [(String, String)], body: [UInt8]) async throws(APIFailure) -> JSON
    {
        guard let name = query.first(where: { $0.0 == "name" })?.1 else { throw .badRequest("name is missing") }
        return ["hello": .string(name)]
    }
}

/// A server on a loopback port, and our own client for it.
private func withClient(_ body: (APIServer, HTTPAPI) async throws -> Void) async throws {
    let directory = try temporaryDirectory("weft-http")
    defer { removeTree(directory) }
    let (descriptor, port) = try loopbackListener()
    var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
    configuration.publicPort = port
    let server = try await APIServer.start(configuration)
    let outcome: Result<Void, any Error>
    do {
        let api = try HTTPAPI(try KubeconfigFile.load(directory + "/kubeconfig"))
        outcome = .success(try await body(server, api))
    } catch {
        outcome = .failure(error)
    }
    await server.stop()
    try outcome.get()
}

@Suite("The API over TLS, with our own client")
struct HTTPTests {
    @Test("objects, conflicts and watches are the same as in process")
    func sameAsInProcess() async throws {
        try await withClient { server, api in
            let inside = server.api(as: .administrator)
            let made = try await api.create(.configMaps, configMap("settings", ["a": "1"]))
            let again = try await inside.get(.configMaps, made.key)
            #expect(again == made)
            var stale = made
            stale.json["data"] = ["a": "2"]
            _ = try await inside.update(.configMaps, stale)
            let conflict = await failure { () throws(APIFailure) in _ = try await api.update(.configMaps, stale) }
            #expect(conflict?.isConflict == true)
            let events = try await api.watch(.configMaps, namespace: "default", .all, from: made.resourceVersion)
            try await inside.delete(.configMaps, made.key)
            var kinds: [WatchEvent.Kind] = []
            for try await event in events {
                kinds.append(event.kind)
                if kinds.count == 2 { break }
            }
            #expect(kinds == [.modified, .deleted])
        }
    }

    @Test("an answer to every bad request is a Status that says why")
    func badRequests() async throws {
        try await withClient { _, api in
            func answer(_ method: String, _ path: String, _ type: String = "application/json", _ body: String = "")
                async throws -> (Int, String)
            {
                let answer = try await api.raw(method, path, headers: [("content-type", type)], body: Array(body.utf8))
                let status = try JSON(parsing: answer.body)
                #expect(status["kind"] == "Status", "\(method) \(path)")
                return (answer.status, status["message"]?.string ?? "")
            }
            #expect(try await answer("GET", "/apis/nothing/v1/things").0 == 404)
            #expect(try await answer("GET", "/nowhere").0 == 404)
            #expect(try await answer("GET", "/api/v1/namespaces/default%2Fx/configmaps/y").0 == 404)
            #expect(try await answer("POST", "/api/v1/namespaces/default/configmaps", "text/plain", "x").0 == 415)
            let broken = try await answer(
                "POST", "/api/v1/namespaces/default/configmaps", "application/json", "{\"a\":")
            #expect(broken.0 == 400 && broken.1.contains("byte 5"))
            let kind = try await answer(
                "POST", "/api/v1/namespaces/default/configmaps", "application/json",
                "{\"apiVersion\":\"v1\",\"kind\":\"Secret\"}")
            #expect(kind.0 == 400 && kind.1.contains("Secret"))
            #expect(
                try await answer("PATCH", "/api/v1/namespaces/default/configmaps/x", "application/json", "{}").0 == 415)
            #expect(
                try await answer(
                    "PATCH", "/api/v1/namespaces/default/configmaps/x", "application/merge-patch+json", "{}"
                ).0 == 404)
            #expect(try await answer("GET", "/api/v1/configmaps?labelSelector=a%20in").0 == 400)
            #expect(try await answer("GET", "/api/v1/configmaps?limit=many").0 == 400)
            #expect(try await answer("GET", "/api/v1/configmaps?continue=nonsense").0 == 400)
            #expect(try await answer("GET", "/api/v1/configmaps?watch=true&resourceVersion=zero").0 == 400)
            #expect(try await answer("GET", "/api/v1/configmaps?watch=true&sendInitialEvents=true").0 == 422)
            #expect(try await answer("PUT", "/api/v1/namespaces").0 == 405)
            let deep = String(repeating: "[", count: 100_000)
            #expect(
                try await answer("POST", "/api/v1/namespaces/default/configmaps", "application/json", deep).0 == 400)
            let large = String(repeating: " ", count: 4 << 20)
            #expect(
                try await answer("POST", "/api/v1/namespaces/default/configmaps", "application/json", large).0 == 413)
        }
    }

    @Test("YAML bodies, dry runs, unknown fields as warnings")
    func bodies() async throws {
        try await withClient { server, api in
            let path = "/api/v1/namespaces/default/configmaps"
            let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: written\ndata: {a: \"1\"}\nextra: 1\n"
            let dry = try await api.raw(
                "POST", path + "?dryRun=All", headers: [("content-type", "application/yaml")], body: Array(yaml.utf8))
            #expect(dry.status == 201)
            #expect(dry.headers["warning"]?.contains("unknown field \\\"extra\\\"") == true)
            let inside = server.api(as: .administrator)
            #expect(await isMissing(inside, .configMaps, ObjectKey(namespace: "default", name: "written")))
            let made = try await api.raw(
                "POST", path, headers: [("content-type", "application/yaml")], body: Array(yaml.utf8))
            #expect(made.status == 201)
            let strict = try await api.raw(
                "POST", path + "?fieldValidation=Strict", headers: [("content-type", "application/yaml")],
                body: Array(yaml.utf8))
            #expect(strict.status == 400)
        }
    }

    @Test("a watch with initial events marks their end, and ends in time")
    func initialEvents() async throws {
        try await withClient { _, api in
            let query =
                "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
            let answer = try await api.raw("GET", "/api/v1/namespaces?\(query)")
            let lines = String(decoding: answer.body, as: UTF8.self).split(separator: "\n")
            let events = try lines.map { try JSON(parsing: String($0)) }
            #expect(events.count == 6)
            #expect(events.dropLast().allSatisfy { $0["type"] == "ADDED" })
            #expect(events.last?["type"] == "BOOKMARK")
            #expect(events.last?[path: ["object", "metadata", "annotations", "k8s.io/initial-events-end"]] == "true")
        }
    }

    @Test("extensions answer behind the server's own checks")
    func extensions() async throws {
        try await withClient { server, api in
            server.add(Greeting())
            let answer = try await api.raw("GET", "/apis/example.test/v1/greetings?name=a%20b")
            #expect(answer.status == 200 && String(decoding: answer.body, as: UTF8.self) == "{\"hello\":\"a b\"}")
            #expect(try await api.raw("GET", "/apis/example.test/v1/greetings").status == 400)
            #expect(server.rootCertificate.hasPrefix("-----BEGIN CERTIFICATE-----"))
            #expect(server.storedTypes.contains(.pods) && server.storedTypes.contains(.deployments))
        }
    }
}
