import KubeTypes
import Wire

/// What one object counts towards quotas.
struct QuotaUsage: Sendable, Hashable {
    var amounts: ResourceAmounts
    /// Of pods; quotas with scopes count nothing else.
    var traits: PodTraits?

    /// What scopes ask about a pod.
    struct PodTraits: Sendable, Hashable {
        var isBestEffort: Bool
        /// It has an end set: `activeDeadlineSeconds`.
        var isTerminating: Bool
        var priorityClass: String
        var reachesOtherNamespaces: Bool
    }

    init(_ object: KubeObject, _ type: ResourceType) {
        amounts = [Self.countName(type): Quantity(1)]
        traits = nil
        switch type.qualifiedName {
        case "pods": addPod(object)
        case "services": addService(object)
        case "persistentvolumeclaims": addClaim(object)
        case "configmaps", "secrets", "replicationcontrollers", "resourcequotas": amounts[type.resource] = Quantity(1)
        default: break
        }
    }

    /// `count/deployments.apps`
    static func countName(_ type: ResourceType) -> String { "count/\(type.qualifiedName)" }

    private mutating func addPod(_ pod: KubeObject) {
        let spec = pod.spec
        traits = PodTraits(
            isBestEffort: PodResources.isBestEffort(spec),
            isTerminating: (pod[Pod.activeDeadlineSeconds] ?? -1) >= 0,
            priorityClass: spec["priorityClassName"]?.string ?? "",
            reachesOtherNamespaces: Self.reachesOtherNamespaces(spec))
        // What has ended uses nothing any more but its place in the store.
        let phase = pod[Pod.phase] ?? ""
        if phase == "Succeeded" || phase == "Failed" { return }
        amounts["pods"] = Quantity(1)
        for (name, amount) in PodResources.total(spec, "requests") {
            amounts["requests.\(name)"] = amount
            if Self.isNative(name) { amounts[name] = amount }
        }
        for (name, amount) in PodResources.total(spec, "limits") where Self.isNative(name) {
            amounts["limits.\(name)"] = amount
        }
    }

    /// Resources that Kubernetes itself knows; others count by their requests only.
    private static func isNative(_ name: String) -> Bool {
        name == "cpu" || name == "memory" || name == "ephemeral-storage" || name.hasPrefix("hugepages-")
    }

    private static func reachesOtherNamespaces(_ spec: JSON) -> Bool {
        let affinity = spec["affinity"]
        for side in ["podAffinity", "podAntiAffinity"] {
            guard let terms = affinity?[side] else { continue }
            let required = terms["requiredDuringSchedulingIgnoredDuringExecution"]?.array ?? []
            let preferred = (terms["preferredDuringSchedulingIgnoredDuringExecution"]?.array ?? [])
                .compactMap { $0["podAffinityTerm"] }
            for term in required + preferred {
                if term["namespaces"]?.array?.isEmpty == false || term["namespaceSelector"] != nil { return true }
            }
        }
        return false
    }

    private mutating func addService(_ service: KubeObject) {
        amounts["services"] = Quantity(1)
        let ports = Int64(service.spec["ports"]?.array?.count ?? 0)
        switch service.spec["type"]?.string ?? "ClusterIP" {
        case "NodePort": amounts["services.nodeports"] = Quantity(ports)
        case "LoadBalancer":
            amounts["services.loadbalancers"] = Quantity(1)
            if service.spec["allocateLoadBalancerNodePorts"] != false {
                amounts["services.nodeports"] = Quantity(ports)
            } else {
                let given = (service.spec["ports"]?.array ?? []).filter { ($0["nodePort"]?.int ?? 0) != 0 }
                amounts["services.nodeports"] = Quantity(Int64(given.count))
            }
        default: break
        }
    }

    private mutating func addClaim(_ claim: KubeObject) {
        amounts["persistentvolumeclaims"] = Quantity(1)
        let storage = PodResources.amounts(claim.spec, "requests")["storage"]
        amounts["requests.storage"] = storage
        let name =
            claim.annotations["volume.beta.kubernetes.io/storage-class"] ?? claim.spec["storageClassName"]?.string ?? ""
        if name.isEmpty { return }
        let prefix = "\(name).storageclass.storage.k8s.io/"
        amounts["\(prefix)persistentvolumeclaims"] = Quantity(1)
        amounts["\(prefix)requests.storage"] = storage
    }

    /// Which kind's objects a name of a quota counts: the resource and its group.
    static func counted(by name: String) -> (group: String, resource: String) {
        if name.hasPrefix("count/") {
            let parts = name.dropFirst(6).split(separator: ".", maxSplits: 1)
            return (parts.count > 1 ? String(parts[1]) : "", String(parts.first ?? ""))
        }
        if name == "services" || name.hasPrefix("services.") { return ("", "services") }
        if name == "persistentvolumeclaims" || name == "requests.storage"
            || name.contains(".storageclass.storage.k8s.io/")
        {
            return ("", "persistentvolumeclaims")
        }
        if ["configmaps", "secrets", "replicationcontrollers", "resourcequotas"].contains(name) { return ("", name) }
        return ("", "pods")
    }

    /// What `other` does not have yet: never below nothing.
    func growth(from other: QuotaUsage?) -> ResourceAmounts {
        var grown: ResourceAmounts = [:]
        for (name, amount) in amounts {
            let more = amount - (other?.amounts[name] ?? .zero)
            if more > .zero { grown[name] = more }
        }
        return grown
    }
}
