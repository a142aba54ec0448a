import ContainerRuntime
import KubeTypes
import Wire

extension QualityOfService {
    /// Who the kernel kills first: 1000 for best effort; burstable by the share of the machine's memory it asked for.
    func oomScore(memoryRequest: Int, machineMemory: Int) -> Int {
        switch self {
        case .guaranteed: return -997
        case .bestEffort: return 1000
        case .burstable:
            guard machineMemory > 0 else { return 999 }
            return min(max(2, 1000 - 1000 * memoryRequest / machineMemory), 999)
        }
    }
}

extension ResourceLimits {
    /// - Parameter resources: a container's `resources`.
    init(_ resources: JSON?) {
        self.init()
        let limits = resources?["limits"]
        let cpuLimit = Quantity(limits?["cpu"])
        let cpuRequest = Quantity(resources?[path: ["requests", "cpu"]]) ?? cpuLimit
        cpuShares = ResourceLimits.shares(Int(cpuRequest?.boundedMilli ?? 0))
        if let cpuLimit, cpuLimit.milli > 0 {
            // The kernel takes no quota below a millisecond.
            cpuQuotaMicroseconds = max(1_000, Int(cpuLimit.boundedMilli) * 100)
        }
        if let memory = Quantity(limits?["memory"]), memory.whole > 0 { memoryBytes = Int(memory.whole) }
    }

    /// The pod's own limits: the sum over containers that run together, or the greatest init container.
    init(pod spec: JSON) {
        self.init()
        let main = spec["containers"]?.array ?? []
        let initial = spec["initContainers"]?.array ?? []
        let sidecars = initial.filter { $0["restartPolicy"]?.string == "Always" }
        let together = main + sidecars
        let request = ResourceLimits.sum(
            together, ["resources", "requests", "cpu"], else: ["resources", "limits", "cpu"])
        cpuShares = ResourceLimits.shares(request.known)
        let alone = initial.filter { $0["restartPolicy"]?.string != "Always" }
        let cpu = ResourceLimits.sum(together, ["resources", "limits", "cpu"])
        if cpu.isWhole, !together.isEmpty {
            let most = alone.compactMap { Quantity($0[path: ["resources", "limits", "cpu"]])?.boundedMilli }.max() ?? 0
            cpuQuotaMicroseconds = max(1_000, max(cpu.known, Int(most)) * 100)
        }
        let path = ["resources", "limits", "memory"]
        let hasUnlimitedInit = alone.contains { $0[path: path] == nil }
        let limits = together.compactMap { Quantity($0[path: path]) }
        if limits.count == together.count, !together.isEmpty, !hasUnlimitedInit {
            let most = alone.compactMap { Quantity($0[path: path]) }.max() ?? .zero
            memoryBytes = Int(max(limits.reduce(.zero, +), most).whole)
        }
    }

    private static func shares(_ milli: Int) -> Int { min(max(2, milli * 1024 / 1000), 262_144) }

    /// The sum in thousandths, and whether every container said something.
    private static func sum(_ containers: [JSON], _ path: [String], else other: [String]? = nil) -> (
        known: Int, isWhole: Bool
    ) {
        var known = 0
        var isWhole = true
        for container in containers {
            if let amount = Quantity(container[path: path]) ?? other.flatMap({ Quantity(container[path: $0]) }) {
                known = min(known + Int(amount.boundedMilli), Int(Quantity.most))
            } else {
                isWhole = false
            }
        }
        return (known, isWhole)
    }
}

extension Quantity {
    /// - Parameter json: a string or a number; `nil` for anything else, as for a field that is not there.
    init?(_ json: JSON?) {
        guard let json else { return nil }
        self.init(json: json)
    }
}
