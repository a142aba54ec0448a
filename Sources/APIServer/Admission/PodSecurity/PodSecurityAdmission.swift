import KubeClient
import KubeTypes
import Wire

/// Holds pods to the level their namespace asks for; tells of workloads whose pods would be refused.
struct PodSecurityAdmission: ValidatingAdmission {
    let objects: AdmissionObjects
    let configuration: PodSecurityConfiguration

    /// Where the pod's template stands, of kinds that make pods.
    private static let templates: [String: [String]] = [
        "podtemplates": ["template"], "replicationcontrollers": ["spec", "template"],
        "deployments.apps": ["spec", "template"], "replicasets.apps": ["spec", "template"],
        "statefulsets.apps": ["spec", "template"], "daemonsets.apps": ["spec", "template"],
        "jobs.batch": ["spec", "template"], "cronjobs.batch": ["spec", "jobTemplate", "spec", "template"],
    ]

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard request.operation == .create || request.operation == .update else { return [] }
        if request.type == .pods {
            guard request.subresource == nil || request.subresource == "ephemeralcontainers" else { return [] }
            return try await checkPod(request)
        }
        guard request.subresource == nil else { return [] }
        if request.type == .namespaces { return try await checkNamespace(request) }
        if let path = Self.templates[request.type.qualifiedName] { return try await checkTemplate(request, path) }
        return []
    }

    private func labels(_ request: AdmissionRequest) async throws(APIFailure) -> PodSecurityLabels? {
        guard let namespace = try await objects.namespace(request.namespace) else { return nil }
        let labels = PodSecurityLabels(namespace, configuration)
        return labels.asksNothing ? nil : labels
    }

    private func isExempt(_ request: AdmissionRequest, _ spec: JSON) -> String? {
        if configuration.exemptNamespaces.contains(request.namespace) { return "namespace" }
        if configuration.exemptUsers.contains(request.user.name) { return "user" }
        let runtime = spec["runtimeClassName"]?.string ?? ""
        return configuration.exemptRuntimeClasses.contains(runtime) ? "runtimeClass" : nil
    }

    // MARK: Pods

    private func checkPod(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard let labels = try await labels(request) else { return [] }
        let pod = request.object
        if request.operation == .update, request.subresource == nil, let old = request.oldObject,
            !Self.matters(from: old, to: pod)
        {
            return []
        }
        if let why = isExempt(request, pod.spec) {
            request.annotate(PodSecurityLabels.prefix + "exempt", why)
            return []
        }
        func told(_ policy: PodSecurityPolicy) -> String? { Self.told(policy, pod.annotations, pod.spec) }
        if labels.enforce.level != .privileged {
            request.annotate(PodSecurityLabels.prefix + "enforce-policy", labels.enforce.description)
        }
        if labels.audit.level != .privileged, let found = told(labels.audit) {
            request.annotate(PodSecurityLabels.prefix + "audit-violations", "would violate \(found)")
        }
        if let found = told(labels.enforce) { throw .forbidden(request, "violates \(found)") }
        if labels.warn != labels.enforce, let found = told(labels.warn) { return ["would violate \(found)"] }
        return []
    }

    /// `PodSecurity "restricted:latest": …`, when there is something to tell.
    static func told(_ policy: PodSecurityPolicy, _ annotations: [String: String], _ spec: JSON) -> String? {
        let found = PodSecurityChecks(policy, annotations: annotations, spec: spec).violations()
        if found.isEmpty { return nil }
        let list = found.map(\.description).joined(separator: ", ")
        return "PodSecurity \"\(policy)\": \(list)"
    }

    /// Whether an update changes what the checks look at: of a stored pod only images can, and annotations.
    private static func matters(from old: KubeObject, to new: KubeObject) -> Bool {
        func view(_ pod: KubeObject) -> [JSON] {
            let lists = ["containers", "initContainers", "ephemeralContainers"]
            return lists.map { list in .array((pod.spec[list]?.array ?? []).map { $0["image"] ?? .null }) }
        }
        if view(old) != view(new) { return true }
        let profiles = { (pod: KubeObject) in pod.annotations.filter { $0.key.contains("apparmor") } }
        return profiles(old) != profiles(new)
    }

    // MARK: What makes pods

    private func checkTemplate(_ request: AdmissionRequest, _ path: [String]) async throws(APIFailure) -> [String] {
        guard let labels = try await labels(request), let template = request.object.json[path: path] else { return [] }
        let spec = template["spec"] ?? [:]
        if isExempt(request, spec) != nil { return [] }
        let annotations = template["metadata"]?["annotations"]?.stringMap ?? [:]
        if labels.audit.level != .privileged, let found = Self.told(labels.audit, annotations, spec) {
            request.annotate(PodSecurityLabels.prefix + "audit-violations", "would violate \(found)")
        }
        if labels.warn.level != .privileged, let found = Self.told(labels.warn, annotations, spec) {
            return ["would violate \(found)"]
        }
        return []
    }

    // MARK: Namespaces

    /// Pods of a namespace that are looked at when its level changes.
    private static let mostPods = 3000

    private func checkNamespace(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        let new = PodSecurityLabels(request.object, configuration)
        guard let oldObject = request.oldObject else {
            if !new.faults.isEmpty { throw .invalid(.namespaces, request.name, new.faults) }
            return []
        }
        let old = PodSecurityLabels(oldObject, configuration)
        // What was wrong before may stay so: the namespace must not become impossible to change.
        if !new.faults.isEmpty, new.faults != old.faults { throw .invalid(.namespaces, request.name, new.faults) }
        guard new.enforce.isStricter(than: old.enforce) else { return [] }
        if configuration.exemptNamespaces.contains(request.name) { return [] }
        return try await existingViolations(request.name, new.enforce)
    }

    private func existingViolations(_ namespace: String, _ policy: PodSecurityPolicy) async throws(APIFailure)
        -> [String]
    {
        let registry = objects.registry
        var options = ListOptions()
        options.limit = Self.mostPods
        let found = try registry.list(try registry.definition(of: .pods), namespace: namespace, .all, options)
        var byReason: [String: [String]] = [:]
        for pod in found.items {
            let checks = PodSecurityChecks(policy, annotations: pod.annotations, spec: pod.spec).violations()
            if checks.isEmpty { continue }
            byReason[checks.map(\.reason).joined(separator: ", "), default: []].append(pod.name)
        }
        if byReason.isEmpty { return [] }
        var warnings = [
            "existing pods in namespace \"\(namespace)\" violate the new PodSecurity enforce level \"\(policy)\""
        ]
        for (reason, names) in byReason.sorted(by: { ($0.value.min() ?? "") < ($1.value.min() ?? "") }) {
            let first = names.min() ?? ""
            let others = names.count - 1
            let more = others == 0 ? "" : " (and \(others) other \(others == 1 ? "pod" : "pods"))"
            warnings.append("\(first)\(more): \(reason)")
        }
        return warnings
    }
}
