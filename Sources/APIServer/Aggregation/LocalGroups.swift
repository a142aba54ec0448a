import KubeTypes
import Wire

/// The APIServices that say what this server answers for itself: one for each version of a group.
enum LocalGroups {
    static let label = "kube-aggregator.kubernetes.io/automanaged"

    /// Group and priority: the higher, the earlier in discovery. Groups of CRDs have 1000.
    private static let priorities: [String: Int] = [
        "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
        "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300,
        "networking.k8s.io": 17200, "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800,
        "apiextensions.k8s.io": 16700, "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600,
        "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200,
        "flowcontrol.apiserver.k8s.io": 16100, "resource.k8s.io": 15900, "storagemigration.k8s.io": 15800,
    ]

    /// By name: `v1.apps`.
    static func services(_ catalog: SchemaCatalog, builtIn: SchemaCatalog) -> [String: KubeObject] {
        var services: [String: KubeObject] = [:]
        for group in catalog.groups where group != "apiregistration.k8s.io" {
            let versions = catalog.versions(of: group)
            for (place, version) in versions.enumerated() {
                let isOwn = builtIn.definitions(group: group, version: version).contains { !$0.isCustom }
                var service = KubeObject(
                    apiVersion: "apiregistration.k8s.io/v1", kind: "APIService", name: "\(version).\(group)")
                service.labels = [label: isOwn ? "onstart" : "true"]
                service.json["spec"] = [
                    "group": .string(group), "version": .string(version),
                    "groupPriorityMinimum": .int(Int64(priorities[group] ?? 1000)),
                    // The best version first.
                    "versionPriority": .int(Int64(isOwn ? 15 * (versions.count - place) : 100)),
                ]
                services[service.name] = service
            }
        }
        return services
    }

    static func isManaged(_ service: KubeObject) -> Bool { service.labels[label] != nil }
}
