import KubeTypes
import Wire

/// A ResourceQuota as admission sees it: pure decisions over its status.
struct ResourceQuota: Sendable {
    struct Selector: Sendable, Hashable {
        var scope: String
        /// In, NotIn, Exists, DoesNotExist
        var comparison: String
        var values: Set<String>
    }

    let key: ObjectKey
    let resourceVersion: String
    let wanted: ResourceAmounts
    /// What the status says; admission goes by it.
    let hard: ResourceAmounts
    var used: ResourceAmounts
    let selectors: [Selector]

    init(_ object: KubeObject) {
        key = object.key
        resourceVersion = object.resourceVersion
        wanted = PodResources.amounts(of: object.spec["hard"])
        hard = PodResources.amounts(of: object.status["hard"])
        used = PodResources.amounts(of: object.status["used"])
        var selectors = (object.spec["scopes"]?.array ?? []).compactMap(\.string).map {
            Selector(scope: $0, comparison: "Exists", values: [])
        }
        for one in object.spec[path: ["scopeSelector", "matchExpressions"]]?.array ?? [] {
            selectors.append(
                Selector(
                    scope: one["scopeName"]?.string ?? "", comparison: one["operator"]?.string ?? "",
                    values: Set(one["values"]?.array?.compactMap(\.string) ?? [])))
        }
        self.selectors = selectors
    }

    /// Whether the quota is about such objects: their kind, and what its scopes say.
    func concerns(_ usage: QuotaUsage, _ type: ResourceType, in amounts: ResourceAmounts) -> Bool {
        guard matchesScopes(usage) else { return false }
        return amounts.keys.contains { Self.counts($0, type) }
    }

    static func counts(_ name: String, _ type: ResourceType) -> Bool {
        let counted = QuotaUsage.counted(by: name)
        return counted.resource == type.resource && counted.group == type.group
    }

    func matchesScopes(_ usage: QuotaUsage) -> Bool {
        if selectors.isEmpty { return true }
        guard let pod = usage.traits else { return false }
        return selectors.allSatisfy { Self.holds($0, pod) }
    }

    private static func holds(_ selector: Selector, _ pod: QuotaUsage.PodTraits) -> Bool {
        switch selector.scope {
        case "Terminating": return pod.isTerminating
        case "NotTerminating": return !pod.isTerminating
        case "BestEffort": return pod.isBestEffort
        case "NotBestEffort": return !pod.isBestEffort
        case "CrossNamespacePodAffinity": return pod.reachesOtherNamespaces
        case "PriorityClass":
            switch selector.comparison {
            case "In": return selector.values.contains(pod.priorityClass)
            case "NotIn": return !selector.values.contains(pod.priorityClass)
            case "DoesNotExist": return pod.priorityClass.isEmpty
            default: return !pod.priorityClass.isEmpty
            }
        default: return false
        }
    }

    /// Takes what a request adds, or says why it must not.
    ///
    /// - Parameter spec: of a pod that is being made, which must say what the quota counts.
    /// - Returns: `nil` when taken.
    mutating func take(
        _ growth: ResourceAmounts, _ usage: QuotaUsage, _ type: ResourceType, spec: JSON?
    ) -> String? {
        let names = hard.keys.filter { Self.counts($0, type) }
        if let spec, let missing = Self.unspecified(spec, names) {
            return "failed quota: \(key.name): must specify \(missing)"
        }
        let unknown = names.filter { used[$0] == nil }.sorted()
        if !unknown.isEmpty {
            return "status unknown for quota: \(key.name), resources: \(unknown.joined(separator: ","))"
        }
        let asked = growth.filter { hard[$0.key] != nil }
        var sums: ResourceAmounts = [:]
        for (name, amount) in asked { sums[name] = (used[name] ?? .zero) + amount }
        let exceeded = sums.filter { name, sum in sum > hard[name] ?? .zero }.keys.sorted()
        if !exceeded.isEmpty {
            func shown(_ amounts: ResourceAmounts) -> String {
                exceeded.map { "\($0)=\(amounts[$0] ?? .zero)" }.joined(separator: ",")
            }
            return
                "exceeded quota: \(key.name), requested: \(shown(asked)), used: \(shown(used)), limited: \(shown(hard))"
        }
        used.merge(sums) { _, new in new }
        return nil
    }

    private static let specified: Set<String> = [
        "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
    ]

    /// The amounts that containers must say since the quota counts them, with the containers that do not.
    static func unspecified(_ spec: JSON, _ names: [String]) -> String? {
        let required = names.filter(specified.contains).sorted()
        if required.isEmpty { return nil }
        let whole = (requests: PodResources.amounts(spec, "requests"), limits: PodResources.amounts(spec, "limits"))
        let containers = (spec["containers"]?.array ?? []) + (spec["initContainers"]?.array ?? [])
        var texts: [String] = []
        for name in required {
            let isLimit = name.hasPrefix("limits.")
            let plain = String(name.split(separator: ".").last ?? "")
            if (isLimit ? whole.limits : whole.requests)[plain] != nil { continue }
            let silent = containers.filter { PodResources.amounts($0, isLimit ? "limits" : "requests")[plain] == nil }
            if silent.isEmpty { continue }
            let list = Set(silent.compactMap { $0["name"]?.string }).sorted().joined(separator: ",")
            texts.append("\(name) for: \(list)")
        }
        return texts.isEmpty ? nil : texts.joined(separator: "; ")
    }

    /// What is used of each amount the quota names, over all objects.
    func total(_ usages: some Sequence<QuotaUsage>) -> ResourceAmounts {
        var sum: ResourceAmounts = [:]
        for name in wanted.keys { sum[name] = Quantity(0, wanted[name]?.form ?? .decimal) }
        for usage in usages where matchesScopes(usage) {
            for (name, amount) in usage.amounts where wanted[name] != nil {
                sum[name] = (sum[name] ?? .zero) + amount
            }
        }
        return sum
    }
}
