import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import APIServer

private func quota(_ name: String, _ hard: JSON, _ more: JSON = [:]) -> KubeObject {
    var quota = KubeObject(apiVersion: "v1", kind: "ResourceQuota", namespace: "default", name: name)
    var spec = more
    spec["hard"] = hard
    quota.json["spec"] = spec
    return quota
}

/// A server with the account that pods need.
private func withAccount(_ body: (InProcessAPI) async throws -> Void) async throws {
    try await withServer { _, api in
        _ = try await api.create(
            .serviceAccounts,
            KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "default"))
        try await body(api)
    }
}

private func used(_ api: InProcessAPI, _ name: String) async throws -> JSON? {
    try await api.get(AdmissionKind.resourceQuotas, ObjectKey(namespace: "default", name: name)).status["used"]
}

/// Creates a quota, and waits until its status says what is used.
private func establish(_ api: InProcessAPI, _ quota: KubeObject) async throws {
    _ = try await api.create(AdmissionKind.resourceQuotas, quota)
    let isKnown = try await eventually { try await used(api, quota.name)?.object?.isEmpty == false }
    try #require(isKnown)
}

@Suite("Resource quotas")
struct QuotaTests {
    @Test("the status counts what is there, what comes and what goes")
    func status() async throws {
        try await withAccount { api in
            _ = try await api.create(.configMaps, configMap("before"))
            try await establish(api, quota("counts", ["count/configmaps": "3", "pods": "5", "services": "1"]))
            // One service every cluster has.
            #expect(try await used(api, "counts") == ["count/configmaps": "1", "pods": "0", "services": "1"])
            _ = try await api.create(.configMaps, configMap("after"))
            #expect(try await used(api, "counts")?["count/configmaps"] == "2")
            _ = try await api.create(.pods, pod("web"))
            #expect(try await used(api, "counts")?["pods"] == "1")
            try await api.delete(.configMaps, ObjectKey(namespace: "default", name: "before"))
            let isLower = try await eventually { try await used(api, "counts")?["count/configmaps"] == "1" }
            #expect(isLower)
            // A pod that has ended makes room.
            var ended = try await api.get(.pods, ObjectKey(namespace: "default", name: "web"))
            ended.json[path: ["status", "phase"]] = "Succeeded"
            _ = try await api.updateStatus(.pods, ended)
            let isFree = try await eventually { try await used(api, "counts")?["pods"] == "0" }
            #expect(isFree)
        }
    }

    @Test("the status follows the spec, also after somebody else wrote it")
    func follows() async throws {
        try await withAccount { api in
            try await establish(api, quota("limits", ["count/configmaps": "3"]))
            let key = ObjectKey(namespace: "default", name: "limits")
            let type = AdmissionKind.resourceQuotas
            let foreign: JSON = ["status": ["hard": ["count/configmaps": "7"]]]
            let patched = try await api.patch(type, key, .merge, foreign, subresource: "status")
            #expect(patched.status["hard"] == ["count/configmaps": "7"])
            let isBack = try await eventually {
                try await api.get(type, key).status["hard"] == ["count/configmaps": "3"]
            }
            #expect(isBack)
            _ = try await api.patch(type, key, .merge, ["spec": ["hard": ["count/configmaps": "5"]]], subresource: nil)
            let isRaised = try await eventually {
                try await api.get(type, key).status["hard"] == ["count/configmaps": "5"]
            }
            #expect(isRaised)
            let used: JSON = ["status": ["used": .null]]
            _ = try await api.patch(type, key, .merge, used, subresource: "status")
            let isCounted = try await eventually {
                try await api.get(type, key).status["used"] == ["count/configmaps": "0"]
            }
            #expect(isCounted)
        }
    }

    @Test("concurrent creates never exceed a quota")
    func concurrent() async throws {
        try await withAccount { api in
            try await establish(api, quota("few", ["count/configmaps": "10"]))
            let made = await withTaskGroup(of: Bool.self) { group in
                for index in 0..<60 {
                    group.addTask {
                        do throws(APIFailure) {
                            _ = try await api.create(.configMaps, configMap("map-\(index)"))
                            return true
                        } catch {
                            return !error.message.contains("exceeded quota: few, requested: count/configmaps=1")
                        }
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(made == 10)
            #expect(try await api.list(.configMaps, namespace: "default", .all).items.count == 10)
            #expect(try await used(api, "few")?["count/configmaps"] == "10")
        }
    }

    @Test("what was taken for a write that failed is given back")
    func givenBack() async throws {
        try await withAccount { api in
            try await establish(api, quota("nodeports", ["services.nodeports": "2", "services": "5"]))
            var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "web")
            service.json["spec"] = ["type": "NodePort", "ports": [["port": 80, "nodePort": 30080]]]
            _ = try await api.create(.services, service)
            // The port is taken: the write fails after the quota was charged.
            service.name = "other"
            let second = service
            let refused = await failure { () throws(APIFailure) in _ = try await api.create(.services, second) }
            #expect(refused?.message.contains("already allocated") == true)
            let isBack = try await eventually { try await used(api, "nodeports")?["services.nodeports"] == "1" }
            #expect(isBack)
        }
    }

    @Test("before a server knows what there is, it counts nothing anew")
    func early() async throws {
        try await withServer { server, api in
            for number in 0..<3 { _ = try await api.create(.configMaps, configMap("map-\(number)")) }
            try await establish(api, quota("full", ["count/configmaps": "3"]))
            // One that follows nothing yet, as at a server's start.
            let desk = QuotaDesk(server.registry, logger: server.registry.logger)
            let request = AdmissionRequest(
                .create, .configMaps, ObjectKey(namespace: "default", name: "more"), object: configMap("more"),
                WriteContext(user: .component("test")))
            let usage = QuotaUsage(request.object, request.type)
            let refused = await failure { () throws(APIFailure) in
                _ = try await desk.take(request, usage, usage.growth(from: nil))
            }
            #expect(refused?.message.contains("used: count/configmaps=3, limited: count/configmaps=3") == true)
            #expect(try await used(api, "full")?["count/configmaps"] == "3")
        }
    }

    struct Shared: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let used: JSON
        var returned: JSON = [:]
        var counted: JSON?
        var isAtRest = false
        let result: JSON
    }

    @Test(
        "what a server writes of a quota that others take from too",
        arguments: [
            Shared(
                testDescription: "who does not count gives back", used: ["pods": "5", "cpu": "1"],
                returned: ["pods": "2", "memory": "1"], result: ["pods": "3", "cpu": "1"]),
            Shared(
                testDescription: "never below nothing", used: ["pods": "1"], returned: ["pods": "2"],
                result: ["pods": "0"]),
            Shared(
                testDescription: "more than is counted may be on its way", used: ["pods": "5"], counted: ["pods": "3"],
                result: ["pods": "5"]),
            Shared(
                testDescription: "what went away is given back", used: ["pods": "5"], returned: ["pods": "1"],
                counted: ["pods": "3"], result: ["pods": "4"]),
            Shared(
                testDescription: "less than is counted is wrong", used: ["pods": "5"], returned: ["pods": "3"],
                counted: ["pods": "4"], result: ["pods": "4"]),
            Shared(
                testDescription: "at rest nothing is on its way", used: ["pods": "5"], returned: ["pods": "1"],
                counted: ["pods": "3"], isAtRest: true, result: ["pods": "3"]),
            Shared(
                testDescription: "names come and go with the spec", used: ["pods": "5"],
                counted: ["services": "1"], result: ["services": "1"]),
        ])
    func shared(_ each: Shared) {
        var object = quota("q", [:])
        object.json["status"] = ["used": each.used]
        let found = ResourceQuota(object).used(
            less: PodResources.amounts(of: each.returned), counted: each.counted.map { PodResources.amounts(of: $0) },
            isAtRest: each.isAtRest)
        #expect(found == PodResources.amounts(of: each.result))
    }

    @Test("a quota is at rest when nobody has written it for longer than a request takes")
    func rest() {
        var object = quota("q", [:])
        var returns = QuotaReturns()
        let start = ContinuousClock.now
        var found: [Bool] = []
        for (version, passed) in [("5", 0.0), ("5", 0.9), ("5", 1), ("6", 1), ("6", 1.9), ("6", 2)] {
            object.resourceVersion = version
            found.append(returns.isAtRest(ResourceQuota(object), at: start + QuotaReturns.rest * passed))
        }
        #expect(found == [false, false, true, false, false, true])
    }

    @Test("kubectl shows what was asked, used and allowed")
    func kubectl() async throws {
        try await withKubectl { kubectl, api in
            _ = try await kubectl.ok("create", "quota", "tiny", "--hard=pods=1,requests.cpu=1")
            let isKnown = try await eventually { try await used(api, "tiny")?["pods"] == "0" }
            #expect(isKnown)
            let bare = try await kubectl("run", "bare", "--image=example.test/a:1")
            #expect(bare.errors.contains("failed quota: tiny: must specify requests.cpu for: bare"), "\(bare.errors)")
            func manifest(_ name: String, _ cpu: String) -> String {
                """
                apiVersion: v1
                kind: Pod
                metadata: {name: \(name)}
                spec: {containers: [{name: a, image: "example.test/a:1", resources: {requests: {cpu: \(cpu)}}}]}
                """
            }
            _ = try await kubectl.ok("apply", "-f", "-", input: manifest("one", "800m"))
            let refused = try await kubectl("apply", "-f", "-", input: manifest("two", "300m"))
            #expect(
                refused.errors.contains(
                    "pods \"two\" is forbidden: exceeded quota: tiny, requested: pods=1,requests.cpu=300m, used:"
                        + " pods=1,requests.cpu=800m, limited: pods=1,requests.cpu=1"), "\(refused.errors)")
            #expect(try await kubectl.ok("describe", "quota", "tiny").contains("pods"))
        }
    }

    @Test("scopes count only the pods they are about")
    func scopes() async throws {
        try await withAccount { api in
            try await establish(api, quota("idle", ["pods": "1"], ["scopes": ["BestEffort"]]))
            _ = try await api.create(.pods, pod("idle-1"))
            let refused = await failure { () throws(APIFailure) in _ = try await api.create(.pods, pod("idle-2")) }
            #expect(refused?.message.contains("exceeded quota: idle") == true)
            var busy = pod("busy")
            busy.json[path: ["spec", "containers"]] = [
                ["name": "app", "image": "example.test/a:1", "resources": ["requests": ["cpu": "1"]]]
            ]
            _ = try await api.create(.pods, busy)
        }
    }
}

@Suite("Admission by namespace, with kubectl")
struct NamespaceAdmissionTests {
    @Test("Pod Security: enforced, warned of on workloads, told when a level is raised")
    func podSecurity() async throws {
        try await withKubectl { kubectl, api in
            _ = try await kubectl.ok("run", "loose", "--image=example.test/a:1")
            let raised = try await kubectl(
                "label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted",
                "pod-security.kubernetes.io/warn=restricted")
            #expect(
                raised.errors.contains(
                    "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\""
                ) && raised.errors.contains("loose: allowPrivilegeEscalation != false"), "\(raised.errors)")
            let refused = try await kubectl("run", "other", "--image=example.test/a:1")
            #expect(
                refused.errors.contains(
                    "pods \"other\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"other\" must set securityContext.allowPrivilegeEscalation=false)"
                ), "\(refused.errors)")
            let warned = try await kubectl("create", "deployment", "web", "--image=example.test/a:1")
            #expect(
                warned.code == 0 && warned.errors.contains("Warning: would violate PodSecurity \"restricted:latest\""),
                "\(warned.errors)")
            let wrong = try await kubectl(
                "label", "namespace", "default", "--overwrite", "pod-security.kubernetes.io/enforce=strict")
            #expect(wrong.code == 1 && wrong.errors.contains("must be one of privileged, baseline, restricted"))
        }
    }

    @Test("limits of a namespace: defaults given, bounds held")
    func limits() async throws {
        try await withKubectl { kubectl, api in
            let range = """
                apiVersion: v1
                kind: LimitRange
                metadata: {name: limits}
                spec: {limits: [{type: Container, default: {cpu: 500m}, defaultRequest: {cpu: 100m}, max: {cpu: "1"}}]}
                """
            _ = try await kubectl.ok("apply", "-f", "-", input: range)
            _ = try await kubectl.ok("run", "plain", "--image=example.test/a:1")
            let made = try await api.get(.pods, ObjectKey(namespace: "default", name: "plain"))
            #expect(
                made.spec["containers"]?[0]?["resources"] == ["limits": ["cpu": "500m"], "requests": ["cpu": "100m"]])
            let large = """
                apiVersion: v1
                kind: Pod
                metadata: {name: large}
                spec: {containers: [{name: a, image: "example.test/a:1", resources: {limits: {cpu: "2"}}}]}
                """
            let refused = try await kubectl("apply", "-f", "-", input: large)
            #expect(
                refused.errors.contains(
                    "pods \"large\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum cpu usage per Container is 1, but request is 2]"
                )
                    || refused.errors.contains(
                        "pods \"large\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"),
                "\(refused.errors)")
        }
    }

    @Test("a namespace that is going takes nothing new; some stay for ever")
    func lifecycle() async throws {
        try await withServer { _, api in
            var going = KubeObject(apiVersion: "v1", kind: "Namespace", name: "going")
            going.finalizers = ["example.test/hold"]
            _ = try await api.create(.namespaces, going)
            try await api.delete(.namespaces, ObjectKey(name: "going"))
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("late", namespace: "going"))
            }
            #expect(
                refused?.message
                    == "configmaps \"late\" is forbidden: unable to create new content in namespace going because it is being terminated"
            )
            #expect(refused?.details?["causes"]?[0]?["reason"] == "NamespaceTerminating")
            let missing = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("lost", namespace: "nowhere"))
            }
            #expect(missing?.code == 404 && missing?.message == "namespaces \"nowhere\" not found")
            let kept = await failure { () throws(APIFailure) in
                try await api.delete(.namespaces, ObjectKey(name: "kube-system"))
            }
            #expect(kept?.message == "namespaces \"kube-system\" is forbidden: this namespace may not be deleted")
        }
    }
}
