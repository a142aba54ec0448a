import KubeTypes
import Testing
import Wire

@testable import APIServer

private func request(
    _ object: KubeObject, _ operation: AdmissionRequest.Operation = .create, _ type: ResourceType = .pods,
    subresource: String? = nil, old: KubeObject? = nil, user: User = .component("test")
) -> AdmissionRequest {
    AdmissionRequest(
        operation, type, subresource: subresource, object.key, object: object, oldObject: old, WriteContext(user: user))
}

private func podSpec(_ text: String) throws -> JSON { try JSON(parsing: text) }

@Suite("Pod Security Standards")
struct PodSecurityTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var policy: PodSecurityPolicy
        var spec: String
        var expected: [String]
        var testDescription: String { "\(policy) \(spec)" }
        init(_ level: PodSecurityLevel, minor: Int? = nil, _ spec: String, _ expected: String...) {
            policy = PodSecurityPolicy(level, minor: minor)
            self.spec = spec
            self.expected = expected
        }
    }

    /// A container that satisfies `restricted`.
    static let good = """
        {"name":"a","securityContext":{"allowPrivilegeEscalation":false,"runAsNonRoot":true,\
        "capabilities":{"drop":["ALL"]},"seccompProfile":{"type":"RuntimeDefault"}}}
        """

    static let cases: [Case] = [
        Case(.privileged, #"{"hostNetwork":true,"containers":[{"name":"a","securityContext":{"privileged":true}}]}"#),
        Case(.baseline, #"{"containers":[{"name":"a"}]}"#),
        Case(
            .baseline, #"{"hostNetwork":true,"hostPID":true,"containers":[{"name":"a"}]}"#,
            "host namespaces (hostNetwork=true, hostPID=true)"),
        Case(
            .baseline,
            #"{"containers":[{"name":"a","securityContext":{"privileged":true}},{"name":"b","securityContext":{"privileged":true}}]}"#,
            #"privileged (containers "a", "b" must not set securityContext.privileged=true)"#),
        Case(
            .baseline,
            #"{"containers":[{"name":"a","securityContext":{"capabilities":{"add":["NET_ADMIN","KILL"]}}}]}"#,
            #"non-default capabilities (container "a" must not include "NET_ADMIN" in securityContext.capabilities.add)"#
        ),
        Case(
            .baseline, #"{"volumes":[{"name":"v","hostPath":{"path":"/"}}],"containers":[{"name":"a"}]}"#,
            #"hostPath volumes (volume "v")"#),
        Case(
            .baseline, #"{"containers":[{"name":"a","ports":[{"hostPort":80}]}]}"#,
            #"hostPort (container "a" uses hostPort 80)"#),
        Case(
            .baseline, #"{"containers":[{"name":"a","livenessProbe":{"httpGet":{"host":"8.8.8.8"}}}]}"#,
            #"probe or lifecycle host (container "a" uses probe or lifecycle host "8.8.8.8")"#),
        Case(.baseline, minor: 33, #"{"containers":[{"name":"a","livenessProbe":{"httpGet":{"host":"8.8.8.8"}}}]}"#),
        Case(
            .baseline, #"{"containers":[{"name":"a","securityContext":{"procMount":"Unmasked"}}]}"#,
            #"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        Case(
            .baseline,
            #"{"securityContext":{"seLinuxOptions":{"type":"bad_t","user":"u"}},"containers":[{"name":"a"}]}"#,
            #"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "bad_t"; user may not be set)"#),
        Case(
            .baseline, #"{"securityContext":{"seccompProfile":{"type":"Unconfined"}},"containers":[{"name":"a"}]}"#,
            #"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#),
        Case(
            .baseline,
            #"{"securityContext":{"sysctls":[{"name":"kernel.msgmax"},{"name":"net.ipv4.tcp_rmem"}]},"containers":[{"name":"a"}]}"#,
            "forbidden sysctls (kernel.msgmax)"),
        Case(
            .baseline, minor: 31,
            #"{"securityContext":{"sysctls":[{"name":"net.ipv4.tcp_rmem"}]},"containers":[{"name":"a"}]}"#,
            "forbidden sysctls (net.ipv4.tcp_rmem)"),
        Case(
            .baseline, #"{"containers":[{"name":"a","securityContext":{"appArmorProfile":{"type":"Unconfined"}}}]}"#,
            #"forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")"#),
        Case(
            .baseline,
            #"{"securityContext":{"windowsOptions":{"hostProcess":true}},"containers":[{"name":"a"}]}"#,
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"),
        Case(.restricted, #"{"containers":[\#(good)]}"#),
        Case(
            .restricted, #"{"containers":[{"name":"nginx"}]}"#,
            #"allowPrivilegeEscalation != false (container "nginx" must set securityContext.allowPrivilegeEscalation=false)"#,
            #"unrestricted capabilities (container "nginx" must set securityContext.capabilities.drop=["ALL"])"#,
            #"runAsNonRoot != true (pod or container "nginx" must set securityContext.runAsNonRoot=true)"#,
            #"seccompProfile (pod or container "nginx" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        ),
        Case(
            .restricted,
            #"{"volumes":[{"name":"v","hostPath":{"path":"/"}},{"name":"n","nfs":{}}],"containers":[\#(good)]}"#,
            #"restricted volume types (volumes "v", "n" use restricted volume types "hostPath", "nfs")"#),
        Case(
            .restricted, #"{"securityContext":{"runAsUser":0},"containers":[\#(good)]}"#,
            "runAsUser=0 (pod must not set runAsUser=0)"),
        Case(.restricted, minor: 22, #"{"securityContext":{"runAsUser":0},"containers":[\#(good)]}"#),
        Case(
            .restricted, #"{"securityContext":{"runAsNonRoot":false},"containers":[\#(good)]}"#,
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"),
        // A pod whose root is nobody outside may be root inside.
        Case(
            .restricted,
            #"{"hostUsers":false,"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}"#
        ),
    ]

    @Test("each level forbids what it should, in the words users know", arguments: cases)
    func violations(_ one: Case) throws {
        let checks = PodSecurityChecks(one.policy, annotations: [:], spec: try podSpec(one.spec))
        #expect(checks.violations().map(\.description) == one.expected)
    }

    @Test("labels of a namespace: levels, versions, faults")
    func labels() {
        var namespace = KubeObject(apiVersion: "v1", kind: "Namespace", name: "demo")
        namespace.labels = [
            "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.29",
            "pod-security.kubernetes.io/warn": "restricted",
        ]
        let labels = PodSecurityLabels(namespace, PodSecurityConfiguration())
        #expect(labels.enforce.description == "baseline:v1.29" && labels.warn.description == "restricted:latest")
        #expect(labels.audit.level == .privileged && labels.faults.isEmpty && !labels.asksNothing)
        namespace.labels = [
            "pod-security.kubernetes.io/enforce": "strict", "pod-security.kubernetes.io/warn-version": "1.2",
        ]
        let wrong = PodSecurityLabels(namespace, PodSecurityConfiguration())
        #expect(wrong.enforce.level == .restricted)
        #expect(
            wrong.faults.map(\.path) == [
                "metadata.labels[pod-security.kubernetes.io/enforce]",
                "metadata.labels[pod-security.kubernetes.io/warn-version]",
            ])
    }
}

@Suite("Limit ranges")
struct LimitRangeTests {
    private func range(_ items: String) throws -> LimitRange {
        var object = KubeObject(apiVersion: "v1", kind: "LimitRange", namespace: "demo", name: "limits")
        object.json["spec"] = ["limits": try JSON(parsing: items)]
        return LimitRange(object)
    }
    private func pod(_ resources: String) throws -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "web")
        pod.json["spec"] = ["containers": [["name": "app", "resources": try JSON(parsing: resources)]]]
        return pod
    }

    @Test("defaults fill what is missing, and say so")
    func defaults() throws {
        let range = try range(
            #"[{"type":"Container","default":{"cpu":"500m","memory":"256Mi"},"defaultRequest":{"cpu":"100m"}}]"#)
        var pod = try pod(#"{"requests":{"cpu":"50m"}}"#)
        range.applyDefaults(to: &pod)
        let resources = pod.spec["containers"]?[0]?["resources"]
        #expect(resources?["requests"] == ["cpu": "50m"])
        #expect(resources?["limits"] == ["cpu": "500m", "memory": "256Mi"])
        #expect(
            pod.annotations["kubernetes.io/limit-ranger"]
                == "LimitRanger plugin set: cpu, memory limit for container app")
    }

    static let bounds: [(String, String, [String])] = [
        (#"[{"type":"Container","max":{"cpu":"1"}}]"#, #"{"limits":{"cpu":"1"},"requests":{"cpu":"1"}}"#, []),
        (
            #"[{"type":"Container","max":{"cpu":"1"}}]"#, #"{"limits":{"cpu":"2"}}"#,
            ["maximum cpu usage per Container is 1, but limit is 2"]
        ),
        (
            #"[{"type":"Container","max":{"cpu":"1"}}]"#, "{}",
            ["maximum cpu usage per Container is 1.  No limit is specified"]
        ),
        (
            #"[{"type":"Container","min":{"memory":"100Mi"}}]"#, #"{"requests":{"memory":"50Mi"}}"#,
            ["minimum memory usage per Container is 100Mi, but request is 50Mi"]
        ),
        (
            #"[{"type":"Pod","max":{"memory":"1Gi"}}]"#, #"{"limits":{"memory":"2Gi"}}"#,
            ["maximum memory usage per Pod is 1Gi, but limit is 2Gi"]
        ),
        (
            #"[{"type":"Container","maxLimitRequestRatio":{"cpu":"2"}}]"#,
            #"{"limits":{"cpu":"1"},"requests":{"cpu":"250m"}}"#,
            ["cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"]
        ),
        (
            #"[{"type":"Container","maxLimitRequestRatio":{"cpu":"4"}}]"#,
            #"{"limits":{"cpu":"1"},"requests":{"cpu":"250m"}}"#, []
        ),
    ]

    @Test("bounds, ratios and totals are held", arguments: bounds)
    func held(_ items: String, _ resources: String, _ expected: [String]) throws {
        #expect(try range(items).faults(ofPod: try pod(resources)) == expected)
    }

    @Test("claims must ask for enough and not for too much")
    func claims() throws {
        let range = try range(#"[{"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"3Gi"}}]"#)
        var claim = KubeObject(apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: "demo", name: "disk")
        claim.json["spec"] = ["resources": ["requests": ["storage": "4Gi"]]]
        #expect(
            range.faults(ofClaim: claim) == [
                "maximum storage usage per PersistentVolumeClaim is 3Gi, but request is 4Gi"
            ])
        claim.json["spec"] = ["resources": ["requests": ["storage": "2Gi"]]]
        #expect(range.faults(ofClaim: claim).isEmpty)
    }

    @Test("a pod needs what runs at the same time, or its largest step")
    func totals() throws {
        let spec = try JSON(
            parsing: """
                {"initContainers":[
                  {"name":"side","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},
                  {"name":"step","resources":{"requests":{"cpu":"900m"}}}],
                 "containers":[{"name":"a","resources":{"requests":{"cpu":"200m"}}},
                  {"name":"b","resources":{"requests":{"cpu":"300m","memory":"1Gi"}}}],
                 "overhead":{"cpu":"50m"}}
                """)
        let total = PodResources.total(spec, "requests")
        #expect(total["cpu"] == Quantity("1050m") && total["memory"] == Quantity("1Gi"))
    }
}

@Suite("Quota decisions")
struct QuotaDecisionTests {
    private func quota(_ hard: JSON, used: JSON, scopes: JSON = []) -> ResourceQuota {
        var object = KubeObject(apiVersion: "v1", kind: "ResourceQuota", namespace: "demo", name: "compute")
        object.json["spec"] = ["hard": hard, "scopes": scopes]
        object.json["status"] = ["hard": hard, "used": used]
        return ResourceQuota(object)
    }
    private func pod(_ spec: JSON) -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "web")
        pod.json["spec"] = spec
        return pod
    }

    @Test("what is beyond a quota is named with what was asked, used and allowed")
    func exceeded() {
        var quota = quota(["pods": "2", "requests.cpu": "1"], used: ["pods": "1", "requests.cpu": "800m"])
        let pod = pod(["containers": [["name": "a", "resources": ["requests": ["cpu": "300m"]]]]])
        let usage = QuotaUsage(pod, .pods)
        #expect(
            quota.take(usage.growth(from: nil), usage, .pods, spec: pod.spec)
                == "exceeded quota: compute, requested: requests.cpu=300m, used: requests.cpu=800m, limited: requests.cpu=1"
        )
        #expect(quota.used["pods"] == Quantity(1))
    }

    @Test("containers must say what the quota counts")
    func unspecified() {
        var quota = quota(["limits.memory": "1Gi", "cpu": "1"], used: ["limits.memory": "0", "cpu": "0"])
        let pod = pod(["containers": [["name": "a"], ["name": "b", "resources": ["requests": ["cpu": "1m"]]]]])
        let usage = QuotaUsage(pod, .pods)
        #expect(
            quota.take(usage.growth(from: nil), usage, .pods, spec: pod.spec)
                == "failed quota: compute: must specify cpu for: a; limits.memory for: a,b")
    }

    @Test("scopes choose pods")
    func scopes() {
        let idle = QuotaUsage(pod(["containers": [["name": "a"]]]), .pods)
        let busy = QuotaUsage(
            pod([
                "containers": [["name": "a", "resources": ["limits": ["cpu": "1"]]]], "activeDeadlineSeconds": 5,
                "priorityClassName": "high",
            ]), .pods)
        func matches(_ scope: String, _ usage: QuotaUsage) -> Bool {
            quota(["pods": "1"], used: [:], scopes: [.string(scope)]).matchesScopes(usage)
        }
        #expect(matches("BestEffort", idle) && !matches("BestEffort", busy))
        #expect(matches("Terminating", busy) && matches("NotTerminating", idle))
        #expect(matches("PriorityClass", busy) && !matches("PriorityClass", idle))
    }

    @Test("a pod that has ended counts only as an object; services count their node ports")
    func usage() {
        var ended = pod(["containers": [["name": "a", "resources": ["requests": ["cpu": "1"]]]]])
        ended.json["status"] = ["phase": "Succeeded"]
        #expect(QuotaUsage(ended, .pods).amounts == ["count/pods": Quantity(1)])
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "demo", name: "web")
        service.json["spec"] = ["type": "LoadBalancer", "ports": [["port": 80], ["port": 81]]]
        let amounts = QuotaUsage(service, .services).amounts
        #expect(amounts["services.loadbalancers"] == Quantity(1) && amounts["services.nodeports"] == Quantity(2))
    }
}

@Suite("Built-in admission steps")
struct BuiltInAdmissionTests {
    @Test("an account gives its pods a token, a certificate and secrets for images")
    func account() {
        var account = KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "demo", name: "robot")
        account.json["imagePullSecrets"] = [["name": "registry"]]
        var made = pod("web", namespace: "demo")
        ServiceAccountAdmission.complete(&made, account) { "kube-api-access-abcde" }
        #expect(made.spec["imagePullSecrets"] == [["name": "registry"]])
        let mount = made.spec["containers"]?[0]?["volumeMounts"]?[0]
        #expect(mount?["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount" && mount?["readOnly"] == true)
        let sources = made.spec["volumes"]?[0]?["projected"]?["sources"]
        #expect(sources?[0]?["serviceAccountToken"]?["expirationSeconds"] == 3607)
        #expect(sources?[1]?["configMap"]?["name"] == "kube-root-ca.crt")
        // A second look changes nothing.
        let before = made
        ServiceAccountAdmission.complete(&made, account) { "kube-api-access-other" }
        #expect(made == before)
    }

    @Test("a pod or its account can do without the token")
    func automount() {
        var account = KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "demo", name: "robot")
        account.json["automountServiceAccountToken"] = false
        var silent = pod("web", namespace: "demo")
        ServiceAccountAdmission.complete(&silent, account) { "x" }
        #expect(silent.spec["volumes"] == nil)
        var asking = pod("web", namespace: "demo")
        asking.json[path: ["spec", "automountServiceAccountToken"]] = true
        ServiceAccountAdmission.complete(&asking, account) { "kube-api-access-x" }
        #expect(asking.spec["volumes"]?.array?.count == 1)
    }

    @Test("priority classes become numbers; pods may not choose numbers themselves")
    func priority() throws {
        var standard = KubeObject(apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", name: "usual")
        standard.json["value"] = 7
        standard.json["globalDefault"] = true
        let classes = PriorityClasses([standard])
        func resolved(_ pod: KubeObject) throws(APIFailure) -> KubeObject {
            var request = request(pod)
            try PriorityAdmission.resolve(&request, classes)
            return request.object
        }
        let plain = try resolved(pod("web"))
        #expect(plain.spec["priority"] == 7 && plain.spec["priorityClassName"] == "usual")
        var critical = pod("web")
        critical.json[path: ["spec", "priorityClassName"]] = "system-node-critical"
        #expect(try resolved(critical).spec["priority"] == 2_000_001_000)
        critical.json[path: ["spec", "priority"]] = 5
        let failed = #expect(throws: APIFailure.self) { try resolved(critical) }
        #expect(
            failed?.message
                == "pods \"web\" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority"
                + " admission controller computed 2000001000 from the given PriorityClass name")
        critical.json[path: ["spec", "priorityClassName"]] = "nothing"
        let missing = #expect(throws: APIFailure.self) { try resolved(critical) }
        #expect(missing?.message.hasSuffix("no PriorityClass with name nothing was found") == true)
    }

    @Test("tolerations for silent nodes are added once")
    func tolerations() async throws {
        var first = request(pod("web"))
        #expect(try await DefaultTolerations().admit(&first))
        #expect(first.object.spec["tolerations"]?.array?.count == 2)
        var second = request(first.object)
        #expect(try await !DefaultTolerations().admit(&second))
        var open = pod("web")
        open.json[path: ["spec", "tolerations"]] = [["operator": "Exists"]]
        var third = request(open)
        #expect(try await !DefaultTolerations().admit(&third))
        #expect(third.object == open)
    }

    @Test("the newest default class is chosen")
    func defaultClass() {
        func made(_ name: String, _ time: String, _ isDefault: Bool) -> KubeObject {
            var one = KubeObject(apiVersion: "storage.k8s.io/v1", kind: "StorageClass", name: name)
            if isDefault { one.annotations = ["storageclass.kubernetes.io/is-default-class": "true"] }
            one.json[path: ["metadata", "creationTimestamp"]] = .string(time)
            return one
        }
        let all = [
            made("old", "2026-01-01T00:00:00Z", true), made("new", "2026-02-01T00:00:00Z", true),
            made("newest", "2026-03-01T00:00:00Z", false),
        ]
        #expect(DefaultClass.chosen(all, annotations: DefaultClass.storageAnnotations)?.name == "new")
    }

    static let rules: [(JSON, String, String?, Bool)] = [
        (["pods"], "pods", nil, true), (["pods"], "pods", "status", false), (["pods/*"], "pods", "exec", true),
        (["*"], "pods", nil, true), (["*"], "pods", "exec", false), (["*/*"], "pods", "exec", true),
        (["*/scale"], "deployments", "scale", true), (["configmaps"], "pods", nil, false),
    ]

    @Test("rules name resources and their parts", arguments: rules)
    func ruleResources(_ resources: JSON, _ resource: String, _ part: String?, _ expected: Bool) {
        let rule = RequestRule([
            "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": resources,
        ])
        let type = ResourceType(group: "", version: "v1", resource: resource, kind: "Any")
        let made = request(pod("web"), .create, type, subresource: part)
        #expect(rule.matches(made, as: type) == expected)
    }

    static let urls: [(String, String?)] = [
        ("https://hook.test/validate", "hook.test:443/validate"), ("https://127.0.0.1:8443", "127.0.0.1:8443/"),
        ("https://[::1]:9/a?b=c", "::1:9/a?b=c"), ("http://hook.test/", nil), ("https://", nil),
        ("https://user@hook.test/", nil), ("https://hook.test:99999/", nil),
    ]

    @Test("webhooks are reached by https only", arguments: urls)
    func httpsOnly(_ text: String, _ expected: String?) {
        #expect(WebhookURL(text).map { "\($0.host):\($0.port)\($0.target)" } == expected)
    }

    @Test("a node may change its own node and pods, and no others")
    func nodeRestriction() async throws {
        try await withServer { server, _ in
            let objects = AdmissionObjects(server.registry)
            let step = NodeRestriction(objects: objects)
            let user = User(name: "system:node:node-1", groups: ["system:nodes"])
            func refusal(_ request: AdmissionRequest) async -> String? {
                await failure { () throws(APIFailure) in
                    var request = request
                    _ = try await step.admit(&request)
                }?.message
            }
            var node = KubeObject(apiVersion: "v1", kind: "Node", name: "node-2")
            #expect(
                await refusal(request(node, .update, .nodes, old: node, user: user))
                    == "nodes \"node-2\" is forbidden: node \"node-1\" is not allowed to modify node \"node-2\"")
            node.name = "node-1"
            var tainted = node
            tainted.json["spec"] = ["taints": [["key": "a", "effect": "NoSchedule"]]]
            #expect(await refusal(request(tainted, .update, .nodes, old: node, user: user))?.contains("taints") == true)
            var labelled = node
            labelled.labels = ["node-restriction.kubernetes.io/team": "a"]
            #expect(
                await refusal(request(labelled, .update, .nodes, old: node, user: user))?
                    .hasSuffix("is not allowed to modify labels: node-restriction.kubernetes.io/team") == true)
            #expect(await refusal(request(pod("web", node: "node-1"), user: user))?.contains("mirror") == true)
            let own = pod("web", node: "node-1")
            #expect(await refusal(request(own, .delete, old: own, user: user)) == nil)
            let other = pod("web", node: "node-2")
            #expect(await refusal(request(other, .delete, old: other, user: user)) != nil)
            #expect(await refusal(request(tainted, .update, .nodes, old: node)) == nil)
        }
    }
}
