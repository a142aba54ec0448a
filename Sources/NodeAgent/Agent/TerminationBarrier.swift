package import KubeClient
package import KubeTypes
import Wire

/// Waits, before a deleted pod is told to stop, until nobody sends it new traffic. Returns at `deadline` at the latest.
package typealias TerminationBarrier = @Sendable (_ pod: KubeObject, _ deadline: Timestamp) async -> Void

package enum EndpointWithdrawal {
    /// A barrier that opens when no EndpointSlice offers the pod as ready any more, and `propagation` later: the time nodes
    /// and proxies need to follow.
    package static func barrier(_ api: any KubeAPI, propagation: Duration) -> TerminationBarrier {
        { pod, deadline in
            var pause: Duration = .milliseconds(10)
            while Timestamp.now() < deadline, !Task.isCancelled {
                if let slices = try? await api.list(.endpointSlices, namespace: pod.namespace, .all),
                    !slices.items.contains(where: { offers(pod, $0) })
                {
                    try? await Task.sleep(for: min(propagation, max(.zero, deadline - Timestamp.now())))
                    return
                }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .milliseconds(100))
            }
        }
    }

    static func offers(_ pod: KubeObject, _ slice: KubeObject) -> Bool {
        (slice.json["endpoints"]?.array ?? []).contains { endpoint in
            let isReady = endpoint[path: ["conditions", "ready"]]?.bool ?? true
            return isReady && endpoint[path: ["targetRef", "uid"]]?.string == pod.uid
        }
    }
}
