import KubeTypes
import Synchronization

/// What was advised and done lately, by autoscaler. A new process begins without: it is as careful as with the first look.
final class AutoscalerMemory: Sendable {
    struct Past {
        var advices: [(at: Timestamp, replicas: Int)] = []
        var changes: [ScalePace.Change] = []
    }
    /// The longest window and period the API takes.
    private static let longest: Duration = .seconds(3600)
    private let pasts = Mutex<[ObjectKey: Past]>([:])
    /// Of the pods of each autoscaler's workload, as last seen.
    private let selectors = Mutex<[ObjectKey: LabelSelector]>([:])

    /// The first look counts the present number as an advice: it holds for the window, as after any other.
    func note(_ advice: Int, current: Int, for key: ObjectKey, at now: Timestamp) -> Past {
        pasts.withLock { pasts in
            var past = pasts[key] ?? Past(advices: [(now, current)])
            past.advices.append((now, advice))
            past.advices.removeAll { $0.at + Self.longest < now }
            past.changes.removeAll { $0.at + Self.longest < now }
            pasts[key] = past
            return past
        }
    }

    func changed(by count: Int, for key: ObjectKey, at now: Timestamp) {
        pasts.withLock { $0[key, default: Past()].changes.append(ScalePace.Change(at: now, by: count)) }
    }

    /// Notes what an autoscaler's workload selects.
    /// - Returns: the other autoscalers whose workloads select one of these pods too, in order.
    func note(_ selector: LabelSelector, of pods: [KubeObject], for key: ObjectKey) -> [ObjectKey] {
        selectors.withLock { selectors in
            selectors[key] = selector
            let others = selectors.filter { other, theirs in
                other != key && other.namespace == key.namespace && pods.contains { theirs.matches($0) }
            }
            return others.keys.sorted()
        }
    }

    func forget(_ key: ObjectKey) {
        pasts.withLock { $0[key] = nil }
        selectors.withLock { $0[key] = nil }
    }
}
