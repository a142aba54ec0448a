/// All resources the API serves. Built once; schemas are parsed when first used.
package struct SchemaCatalog: Sendable {
    /// Kubernetes, Gateway API (standard channel) and Istio kinds.
    package static let builtIn = SchemaCatalog(
        KubernetesResources.load() + CustomKinds.gatewayAPI() + CustomKinds.istio() + MetricsKinds.definitions())

    /// In the order of discovery: groups by priority, best version first, then by name.
    package let definitions: [ResourceDefinition]
    private let byResource: [ResourceKey: Int]
    private let byKind: [KindKey: Int]

    private struct ResourceKey: Hashable {
        let group: String
        let version: String
        let resource: String
    }
    private struct KindKey: Hashable {
        let apiVersion: String
        let kind: String
    }

    package init(_ unordered: [ResourceDefinition]) {
        definitions = unordered.sorted(by: Self.isBefore)
        var byResource: [ResourceKey: Int] = [:]
        var byKind: [KindKey: Int] = [:]
        for (index, definition) in definitions.enumerated() {
            let type = definition.type
            byResource[ResourceKey(group: type.group, version: type.version, resource: type.resource)] = index
            // Some reviews share a kind between resources; the first one stands for it.
            let kind = KindKey(apiVersion: type.apiVersion, kind: type.kind)
            if byKind[kind] == nil { byKind[kind] = index }
        }
        self.byResource = byResource
        self.byKind = byKind
    }

    /// With a user's custom kinds. Those the catalog has already stay as they are: our own parts rely on their schemas.
    package func adding(_ more: [ResourceDefinition]) -> SchemaCatalog {
        let known = Set(definitions.map { "\($0.type.group)/\($0.type.resource)" })
        return SchemaCatalog(definitions + more.filter { !known.contains("\($0.type.group)/\($0.type.resource)") })
    }

    package func definition(group: String, version: String, resource: String) -> ResourceDefinition? {
        byResource[ResourceKey(group: group, version: version, resource: resource)].map { definitions[$0] }
    }
    package func definition(of type: ResourceType) -> ResourceDefinition? {
        definition(group: type.group, version: type.version, resource: type.resource)
    }
    package func definition(apiVersion: String, kind: String) -> ResourceDefinition? {
        byKind[KindKey(apiVersion: apiVersion, kind: kind)].map { definitions[$0] }
    }

    /// The same, in the version the group prefers where the one named is not served.
    package func served(_ kind: String, apiVersion: String) -> ResourceDefinition? {
        if let exact = definition(apiVersion: apiVersion, kind: kind) { return exact }
        let group = APIVersion.group(of: apiVersion)
        return definitions.first { $0.type.group == group && $0.type.kind == kind }
    }

    /// What a user typed: `deploy`, `deployments`, `deployment`, `deployments.apps`, `Deployment`, `deployments.v1.apps`.
    /// The first in discovery order wins where two groups have the word.
    package func definition(named word: String) -> ResourceDefinition? {
        let parts = word.split(separator: ".", maxSplits: 1).map(String.init)
        guard let name = parts.first?.lowercased() else { return nil }
        let rest = parts.count > 1 ? parts[1] : nil
        let found = definitions.filter { definition in
            guard definition.isStored else { return false }
            if let rest {
                let type = definition.type
                guard type.group == rest || "\(type.version).\(type.group)" == rest else { return false }
            }
            return definition.type.resource == name || definition.singular == name
                || definition.shortNames.contains(name)
                || definition.type.kind.lowercased() == name
        }
        return found.first { $0.type.version == $0.servedVersions.first } ?? found.first
    }

    package var groups: [String] {
        var groups: [String] = []
        for definition in definitions where groups.last != definition.type.group {
            groups.append(definition.type.group)
        }
        return groups
    }

    /// The versions of a group, best first.
    package func versions(of group: String) -> [String] {
        var versions: [String] = []
        for definition in definitions
        where definition.type.group == group && !versions.contains(definition.type.version) {
            versions.append(definition.type.version)
        }
        return versions
    }

    package func definitions(group: String, version: String) -> [ResourceDefinition] {
        definitions.filter { $0.type.group == group && $0.type.version == version }
    }

    private static func isBefore(_ one: ResourceDefinition, _ other: ResourceDefinition) -> Bool {
        let (a, b) = (one.type, other.type)
        if a.group != b.group {
            let (x, y) = (groupRank(a.group), groupRank(b.group))
            return x != y ? x < y : a.group < b.group
        }
        if a.version != b.version { return APIVersion(a.version) > APIVersion(b.version) }
        return a.resource < b.resource
    }

    /// Kubernetes' own groups come in this order, then all others by name.
    private static let groupOrder = [
        "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
        "autoscaling",
        "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
        "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io",
        "node.k8s.io",
        "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io", "storagemigration.k8s.io",
    ]
    private static func groupRank(_ group: String) -> Int { groupOrder.firstIndex(of: group) ?? groupOrder.count }
}

/// A version's place among others: `v2 > v1 > v1beta2 > v1beta1 > v1alpha1`; names that are no version come last.
package struct APIVersion: Comparable, Sendable {
    private let stability: Int  // 3 stable, 2 beta, 1 alpha, 0 other
    private let major: Int
    private let minor: Int
    private let text: String

    package init(_ text: String) {
        self.text = text
        guard text.first == "v", let first = text.dropFirst().first, first.isNumber else {
            (stability, major, minor) = (0, 0, 0)
            return
        }
        let digits = text.dropFirst().prefix { $0.isNumber }
        let rest = text.dropFirst(1 + digits.count)
        major = Int(digits) ?? 0
        if rest.isEmpty {
            (stability, minor) = (3, 0)
        } else if rest.hasPrefix("beta"), let number = Int(rest.dropFirst(4)) {
            (stability, minor) = (2, number)
        } else if rest.hasPrefix("alpha"), let number = Int(rest.dropFirst(5)) {
            (stability, minor) = (1, number)
        } else {
            (stability, minor) = (0, 0)
        }
    }

    package var isStable: Bool { stability == 3 }

    /// Of an `apiVersion`; empty for the core group.
    package static func group(of apiVersion: String) -> String {
        apiVersion.contains("/") ? String(apiVersion.prefix { $0 != "/" }) : ""
    }

    package static func < (one: APIVersion, other: APIVersion) -> Bool {
        if (one.stability, one.major, one.minor) != (other.stability, other.major, other.minor) {
            return (one.stability, one.major, one.minor) < (other.stability, other.major, other.minor)
        }
        return one.text > other.text
    }
}
