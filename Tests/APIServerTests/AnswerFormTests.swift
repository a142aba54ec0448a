import APIServer
import KubeClient
import KubeTypes
import Store
import TestSupport
import Testing
import Wire

/// Answers never, and tells when it is cancelled.
private struct Slow: APIExtension {
    let prefix = "/apis/slow.test/v1/"
    let cancelled: AsyncStream<Void>.Continuation
    func answer(method: String, path: String, query: [(String, String)], body: [UInt8]) async throws(APIFailure) -> JSON
    {
        do { try await Task.sleep(for: .seconds(3600)) } catch { cancelled.yield() }
        throw .internalError("too late")
    }
}

@Suite("What answers look like")
struct AnswerFormTests {
    private func answer(_ api: HTTPAPI, _ path: String, accept: String = "application/json") async throws
        -> HTTPAPI.Answer
    {
        try await api.raw("GET", path, headers: [("accept", accept)])
    }

    @Test("an object, its list and its watch show the same bytes, in every version")
    func sameBytes() async throws {
        try await withLiveServer { server, api, _ in
            let inside = server.api(as: .administrator)
            var made = configMap("settings", ["a": "\"quoted\"\n", "b": "ü"])
            made.labels = ["app": "web"]
            let created = try await inside.create(.configMaps, made)
            let got = try await answer(api, "/api/v1/namespaces/default/configmaps/settings")
            #expect(KubeObject(try JSON(parsing: got.body)) == created)
            #expect(got.headers["audit-id"]?.count == 36)
            let text = String(decoding: got.body, as: UTF8.self)
            #expect(
                text.hasPrefix("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\""))
            let list = try JSON(parsing: try await answer(api, "/api/v1/configmaps?labelSelector=app%3Dweb").body)
            #expect(list["kind"] == "ConfigMapList" && list["items"]?.array?.count == 1)
            #expect(list["items"]?[0].map { KubeObject($0) } == created)
            let partial = try JSON(
                parsing: try await answer(
                    api, "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Dsettings",
                    accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
                ).body)
            #expect(partial["kind"] == "PartialObjectMetadataList")
            #expect(partial["items"]?[0]?["metadata"] == created.json["metadata"])
            #expect(partial["items"]?[0]?["data"] == nil)
            let scaler: JSON = [
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
                "metadata": ["name": "web", "namespace": "default"],
                "spec": [
                    "maxReplicas": 3, "targetCPUUtilizationPercentage": 70,
                    "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"],
                ],
            ]
            let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
            let posted = try await api.raw(
                "POST", path, headers: [("content-type", "application/json")], body: scaler.bytes)
            #expect(posted.status == 201)
            for version in ["v1", "v2"] {
                let found = try JSON(
                    parsing: try await answer(
                        api, "/apis/autoscaling/\(version)/namespaces/default/horizontalpodautoscalers/web"
                    ).body)
                #expect(found["apiVersion"]?.string == "autoscaling/\(version)")
                #expect((found["spec"]?["metrics"] != nil) == (version == "v2"))
            }
        }
    }

    @Test("an event written in one group is read in the other")
    func events() async throws {
        try await withLiveServer { _, api, _ in
            let event: JSON = [
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": ["name": "web.1", "namespace": "default"], "note": "started", "type": "Normal",
                "reason": "Started", "action": "Start", "reportingController": "kubelet", "reportingInstance": "a",
                "eventTime": "2026-01-02T03:04:05.000000Z",
                "regarding": ["kind": "Pod", "name": "web", "namespace": "default"],
            ]
            let made = try await api.raw(
                "POST", "/apis/events.k8s.io/v1/namespaces/default/events",
                headers: [("content-type", "application/json")], body: event.bytes)
            #expect(made.status == 201, "\(String(decoding: made.body, as: UTF8.self))")
            let core = try JSON(
                parsing: try await answer(
                    api, "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb"
                ).body)
            #expect(core["items"]?[0]?["message"] == "started")
            #expect(core["items"]?[0]?["involvedObject"]?["name"] == "web")
            let other = try JSON(
                parsing: try await answer(
                    api, "/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dweb"
                ).body)
            #expect(other["items"]?[0]?["note"] == "started" && other["items"]?[0]?["apiVersion"] == "events.k8s.io/v1")
        }
    }

    @Test("a long list comes in pieces, packed when the client takes that; pages show one revision")
    func longList() async throws {
        let clock = HandClock()
        let interval = Duration.seconds(300)
        try await withLiveServer {
            $0.historyAge = HistoryAge(interval: interval, clock: clock)
        } _: { server, api, directory in
            let inside = server.api(as: .administrator)
            let filling = String(repeating: "x", count: 4000)
            for number in 0..<80 {
                _ = try await inside.create(.configMaps, configMap("long-\(number)", ["a": filling]))
            }
            let path = "/api/v1/namespaces/default/configmaps"
            let whole = try JSON(parsing: try await answer(api, path).body)
            #expect(whole["items"]?.array?.count == 80)
            let checked = await runPython("packed_list.py", [directory + "/kubeconfig", path, "80"])
            #expect(checked.code == 0, "\(checked.output)")
            let first = try JSON(parsing: try await answer(api, path + "?limit=30").body)
            #expect(first["metadata"]?["remainingItemCount"] == 50)
            let token = try #require(first["metadata"]?["continue"]?.string)
            try await inside.delete(.configMaps, ObjectKey(namespace: "default", name: "long-79"))
            let rest = try JSON(parsing: try await answer(api, path + "?limit=100&continue=" + token).body)
            #expect(rest["items"]?.array?.count == 50, "the page shows what there was")
            #expect(rest["metadata"]?["resourceVersion"] == first["metadata"]?["resourceVersion"])
            // When history is given up, so are pages, however often they were asked for: 410, with a token that goes on in the
            // present.
            try #require(await clock.turn(by: interval))
            let again = try JSON(parsing: try await answer(api, path + "?limit=10&continue=" + token).body)
            #expect(again["metadata"]?["resourceVersion"] == first["metadata"]?["resourceVersion"])
            let version = first["metadata"]?["resourceVersion"]?.string ?? ""
            let exact = path + "?resourceVersionMatch=Exact&resourceVersion=" + version
            #expect(try await answer(api, exact).status == 200)
            try #require(await clock.turn(by: interval))
            #expect(try await answer(api, exact).status == 410)
            let gone = try await answer(api, path + "?limit=100&continue=" + token)
            let status = try JSON(parsing: gone.body)
            #expect(gone.status == 410 && status["reason"] == "Expired")
            let next = try #require(status["metadata"]?["continue"]?.string)
            let present = try JSON(parsing: try await answer(api, path + "?limit=10&continue=" + next).body)
            let names = present["items"]?.array?.compactMap { $0["metadata"]?["name"]?.string } ?? []
            #expect(names.first == "long-36" && names.count == 10, "\(names)")
            #expect(present["metadata"]?["remainingItemCount"] == 39)
            let last = try #require(present["metadata"]?["continue"]?.string)
            let end = try JSON(parsing: try await answer(api, path + "?limit=100&continue=" + last).body)
            #expect(end["items"]?.array?.count == 39, "what was deleted since is not shown")
            #expect(end["metadata"]?["resourceVersion"] == present["metadata"]?["resourceVersion"])
        }
    }

    @Test("a client that takes protobuf only watches in protobuf frames")
    func protobufWatch() async throws {
        try await withLiveServer { server, api, _ in
            let made = try await server.api(as: .administrator).create(.configMaps, configMap("p", ["a": "1"]))
            let answer = try await answer(
                api, "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0&timeoutSeconds=1",
                accept: "application/vnd.kubernetes.protobuf;stream=watch")
            #expect(answer.headers["content-type"] == "application/vnd.kubernetes.protobuf;stream=watch")
            let length = answer.body.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            #expect(answer.body.count == 4 + length, "one frame, since there is one object")
            var event = ProtobufReader(Array(answer.body.dropFirst(4)))
            var kind = ""
            var object: JSON?
            while let tag = try event.nextTag() {
                if tag.field == 1 {
                    kind = try event.string(tag)
                } else {
                    var raw = try event.message(tag)
                    while let inner = try raw.nextTag() {
                        object = try KubeProtobuf.builtIn.decode(Array(try raw.bytes(inner)))
                    }
                }
            }
            #expect(kind == "ADDED")
            #expect(object.map { KubeObject($0).uid } == made.uid)
        }
    }

    @Test(
        "what cannot be meant together is refused",
        arguments: [
            ("resourceVersionMatch=Exact", 422), ("resourceVersionMatch=Never&resourceVersion=5", 422),
            ("resourceVersionMatch=Exact&resourceVersion=0", 422), ("resourceVersion=99999999", 504),
            ("resourceVersionMatch=NotOlderThan&resourceVersion=1", 200), ("includeObject=All", 200),
            ("watch=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1", 422),
        ])
    func options(query: String, status: Int) async throws {
        try await withLiveServer { _, api, _ in
            let found = try await answer(api, "/api/v1/configmaps?" + query)
            #expect(found.status == status)
        }
    }

    @Test("health tells its checks, one by one and without some")
    func health() async throws {
        try await withLiveServer { _, api, _ in
            func text(_ path: String) async throws -> (Int, String) {
                let answer = try await answer(api, path, accept: "*/*")
                return (answer.status, String(decoding: answer.body, as: UTF8.self))
            }
            #expect(try await text("/readyz") == (200, "ok"))
            let verbose = try await text("/readyz?verbose")
            #expect(verbose.1.contains("[+]store ok\n") && verbose.1.hasSuffix("readyz check passed\n"))
            #expect(try await text("/livez/ping").1 == "ok")
            #expect(try await text("/livez/nothing").0 == 404)
            #expect(try await text("/readyz?verbose&exclude=store").1.contains("[+]store excluded: ok"))
            #expect(try await text("/readyz?verbose&exclude=x").1.contains("no matches for \"x\""))
            let metrics = try await text("/metrics").1
            for name in [
                "apiserver_request_total{verb=\"GET\"", "apiserver_request_duration_seconds_bucket",
                "apiserver_current_inflight_requests", "apiserver_storage_objects{resource=\"namespaces\"}",
                "process_resident_memory_bytes",
            ] {
                #expect(metrics.contains(name), "\(name)")
            }
        }
    }

    @Test("the older OpenAPI document is there as JSON, and leads nowhere outside itself")
    func openAPIV2() async throws {
        try await withLiveServer { _, api, _ in
            let found = try await answer(api, "/openapi/v2")
            let document = try JSON(parsing: found.body)
            #expect(document["swagger"] == "2.0")
            let definitions = try #require(document["definitions"]?.object)
            let names = Set(definitions.keys)
            #expect(names.contains("io.k8s.api.apps.v1.Deployment") && names.contains { $0.hasSuffix(".HTTPRoute") })
            #expect(document["paths"]?["/api/v1/namespaces/{namespace}/pods/{name}"]?["patch"]?["consumes"] != nil)
            func references(_ json: JSON) -> [String] {
                switch json {
                case .object(let members):
                    // A schema of schemas has a property of that name too.
                    members.flatMap { member -> [String] in
                        if member.key == "$ref", let name = member.value.string { return [name] }
                        return references(member.value)
                    }
                case .array(let elements): elements.flatMap(references)
                default: []
                }
            }
            let lost = Set(references(document)).filter {
                !names.contains(String($0.dropFirst("#/definitions/".count)))
            }
            #expect(lost.isEmpty, "\(lost)")
            let type = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
            let packed = try await answer(api, "/openapi/v2", accept: type)
            #expect(packed.status == 200 && packed.headers["content-type"]?.hasSuffix("spec.v2.v1.0+protobuf") == true)
            #expect(try await answer(api, "/openapi/v2", accept: "text/csv").status == 406)
        }
    }

    @Test("a request that takes too long is answered 504 in time, and its work is cancelled")
    func timeout() async throws {
        let (ended, signal) = AsyncStream.makeStream(of: Void.self)
        try await withLiveServer {
            $0.requestLimit = .milliseconds(100)
        } _: { server, api, _ in
            server.add(Slow(cancelled: signal))
            let found = try await answer(api, "/apis/slow.test/v1/x")
            let status = try JSON(parsing: found.body)
            #expect(found.status == 504 && status["reason"] == "Timeout")
            let id = try #require(found.headers["audit-id"])
            #expect(status["message"]?.string?.contains(id) == true, "the request is told in the error")
            for await _ in ended { break }
        }
    }

    @Test(
        "the last label that goes takes its map with it, as the last entry of any map of a Kubernetes kind"
    )
    func lastEntry() async throws {
        try await withLiveServer { _, api, _ in
            let path = "/api/v1/namespaces/default/configmaps"
            let changes: [(String, JSON)] = [
                ("application/merge-patch+json", ["metadata": ["labels": ["a": .null]], "data": ["b": .null]]),
                (
                    "application/strategic-merge-patch+json",
                    ["metadata": ["labels": ["a": .null]], "data": ["b": .null]]
                ),
                (
                    "application/json-patch+json",
                    [["op": "remove", "path": "/metadata/labels/a"], ["op": "remove", "path": "/data/b"]]
                ),
            ]
            for (number, (type, patch)) in changes.enumerated() {
                var map = configMap("m\(number)", ["b": "1"])
                map.labels = ["a": "b"]
                _ = try await api.create(.configMaps, map)
                let answer = try await api.raw(
                    "PATCH", "\(path)/\(map.name)", headers: [("content-type", type)], body: patch.bytes)
                #expect(answer.status == 200)
                let left = KubeObject(try JSON(parsing: answer.body))
                #expect(left.metadata["labels"] == nil && left.json["data"] == nil, "\(type)")
                var again = left
                again.metadata["annotations"] = [:]
                again.resourceVersion = ""
                let same = try await api.update(.configMaps, again)
                #expect(same.resourceVersion == left.resourceVersion && same.metadata["annotations"] == nil)
            }
        }
    }

    @Test("emptied managedFields stay empty until somebody applies")
    func reset() async throws {
        try await withLiveServer { _, api, _ in
            let path = "/api/v1/namespaces/default/configmaps"
            func send(_ method: String, _ path: String, _ type: String, _ body: JSON) async throws -> KubeObject {
                let answer = try await api.raw(method, path, headers: [("content-type", type)], body: body.bytes)
                #expect((200..<300).contains(answer.status), "\(String(decoding: answer.body, as: UTF8.self))")
                return KubeObject(try JSON(parsing: answer.body))
            }
            let made = try await send(
                "POST", path + "?fieldManager=maker", "application/json", configMap("m", ["a": "1"]).json)
            #expect(made.metadata["managedFields"]?[0]?["fieldsV1"] == ["f:data": ["f:a": [:]]])
            let reset: JSON = ["metadata": ["managedFields": [[:]]]]
            let empty = try await send("PATCH", path + "/m", "application/merge-patch+json", reset)
            #expect(empty.metadata["managedFields"] == nil)
            let changed = try await send("PATCH", path + "/m", "application/merge-patch+json", ["data": ["b": "2"]])
            #expect(changed.metadata["managedFields"] == nil)
            let applied = try await send(
                "PATCH", path + "/m?fieldManager=me", "application/apply-patch+yaml",
                ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"], "data": ["c": "3"]])
            #expect(applied.metadata["managedFields"]?.array?.count == 1)
        }
    }
}
