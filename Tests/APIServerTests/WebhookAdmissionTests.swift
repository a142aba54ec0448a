import Glibc
import KubeClient
import KubeTypes
import Testing
import Wire

@testable import APIServer

/// A server with webhooks beside it.
private func withWebhooks(
    _ body: (WebhookServer, Kubectl, InProcessAPI) async throws -> Void
) async throws {
    let directory = try temporaryDirectory("weft-webhook")
    defer { removeTree(directory) }
    let hooks = try await WebhookServer.start(in: directory, names: ["hook.default.svc"])
    defer { hooks.stop() }
    try await withKubectl({ $0.dialer = LoopbackDialer() }) { kubectl, api in try await body(hooks, kubectl, api) }
}

/// Stands for the cluster's network: whatever a pod's address is, loopback answers.
private struct LoopbackDialer: ClusterDialer {
    func connect(address: String, port: Int, within limit: Duration) async throws -> CInt {
        let socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        try #require(socket >= 0 && address == "10.244.1.9")
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        place.sin_port = UInt16(port).bigEndian
        let code = withUnsafePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(code == 0)
        return socket
    }
}

private func validating(_ json: JSON, _ api: InProcessAPI) async throws {
    _ = try await api.create(AdmissionKind.validatingWebhooks, KubeObject(json))
}

private func mutating(_ json: JSON, _ api: InProcessAPI) async throws {
    _ = try await api.create(AdmissionKind.mutatingWebhooks, KubeObject(json))
}

@Suite("Admission webhooks")
struct WebhookAdmissionTests {
    @Test("a refusal reaches kubectl with the webhook's name, code and words; nothing is stored")
    func denied() async throws {
        try await withWebhooks { hooks, kubectl, api in
            try await validating(hooks.configuration("deny", paths: ["/deny"]), api)
            let refused = try await kubectl("create", "configmap", "hidden")
            #expect(refused.code == 1)
            #expect(
                refused.errors.contains("admission webhook \"hook0.deny.test\" denied the request: not on my watch"),
                "\(refused.errors)")
            #expect(await isMissing(api, .configMaps, ObjectKey(namespace: "default", name: "hidden")))
            let asked = try #require(try hooks.requests().first)
            #expect(asked["path"] == "/deny?timeout=10s")
            let question = try #require(asked["review"]?["request"])
            #expect(question["operation"] == "CREATE" && question["namespace"] == "default")
            #expect(question["userInfo"]?["groups"]?.array?.contains("system:masters") == true)
            #expect(question["resource"] == ["group": "", "version": "v1", "resource": "configmaps"])
            #expect(question["requestKind"]?["kind"] == "ConfigMap" && question["dryRun"] == false)
            #expect(question["oldObject"] == .null && question["options"]?["kind"] == "CreateOptions")
            _ = try await kubectl.ok("create", "secret", "generic", "other")
        }
    }

    @Test("silence is a refusal without explanation; warnings reach the client")
    func warnings() async throws {
        try await withWebhooks { hooks, kubectl, api in
            try await validating(
                hooks.configuration("silent", paths: ["/deny-silently"], resources: ["secrets"]), api)
            try await validating(hooks.configuration("warn", paths: ["/warn"]), api)
            let refused = try await kubectl("create", "secret", "generic", "hidden")
            #expect(refused.errors.contains("\"hook0.silent.test\" denied the request without explanation"))
            let warned = try await kubectl("create", "configmap", "seen")
            #expect(warned.code == 0 && warned.errors.contains("Warning: think again"))
        }
    }

    @Test("reviews are shown to webhooks, too, and answered as admission leaves them")
    func reviews() async throws {
        try await withWebhooks { hooks, kubectl, api in
            let access = "selfsubjectaccessreviews"
            let json = hooks.configuration("review", paths: ["/deny"], resources: [.string(access)])
            try await validating(json, api)
            let refused = try await kubectl("auth", "can-i", "get", "pods")
            #expect(refused.errors.contains("\"hook0.review.test\" denied the request"), "\(refused.errors)")
            let question = try hooks.requests().first?["review"]?["request"]
            #expect(question?["object"]?["spec"]?["resourceAttributes"]?["verb"] == "get")
            #expect(question?["resource"]?["resource"]?.string == access)
            #expect(try await kubectl.ok("auth", "whoami").contains("kubernetes-admin"))
        }
    }

    @Test("mutating webhooks are asked in order, each sees what those before made")
    func ordered() async throws {
        try await withWebhooks { hooks, _, api in
            try await mutating(hooks.configuration("b-second", isMutating: true, paths: ["/stage/2", "/stage/3"]), api)
            try await mutating(hooks.configuration("a-first", isMutating: true, paths: ["/stage/1"]), api)
            let made = try await api.create(.configMaps, configMap("staged", ["a": "b"]))
            #expect(made.json["data"] == ["a": "b", "stages": "123"])
        }
    }

    @Test("what a webhook adds has defaults, and the built-in steps see it")
    func defaults() async throws {
        try await withWebhooks { hooks, _, api in
            try await mutating(
                hooks.configuration("side", isMutating: true, paths: ["/sidecar"], resources: ["pods"]), api)
            let made = try await api.create(.pods, pod("web"))
            let late = made.spec["containers"]?[1]
            #expect(late?["imagePullPolicy"] == "IfNotPresent" && late?["ports"]?[0]?["protocol"] == "TCP")
            // The account's token is mounted into it too.
            #expect(late?["volumeMounts"]?[0]?["mountPath"]?.string == ServiceAccountAdmission.mountPath)
        }
    }

    @Test("a webhook is asked again when others changed the object after it, if it wishes so")
    func reinvocation() async throws {
        try await withWebhooks { hooks, _, api in
            try await mutating(
                hooks.configuration("a-count", isMutating: true, paths: ["/count"]) {
                    $0["reinvocationPolicy"] = "IfNeeded"
                },
                api)
            try await mutating(hooks.configuration("b-stage", isMutating: true, paths: ["/stage/1"]), api)
            let made = try await api.create(.configMaps, configMap("counted", ["a": "b"]))
            #expect(made.labels["count"] == "2" && made.json["data"]?["stages"] == "1")
        }
    }

    @Test("a webhook that cannot answer bars requests, or is passed over")
    func failures() async throws {
        try await withWebhooks { hooks, kubectl, api in
            for (path, text) in [
                ("/status-500", "the server answered 500"), ("/wrong-uid", "expected response.uid"),
            ] {
                let json = hooks.configuration("fail", paths: [path])
                try await validating(json, api)
                let refused = try await kubectl("create", "configmap", "held")
                #expect(
                    refused.errors.contains(
                        "Internal error occurred: failed calling webhook \"hook0.fail.test\""
                    ) && refused.errors.contains(text), "\(refused.errors)")
                try await api.delete(AdmissionKind.validatingWebhooks, ObjectKey(name: "fail"))
            }
            var open = hooks.configuration("open", paths: ["/status-500"]) { $0["failurePolicy"] = "Ignore" }
            try await validating(open, api)
            _ = try await api.create(.configMaps, configMap("passed"))
            open = hooks.configuration("gone", paths: ["/x"]) { webhook in
                webhook["clientConfig"]?["url"] = "https://127.0.0.1:1/"
            }
            try await validating(open, api)
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("barred"))
            }
            #expect(refused?.code == 500 && refused?.message.contains("failed to call webhook: Post") == true)
        }
    }

    @Test("a webhook has its time and no more")
    func timeout() async throws {
        try await withWebhooks { hooks, _, api in
            try await validating(
                hooks.configuration("slow", paths: ["/slow"]) { $0["timeoutSeconds"] = 1 }, api)
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("late"))
            }
            #expect(refused?.message.contains("context deadline exceeded") == true, "\(refused?.message ?? "")")
        }
    }

    @Test("selectors and conditions choose what is asked about")
    func selection() async throws {
        try await withWebhooks { hooks, _, api in
            try await validating(
                hooks.configuration("by-label", paths: ["/deny"]) { webhook in
                    webhook["objectSelector"] = ["matchLabels": ["watched": "yes"]]
                }, api)
            try await validating(
                hooks.configuration("by-condition", paths: ["/deny"]) { webhook in
                    webhook["matchConditions"] = [
                        ["name": "named", "expression": "object.metadata.name.startsWith('secret-')"],
                        ["name": "not-nodes", "expression": "!('system:nodes' in request.userInfo.groups)"],
                    ]
                }, api)
            _ = try await api.create(.configMaps, configMap("plain"))
            #expect(try hooks.requests().isEmpty)
            var labelled = configMap("labelled")
            labelled.labels = ["watched": "yes"]
            let refusedLabel = labelled
            #expect(
                await failure { () throws(APIFailure) in _ = try await api.create(.configMaps, refusedLabel) } != nil)
            #expect(
                await failure { () throws(APIFailure) in
                    _ = try await api.create(.configMaps, configMap("secret-one"))
                } != nil)
            #expect(try hooks.requests().count == 2)
        }
    }

    @Test("deletions are asked about, with the old object only")
    func deletion() async throws {
        try await withWebhooks { hooks, kubectl, api in
            _ = try await api.create(.configMaps, configMap("kept"))
            try await validating(hooks.configuration("keep", paths: ["/deny"], operations: ["DELETE"]), api)
            let refused = try await kubectl("delete", "configmap", "kept")
            #expect(refused.code == 1 && refused.errors.contains("not on my watch"))
            let all = try await kubectl("delete", "configmaps", "--all")
            #expect(all.code == 1)
            let question = try #require(try hooks.requests().first?["review"]?["request"])
            #expect(question["object"] == .null && question["oldObject"]?["metadata"]?["name"] == "kept")
            #expect(question["options"]?["kind"] == "DeleteOptions")
        }
    }

    @Test("nothing is asked in a dry run that a webhook does not promise to leave alone")
    func dryRun() async throws {
        try await withWebhooks { hooks, kubectl, api in
            try await validating(hooks.configuration("quiet", paths: ["/ok"]), api)
            let tried = try await kubectl("create", "configmap", "tried", "--dry-run=server")
            #expect(tried.code == 0, "\(tried.errors)")
            #expect(try hooks.requests().last?["review"]?["request"]?["dryRun"] == true)
            #expect(await isMissing(api, .configMaps, ObjectKey(namespace: "default", name: "tried")))
        }
    }

    @Test("scaling shows the Scale; a status shows its part")
    func subresources() async throws {
        try await withWebhooks { hooks, kubectl, api in
            _ = try await kubectl.ok("create", "deployment", "web", "--image=example.test/app:1")
            try await validating(
                hooks.configuration("scale", paths: ["/ok"], resources: ["deployments/scale"]), api)
            _ = try await kubectl.ok("scale", "deployment", "web", "--replicas=3")
            let question = try #require(try hooks.requests().last?["review"]?["request"])
            #expect(question["subResource"] == "scale" && question["kind"]?["kind"] == "Scale")
            #expect(question["object"]?["spec"]?["replicas"] == 3 && question["oldObject"]?["spec"]?["replicas"] == 1)
            #expect(question["resource"]?["resource"] == "deployments")
        }
    }

    @Test("a webhook behind a service is found by its endpoints, under the service's name")
    func service() async throws {
        try await withWebhooks { hooks, _, api in
            var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "hook")
            service.json["spec"] = ["ports": [["name": "https", "port": 443, "targetPort": 9443]]]
            _ = try await api.create(.services, service)
            var json = hooks.configuration("behind", paths: ["/deny"]) { webhook in
                webhook["clientConfig"]?["url"] = nil
                webhook["clientConfig"]?["service"] = [
                    "namespace": "default", "name": "hook", "path": "/deny",
                ]
            }
            json[path: ["metadata", "name"]] = "behind"
            try await validating(json, api)
            func refused(_ name: String) async -> APIFailure? {
                await failure { () throws(APIFailure) in _ = try await api.create(.configMaps, configMap(name)) }
            }
            #expect(
                await refused("early")?.message.contains("no endpoints available for service \"hook\"") == true)
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "default", name: "hook-1")
            slice.labels = ["kubernetes.io/service-name": "hook"]
            slice.json["addressType"] = "IPv4"
            slice.json["endpoints"] = [["addresses": ["10.244.1.9"], "conditions": ["ready": true]]]
            slice.json["ports"] = [["name": "https", "port": .int(Int64(hooks.port)), "protocol": "TCP"]]
            _ = try await api.create(.endpointSlices, slice)
            let denied = await refused("late")?.message
            #expect(denied?.contains("not on my watch") == true, "\(denied ?? "")")
        }
    }

    @Test("connections are kept for the next call")
    func keepAlive() async throws {
        try await withWebhooks { hooks, _, api in
            try await validating(hooks.configuration("kept", paths: ["/ok"]), api)
            for index in 0..<5 { _ = try await api.create(.configMaps, configMap("map-\(index)")) }
            let peers = Set(try hooks.requests().compactMap { $0["peer"]?.int })
            #expect(peers.count == 1)
        }
    }

    @Test("configurations are checked, and not themselves admitted by webhooks")
    func configurations() async throws {
        try await withWebhooks { hooks, kubectl, api in
            try await validating(
                hooks.configuration("all", paths: ["/deny"], resources: ["*"], operations: ["*"]), api)
            _ = try await kubectl.ok("delete", "validatingwebhookconfiguration", "all")
            func refusal(_ change: (inout JSON) -> Void) async -> APIFailure? {
                let bad = KubeObject(hooks.configuration("bad", paths: ["/x"], change))
                return await failure { () throws(APIFailure) in
                    _ = try await api.create(AdmissionKind.validatingWebhooks, bad)
                }
            }
            let broken = await refusal { webhook in
                webhook["matchConditions"] = [["name": "broken", "expression": "object.metadata.name =="]]
                webhook["admissionReviewVersions"] = ["v1beta1"]
                webhook["rules"] = [
                    [
                        "apiGroups": ["*", "apps"], "apiVersions": ["v1"], "resources": ["pods"],
                        "operations": ["CREATE"],
                    ]
                ]
            }
            #expect(broken?.code == 422)
            for text in [
                "webhooks[0].matchConditions[0].expression: Invalid value", "compilation failed",
                "v1beta1 was given up", "if '*' is present, must not specify other values",
            ] {
                #expect(broken?.message.contains(text) == true, "\(broken?.message ?? "")")
            }
            let effects = await refusal { $0["sideEffects"] = "Some" }
            #expect(effects?.message.contains("webhooks[0].sideEffects: Unsupported value: \"Some\"") == true)
        }
    }
}
