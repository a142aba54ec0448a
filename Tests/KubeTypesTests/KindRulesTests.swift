import KubeTypes
import Testing
import Wire

@Suite("Rules of kinds")
struct KindRulesTests {
    /// What is wrong with the object, and with its replacement by one where `old` reads `new`.
    private func faults(_ yaml: String, _ old: String = "", _ new: String = "") throws -> [String] {
        let before = try Manifest.object(yaml)
        let definition = try Manifest.definition(before.json)
        if old.isEmpty { return definition.faults(before).map(\.description) }
        return definition.faults(try Manifest.object(changed(yaml, old, new)), old: before).map(\.description)
    }

    private func changed(_ yaml: String, _ old: String, _ new: String) -> String {
        let text = yaml.replacing(old, with: new)
        #expect(text != yaml, "the test's own text must be found")
        return text
    }

    private static let pdb =
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: a, namespace: d}, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}"
    private static let level =
        "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: a}, spec: {type: Limited, limited: {nominalConcurrencyShares: 30, limitResponse: {type: Queue, queuing: {queues: 64, handSize: 8, queueLengthLimit: 50}}}}}"
    private static let flow =
        "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: a}, spec: {matchingPrecedence: 1000, priorityLevelConfiguration: {name: a}, rules: [{subjects: [{kind: User, user: {name: ann}}], nonResourceRules: [{verbs: [get], nonResourceURLs: ['*']}]}]}}"
    private static let hpa =
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a, namespace: d}, spec: {minReplicas: 2, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}}"
    private static let claim =
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Gi}}, volumeName: v}}"
    private static let volume =
        "{apiVersion: v1, kind: PersistentVolume, metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], capacity: {storage: 10Gi}, hostPath: {path: /data}}}"
    private static let quota =
        "{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: d}, spec: {hard: {pods: '10', requests.cpu: '2', count/deployments.apps: '3'}}}"
    private static let limits =
        "{apiVersion: v1, kind: LimitRange, metadata: {name: a, namespace: d}, spec: {limits: [{type: Container, min: {cpu: 100m}, max: {cpu: '1'}}]}}"
    private static let cron =
        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: a, namespace: d}, spec: {schedule: '*/5 * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}}"
    private static let job =
        "{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: d}, spec: {completions: 3, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}"
    private static let set =
        "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a, namespace: d}, spec: {serviceName: s, replicas: 1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}"
    private static let daemons =
        "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, namespace: d}, spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}"
    private static let priority =
        "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: a}, value: 100}"
    private static let storage =
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: a}, provisioner: example.com/disks, parameters: {type: ssd}}"
    private static let hooks =
        "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a}, webhooks: [{name: a.b.example, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: 'https://x.example/y'}, rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}]}"
    private static let policy =
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: d}, spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80, endPort: 90}]}]}}"
    private static let pod =
        "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {tolerations: [{key: k, operator: Exists}], containers: [{name: a, image: 'a:1', resources: {limits: {cpu: 1}}}]}}"

    @Test(
        "what is right has no faults",
        arguments: [
            pdb, hpa, claim, volume, quota, limits, cron, job, set, daemons, priority, storage, hooks, policy, pod,
            level, flow,
        ])
    func right(yaml: String) throws { #expect(try faults(yaml) == []) }

    @Test(
        "a mistake is named, with its field",
        arguments: [
            (pdb, "minAvailable: 1", "minAvailable: 1, maxUnavailable: 1", "spec: Invalid value"),
            (pdb, "minAvailable: 1", "minAvailable: half", "spec.minAvailable: Invalid value: \"half\""),
            (
                pdb, "minAvailable: 1", "maxUnavailable: 9223372036854775807%",
                "spec.maxUnavailable: Invalid value: \"9223372036854775807%\": must not be greater than 100%"
            ),
            (
                pdb, "minAvailable: 1", "minAvailable: 2147483648",
                "spec.minAvailable: Invalid value: 2147483648: must be less than or equal to 2147483647"
            ),
            (
                pod, "containers:", "securityContext: {fsGroup: 4294967296}, containers:",
                "spec.securityContext.fsGroup: Invalid value: 4294967296: must be between 0 and 2147483647, inclusive"
            ),
            (
                pod, "containers:", "securityContext: {supplementalGroups: [1, 4294967296]}, containers:",
                "spec.securityContext.supplementalGroups[1]: Invalid value: 4294967296"
            ),
            (
                level, "handSize: 8", "handSize: -1",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: -1: must be positive"
            ),
            (
                level, "handSize: 8", "handSize: 65",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)"
            ),
            (
                level, "queues: 64, handSize: 8", "queues: 1024, handSize: 7",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits"
            ),
            (
                level, "queues: 64", "queues: 2000000000",
                "spec.limited.limitResponse.queuing.queues: Invalid value: 2000000000: must not be greater than 10000000"
            ),
            (
                level, "nominalConcurrencyShares: 30", "nominalConcurrencyShares: 30, lendablePercent: 101",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"
            ),
            (
                flow, "matchingPrecedence: 1000", "matchingPrecedence: 1",
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have"
            ),
            (flow, "{kind: User, user: {name: ann}}", "", "spec.rules[0].subjects: Required value"),
            (
                hpa, "maxReplicas: 5", "maxReplicas: 1",
                "spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"
            ),
            (
                hpa, "averageUtilization: 80", "averageUtilization: 0",
                "spec.metrics[0].resource.target.averageUtilization"
            ),
            (hpa, "type: Resource", "type: Disk", "spec.metrics[0].type: Unsupported value: \"Disk\""),
            (
                claim, "accessModes: [ReadWriteOnce]", "accessModes: [ReadOften]",
                "spec.accessModes: Unsupported value: \"ReadOften\""
            ),
            (claim, "requests: {storage: 10Gi}", "requests: {}", "spec.resources[storage]: Required value"),
            (
                volume, "hostPath: {path: /data}", "nfs: {server: a, path: /}, hostPath: {path: /data}",
                "spec.hostPath: Forbidden"
            ),
            (volume, "hostPath: {path: /data}", "hostPath: {path: /a/../b}", "spec.hostPath.path: Invalid value"),
            (volume, "capacity: {storage: 10Gi}", "capacity: {}", "spec.capacity: Required value"),
            (quota, "pods: '10'", "pods: 1500m", "spec.hard[pods]: Invalid value: \"1500m\": must be an integer"),
            (
                quota, "pods: '10'", "peas: '10'",
                "spec.hard[peas]: Invalid value: \"peas\": must be a standard resource for quota"
            ),
            (limits, "max: {cpu: '1'}", "max: {cpu: 50m}", "spec.limits[0].min[cpu]: Invalid value"),
            (limits, "type: Container", "type: Pod, default: {cpu: 1}", "spec.limits[0].default: Forbidden"),
            (cron, "'*/5 * * * *'", "'*/5 * * *'", "spec.schedule: Invalid value"),
            (
                cron, "'*/5 * * * *'", "'61 * * * *'",
                "spec.schedule: Invalid value: \"61 * * * *\": the minute \"61\" is not in the range 0-59"
            ),
            (cron, "'*/5 * * * *'", "'TZ=UTC 1 * * * *'", "spec.schedule: Invalid value"),
            (
                job, "completions: 3", "completions: 3, backoffLimitPerIndex: 1",
                "spec.backoffLimitPerIndex: Invalid value"
            ),
            (job, "restartPolicy: Never", "restartPolicy: Always", "spec.template.spec.restartPolicy: "),
            (
                daemons, "maxUnavailable: 1", "maxUnavailable: 0",
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value"
            ),
            (priority, "value: 100", "value: 2000000000", "value: Forbidden"),
            (priority, "{name: a}", "{name: system-mine}", "metadata.name: Forbidden"),
            (storage, "provisioner: example.com/disks", "provisioner: ''", "provisioner: Required value"),
            (hooks, "name: a.b.example", "name: ab", "webhooks[0].name: Invalid value"),
            (hooks, "sideEffects: None", "sideEffects: Some", "webhooks[0].sideEffects: Unsupported value"),
            (hooks, "https://x", "http://x", "webhooks[0].clientConfig.url: Invalid value"),
            (policy, "cidr: 10.0.0.0/8", "cidr: 10.0.0.0/33", "spec.ingress[0].from[0].ipBlock.cidr: Invalid value"),
            (policy, "endPort: 90", "endPort: 70", "spec.ingress[0].ports[0].endPort: Invalid value"),
            (
                pod, "containers:",
                "topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}], containers:",
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0"
            ),
            (
                pod, "containers:",
                "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}]}}, containers:",
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value"
            ),
            (
                pod, "containers:", "ephemeralContainers: [{name: d, image: d}], containers:",
                "spec.ephemeralContainers: Forbidden: cannot be set on create"
            ),
        ])
    func mistakes(yaml: String, old: String, new: String, message: String) throws {
        let found = try faults(changed(yaml, old, new))
        #expect(found.contains { $0.hasPrefix(message) }, "\(found)")
    }

    @Test(
        "what may not change does not",
        arguments: [
            (set, "serviceName: s", "serviceName: t", "spec: Forbidden: updates to statefulset spec"),
            (job, "image: a}", "image: b}", "spec.template: Invalid value"),
            (job, "completions: 3", "completions: 4", "spec.completions: Invalid value: 4: field is immutable"),
            (claim, "volumeName: v", "volumeName: w", "spec: Forbidden: spec is immutable after creation"),
            (claim, "storage: 10Gi", "storage: 5Gi", "spec.resources.requests.storage: Forbidden"),
            (priority, "value: 100", "value: 200", "value: Forbidden: may not be changed in an update."),
            (storage, "type: ssd", "type: disk", "parameters: Forbidden"),
            (pod, "limits: {cpu: 1}", "limits: {cpu: 2}", "spec: Forbidden: pod updates may not change fields"),
            (pod, "key: k", "key: l", "spec.tolerations: Forbidden"),
        ])
    func immutable(yaml: String, old: String, new: String, message: String) throws {
        let found = try faults(yaml, old, new)
        #expect(found.contains { $0.hasPrefix(message) }, "\(found)")
    }

    @Test(
        "what may change does",
        arguments: [
            (set, "replicas: 1", "replicas: 3"), (job, "completions: 3", "completions: 3, parallelism: 2"),
            (claim, "storage: 10Gi", "storage: 20Gi"), (pod, "a:1", "a:2"),
            (pod, "tolerations: [", "tolerations: [{key: new, operator: Exists}, "),
        ])
    func mutable(yaml: String, old: String, new: String) throws { #expect(try faults(yaml, old, new) == []) }

    @Test("a pod's containers are resized, and added to, through their own subresources only")
    func subresources() throws {
        let before = try Manifest.object(Self.pod)
        let definition = try Manifest.definition(before.json)
        let resized = try Manifest.object(Self.pod.replacing("limits: {cpu: 1}", with: "limits: {cpu: 2}"))
        #expect(definition.faults(resized, old: before, subresource: "resize") == [])
        var debugged = before
        debugged.json[path: ["spec", "ephemeralContainers"]] = [["name": "d", "image": "d"]]
        #expect(definition.faults(debugged, old: before, subresource: "ephemeralcontainers") == [])
        #expect(!definition.faults(debugged, old: before).isEmpty)
    }

    @Test("odd things are warned of, not refused")
    func warnings() throws {
        let text = Self.pod.replacing(
            "image: 'a:1'",
            with:
                "image: 'a:1', env: [{name: A, value: '1'}, {name: A, value: '2'}], ports: [{containerPort: 1}, {containerPort: 1}]"
        )
        let object = try Manifest.object(
            text.replacing("containers:", with: "nodeSelector: {beta.kubernetes.io/os: linux}, containers:"))
        let definition = try Manifest.definition(object.json)
        #expect(
            definition.warnings(object) == [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ])
        #expect(definition.warnings(object, old: object) == [], "an object that stays as it was is not warned of again")
    }
}
