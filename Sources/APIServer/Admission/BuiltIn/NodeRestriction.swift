import KubeTypes
import Wire

/// A node's agent may change its own node and the pods on it, and no others.
struct NodeRestriction: MutatingAdmission {
    let objects: AdmissionObjects
    private let pods: ObjectLookup
    var keepsForm: Bool { true }

    init(objects: AdmissionObjects) {
        self.objects = objects
        pods = ObjectLookup(objects.registry, .pods)
    }

    private static let userPrefix = "system:node:"
    private static let mirror = "kubernetes.io/config.mirror"

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        // Nearly nobody is a node: one look at the name.
        guard request.user.name.hasPrefix(Self.userPrefix), request.user.groups.contains("system:nodes") else {
            return false
        }
        let node = String(request.user.name.dropFirst(Self.userPrefix.count))
        if node.isEmpty {
            throw .forbidden(request, "could not determine node from user \"\(request.user.name)\"")
        }
        switch (request.type.qualifiedName, request.subresource) {
        case ("pods", nil): try await checkPod(request, node)
        case ("pods", "status"): try checkPodStatus(request, node)
        case ("pods", "eviction"): try await checkEviction(request, node)
        case ("pods", let other?):
            throw .forbidden(
                request, "unexpected pod subresource \"\(other)\", only 'status' and 'eviction' are allowed")
        case ("nodes", _): try checkNode(request, node)
        case ("serviceaccounts", "token"): try await checkToken(request, node)
        case ("leases.coordination.k8s.io", _): try checkLease(request, node)
        case ("csinodes.storage.k8s.io", _):
            if request.name != node {
                throw .forbidden(request, "can only access CSINode with the same name as the requesting node")
            }
        case ("persistentvolumeclaims", let part?) where part != "status":
            throw .forbidden(request, "unexpected claim subresource \"\(part)\", only 'status' is allowed")
        case ("persistentvolumeclaims", nil):
            throw .forbidden(request, "is forbidden to change claims: only their status")
        default: break
        }
        return false
    }

    // MARK: Pods

    private func checkPod(_ request: AdmissionRequest, _ node: String) async throws(APIFailure) {
        switch request.operation {
        case .create: try checkNewPod(request, node)
        case .delete:
            guard request.oldObject?[Pod.nodeName] == node else {
                throw .forbidden(
                    request, "node \"\(node)\" can only delete pods with spec.nodeName set to itself")
            }
        default:
            throw .forbidden(
                request,
                "unexpected operation \"\(request.operation.rawValue)\", node \"\(node)\" can only create and delete mirror pods"
            )
        }
    }

    private func checkNewPod(_ request: AdmissionRequest, _ node: String) throws(APIFailure) {
        let pod = request.object
        if pod.annotations[Self.mirror] == nil {
            throw .forbidden(
                request, "pod does not have \"\(Self.mirror)\" annotation, node \"\(node)\" can only create mirror pods"
            )
        }
        if pod[Pod.nodeName] != node {
            throw .forbidden(request, "node \"\(node)\" can only create pods with spec.nodeName set to itself")
        }
        let owners = pod.ownerReferences
        guard owners.count == 1, let owner = owners.first, owner.kind == "Node", owner.name == node,
            owner.isController
        else {
            throw .forbidden(
                request, "node \"\(node)\" can only create pods with an owner reference set to itself")
        }
        if pod[Pod.serviceAccountName]?.isEmpty == false {
            throw .forbidden(request, "node \"\(node)\" can not create pods that reference a service account")
        }
        for volume in pod[Pod.volumes] ?? [] {
            for (source, what) in [
                ("secret", "secrets"), ("configMap", "configmaps"), ("persistentVolumeClaim", "persistentvolumeclaims"),
                ("projected", "projected volumes"),
            ] where volume[source] != nil {
                throw .forbidden(request, "node \"\(node)\" can not create pods that reference \(what)")
            }
        }
        for container in (pod[Pod.containers] ?? []) + (pod[Pod.initContainers] ?? []) {
            let variables = container["env"]?.array ?? []
            for variable in variables {
                if variable[path: ["valueFrom", "secretKeyRef"]] != nil {
                    throw .forbidden(request, "node \"\(node)\" can not create pods that reference secrets")
                }
                if variable[path: ["valueFrom", "configMapKeyRef"]] != nil {
                    throw .forbidden(request, "node \"\(node)\" can not create pods that reference configmaps")
                }
            }
        }
    }

    private func checkPodStatus(_ request: AdmissionRequest, _ node: String) throws(APIFailure) {
        guard request.operation == .update, let old = request.oldObject else {
            throw .forbidden(request, "unexpected operation \"\(request.operation.rawValue)\"")
        }
        if old[Pod.nodeName] != node {
            throw .forbidden(
                request, "node \"\(node)\" can only update pod status for pods with spec.nodeName set to itself")
        }
        if old.labels != request.object.labels {
            throw .forbidden(request, "node \"\(node)\" cannot update labels through pod status")
        }
    }

    private func checkEviction(_ request: AdmissionRequest, _ node: String) async throws(APIFailure) {
        let name = request.name.isEmpty ? request.object.name : request.name
        if name.isEmpty {
            throw .forbidden(request, "could not determine pod from request data")
        }
        guard let pod = try await pods.find(ObjectKey(namespace: request.namespace, name: name)) else {
            throw .notFound(.pods, name)
        }
        if pod[Pod.nodeName] != node {
            throw .forbidden(request, "node \"\(node)\" can only evict pods with spec.nodeName set to itself")
        }
    }

    // MARK: Nodes

    private func checkNode(_ request: AdmissionRequest, _ node: String) throws(APIFailure) {
        let name = request.name.isEmpty ? request.object.name : request.name
        if name != node { throw .forbidden(request, "node \"\(node)\" is not allowed to modify node \"\(name)\"") }
        if request.operation == .create {
            let bad = Self.restricted(request.object.labels)
            if !bad.isEmpty {
                throw .forbidden(
                    request,
                    "node \"\(node)\" is not allowed to set the following labels: \(bad.joined(separator: ", "))")
            }
            if !request.object.ownerReferences.isEmpty {
                throw .forbidden(request, "node \"\(node)\" is not allowed to set ownerReferences")
            }
        }
        guard request.operation == .update, let old = request.oldObject else { return }
        let (new, before) = (request.object, old)
        if new.spec["taints"] != before.spec["taints"] {
            throw .forbidden(request, "node \"\(node)\" is not allowed to modify taints")
        }
        if new.spec["configSource"] != before.spec["configSource"] {
            throw .forbidden(request, "node \"\(node)\" is not allowed to update configSource")
        }
        if new.metadata["ownerReferences"] != before.metadata["ownerReferences"] {
            throw .forbidden(request, "node \"\(node)\" is not allowed to modify ownerReferences")
        }
        let (labels, oldLabels) = (new.labels, before.labels)
        let touched = Set(labels.keys).union(oldLabels.keys).filter { labels[$0] != oldLabels[$0] }
        let bad = Self.restricted(Dictionary(uniqueKeysWithValues: touched.map { ($0, "") }))
        if !bad.isEmpty {
            throw .forbidden(
                request, "node \"\(node)\" is not allowed to modify labels: \(bad.joined(separator: ", "))")
        }
    }

    /// Labels of Kubernetes' own that a node's agent may set.
    private static let ownLabels: Set<String> = [
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.kubernetes.io/region", "failure-domain.kubernetes.io/zone",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
    ]

    private static func restricted(_ labels: [String: String]) -> [String] {
        labels.keys.filter { key in
            let parts = key.split(separator: "/", maxSplits: 1)
            guard parts.count == 2 else { return false }
            let domain = String(parts[0])
            if domain == "node-restriction.kubernetes.io" || domain.hasSuffix(".node-restriction.kubernetes.io") {
                return true
            }
            let isKubernetes = ["kubernetes.io", "k8s.io"].contains { domain == $0 || domain.hasSuffix(".\($0)") }
            if !isKubernetes || ownLabels.contains(key) { return false }
            let open = ["kubelet.kubernetes.io", "node.kubernetes.io"]
            return !open.contains { domain == $0 || domain.hasSuffix(".\($0)") }
        }.sorted()
    }

    // MARK: Others

    private func checkToken(_ request: AdmissionRequest, _ node: String) async throws(APIFailure) {
        guard let bound = request.object.spec["boundObjectRef"], bound["kind"] == "Pod", bound["apiVersion"] == "v1"
        else { throw .forbidden(request, "node requested token not bound to a pod") }
        guard let uid = bound["uid"]?.string, !uid.isEmpty else {
            throw .forbidden(request, "node requested token with a pod binding without a uid")
        }
        let key = ObjectKey(namespace: request.namespace, name: bound["name"]?.string ?? "")
        guard let pod = try await pods.find(key) else { throw .notFound(.pods, key.name) }
        if pod.uid != uid {
            throw .forbidden(
                request,
                "the UID in the bound object reference (\(uid)) does not match the UID in record. The object might have been deleted and then recreated"
            )
        }
        if pod[Pod.nodeName] != node {
            throw .forbidden(request, "node requested token bound to a pod scheduled on a different node")
        }
    }

    private func checkLease(_ request: AdmissionRequest, _ node: String) throws(APIFailure) {
        let name = request.name.isEmpty ? request.object.name : request.name
        if request.namespace != "kube-node-lease" {
            throw .forbidden(
                request, "can only access leases in the \"kube-node-lease\" system namespace")
        }
        if name != node {
            throw .forbidden(request, "can only access node lease with the same name as the requesting node")
        }
    }
}
