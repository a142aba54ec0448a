import KubeTypes
import Wire

/// What one metric says about the number of copies.
///
/// Follows the algorithm of Kubernetes' HorizontalPodAutoscaler: the copies there are, times what they use over what they should.
struct ScaleAdvice: Equatable {
    /// A difference this small is not worth a new pod.
    private static let tolerance = 0.1
    /// A young pod's processor time says how it starts, not how it works.
    private static let startTime: Duration = .seconds(300)

    var replicas: Int
    /// As in `status.currentMetrics`, below `current`.
    var current: JSON

    /// A resource of the pods, or of one container of each.
    struct Target {
        var resource: String
        var container: String?
        var utilization: Int?
        var averageValue: Quantity?
    }

    enum Fault: Error, Equatable {
        case unknown(String)
    }

    /// - Parameters:
    ///   - pods: those the target's selector selects.
    ///   - usage: by pod name, thousandths of what is used; what has no entry was not measured.
    init(
        _ target: Target, replicas: Int, pods: [KubeObject], usage: [String: Int64], now: Timestamp
    ) throws(Fault) {
        var measured: [(pod: KubeObject, used: Int64)] = []
        var unready: [KubeObject] = []
        var missing: [KubeObject] = []
        for pod in pods
        where pod.deletionTimestamp == nil && pod[Pod.phase] != "Failed" && pod[Pod.phase] != "Succeeded" {
            if pod[Pod.phase] == "Pending" {
                unready.append(pod)
            } else if let used = usage[pod.name] {
                if target.resource == "cpu", Self.isStarting(pod, now) {
                    unready.append(pod)
                } else {
                    measured.append((pod, used))
                }
            } else {
                missing.append(pod)
            }
        }
        guard !measured.isEmpty else {
            throw .unknown("unable to get metrics for resource \(target.resource): no metrics returned for ready pods")
        }
        let used = measured.reduce(0) { $0 + $1.used }
        let average = used / Int64(measured.count)
        var current: JSON = ["averageValue": .string(Self.shown(average, target.resource))]
        /// What a pod is wanted to use.
        let wanted: (KubeObject) throws(Fault) -> Double
        if let percent = target.utilization {
            var asked: Int64 = 0
            for (pod, _) in measured { asked += try Self.requested(target, by: pod) }
            guard asked > 0 else { throw .unknown("the pods request no \(target.resource)") }
            current["averageUtilization"] = .int(used * 100 / asked)
            wanted = { pod throws(Fault) in Double(try Self.requested(target, by: pod)) * Double(percent) / 100 }
        } else {
            let value = Double(target.averageValue?.boundedMilli ?? 0)
            guard value > 0 else { throw .unknown("the target of resource \(target.resource) is nothing") }
            wanted = { _ in value }
        }
        self.current = current

        var goal = 0.0
        for (pod, _) in measured { goal += try wanted(pod) }
        let ratio = Double(used) / goal
        if missing.isEmpty, unready.isEmpty || ratio <= 1 {
            let isNear = abs(ratio - 1) <= Self.tolerance
            self.replicas = isNear ? replicas : Self.rounded(ratio * Double(measured.count))
            return
        }
        // What was not measured counts for what makes the change smaller.
        var assumed = Double(used)
        var all = goal
        for pod in missing {
            let whole = try wanted(pod)
            if ratio < 1 {
                assumed += target.utilization == nil ? whole : max(whole, Double(try Self.requested(target, by: pod)))
            }
            all += whole
        }
        var count = measured.count + missing.count
        if ratio > 1 {
            for pod in unready { all += try wanted(pod) }
            count += unready.count
        }
        let careful = assumed / all
        let turns = (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1)
        let advice = Self.rounded(careful * Double(count))
        // Never past the present number in the direction the measured ones do not point to.
        let isPast = (careful < 1 && advice > replicas) || (careful > 1 && advice < replicas)
        self.replicas = abs(careful - 1) <= Self.tolerance || turns || isPast ? replicas : advice
    }

    private static func rounded(_ value: Double) -> Int { Int(min(value, 1e9).rounded(.up)) }

    private static func isStarting(_ pod: KubeObject, _ now: Timestamp) -> Bool {
        guard let started = pod[Pod.startTime] else { return true }
        if started + startTime > now { return !pod.isPodReady }
        return false
    }

    private static func requested(_ target: Target, by pod: KubeObject) throws(Fault) -> Int64 {
        let sidecars = (pod[Pod.initContainers] ?? []).filter { $0["restartPolicy"] == "Always" }
        var sum: Int64 = 0
        for container in (pod[Pod.containers] ?? []) + sidecars {
            let name = container["name"]?.string ?? ""
            if let only = target.container, only != name { continue }
            guard
                let amount = container[path: ["resources", "requests", target.resource]].flatMap({ Quantity(json: $0) })
            else {
                throw .unknown("missing request for \(target.resource) in container \(name) of Pod \(pod.name)")
            }
            sum = min(sum + amount.boundedMilli, Quantity.most)
        }
        return sum
    }

    private static func shown(_ milli: Int64, _ resource: String) -> String {
        resource == "cpu" ? Quantity(milli: milli).description : Quantity(milli / 1000).description
    }
}

/// How fast a number of copies may change, and how long an advice holds: `spec.behavior`.
struct ScalePace {
    struct Change {
        var at: Timestamp
        /// Copies more, or less than none.
        var by: Int
    }
    private let json: JSON?

    init(_ behavior: JSON?) { json = behavior }

    func window(up: Bool) -> Duration {
        let seconds = json?[up ? "scaleUp" : "scaleDown"]?["stabilizationWindowSeconds"]?.int
        return .seconds(seconds ?? (up ? 0 : 300))
    }

    /// - Parameter recent: what was advised lately, the present advice with it.
    /// - Returns: the smallest of the advices to grow, or the greatest of those to shrink, within their windows.
    func stabilized(_ advice: Int, current: Int, recent: [(at: Timestamp, replicas: Int)], now: Timestamp) -> Int {
        var low = advice
        var high = advice
        for one in recent {
            if one.at + window(up: true) > now { low = min(low, one.replicas) }
            if one.at + window(up: false) > now { high = max(high, one.replicas) }
        }
        return min(max(current, low), high)
    }

    /// - Returns: as far as the policies let it go now.
    func limited(_ wanted: Int, current: Int, changes: [Change], now: Timestamp) -> Int {
        if wanted == current { return wanted }
        let isUp = wanted > current
        let rules = json?[isUp ? "scaleUp" : "scaleDown"]
        if rules?["selectPolicy"] == "Disabled" { return current }
        let usual: [JSON] =
            isUp
            ? [
                ["type": "Pods", "value": 4, "periodSeconds": 15],
                ["type": "Percent", "value": 100, "periodSeconds": 15],
            ] : [["type": "Percent", "value": 100, "periodSeconds": 15]]
        let limits = (rules?["policies"]?.array ?? usual).map { policy -> Int in
            let since = now + .seconds(-(policy["periodSeconds"]?.int ?? 15))
            let done = changes.filter { $0.at > since && ($0.by > 0) == isUp }.reduce(0) { $0 + $1.by }
            let start = current - done
            let value = policy["value"]?.int ?? 0
            if policy["type"] == "Percent" {
                return isUp ? (start * (100 + value) + 99) / 100 : start * (100 - min(100, value)) / 100
            }
            return isUp ? start + value : start - value
        }
        let takesSmallest = rules?["selectPolicy"] == "Min"
        if isUp { return min(wanted, max(current, (takesSmallest ? limits.min() : limits.max()) ?? wanted)) }
        return max(wanted, min(current, (takesSmallest ? limits.max() : limits.min()) ?? wanted))
    }
}

extension ScaleAdvice.Target {
    /// - Parameter metric: an element of `spec.metrics`.
    init(_ metric: JSON) throws(ScaleAdvice.Fault) {
        let type = metric["type"]?.string ?? ""
        guard type == "Resource" || type == "ContainerResource" else {
            throw .unknown("metrics of type \(type) need an API for custom or external metrics, and none is installed")
        }
        let source = metric[type == "Resource" ? "resource" : "containerResource"]
        self.init(
            resource: source?["name"]?.string ?? "", container: source?["container"]?.string,
            utilization: source?["target"]?["averageUtilization"]?.int,
            averageValue: source?["target"]?["averageValue"].flatMap { Quantity(json: $0) })
    }

    var words: String {
        utilization == nil ? "\(resource) resource" : "\(resource) resource utilization (percentage of request)"
    }
}
