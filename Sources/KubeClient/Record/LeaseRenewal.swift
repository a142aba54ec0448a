package import KubeTypes
import Wire

/// Keeps one Lease fresh: a node's sign of life in `kube-node-lease`, or the mark of who leads.
package struct LeaseRenewal: Sendable {
    package let key: ObjectKey
    package let holder: String
    /// For how long one renewal holds.
    package let duration: Duration
    private let api: any KubeAPI
    private let owner: KubeObject?
    private let now: @Sendable () -> Timestamp

    /// - Parameter owner: the lease goes when this object goes, such as the Node.
    package init(
        _ api: any KubeAPI, _ key: ObjectKey, holder: String, duration: Duration = .seconds(40),
        owner: KubeObject? = nil,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.api = api
        self.key = key
        self.holder = holder
        self.duration = duration
        self.owner = owner
        self.now = now
    }

    package enum Outcome: Sendable, Hashable {
        case held
        /// Somebody else's renewal still holds.
        case heldBy(String)
    }

    /// Makes or renews the lease; takes it over when the other holder's renewal ran out. Conflicts are thrown: try again.
    package func renew() async throws(APIFailure) -> Outcome {
        let time = now()
        do throws(APIFailure) {
            var lease = try await api.get(.leases, key)
            let other = lease.spec["holderIdentity"]?.string ?? ""
            if other != holder, !other.isEmpty, Self.holds(lease, at: time) { return .heldBy(other) }
            if other != holder {
                lease.json[path: ["spec", "holderIdentity"]] = .string(holder)
                lease.json[path: ["spec", "acquireTime"]] = .string(time.microText)
                lease.json[path: ["spec", "leaseTransitions"]] = .int(
                    Int64((lease.spec["leaseTransitions"]?.int ?? 0) + 1))
            }
            lease.json[path: ["spec", "renewTime"]] = .string(time.microText)
            lease.json[path: ["spec", "leaseDurationSeconds"]] = .int(duration.components.seconds)
            _ = try await api.update(.leases, lease)
            return .held
        } catch {
            guard error.isNotFound else { throw error }
        }
        var lease = KubeObject(
            apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace: key.namespace, name: key.name)
        lease.spec = [
            "holderIdentity": .string(holder), "leaseDurationSeconds": .int(duration.components.seconds),
            "acquireTime": .string(time.microText), "renewTime": .string(time.microText),
        ]
        if let owner {
            var reference = OwnerReference(controlledBy: owner)
            reference.isController = false
            reference.blocksDeletion = false
            lease.ownerReferences = [reference]
        }
        _ = try await api.create(.leases, lease)
        return .held
    }

    /// Renews at a quarter of the duration until the task is cancelled; failures are tried again a little sooner.
    package func run(clock: any Clock<Duration> = ContinuousClock()) async {
        while !Task.isCancelled {
            let isHeld = (try? await renew()) != nil
            try? await clock.sleep(for: isHeld ? duration / 4 : duration / 40)
        }
    }

    /// Whether the last renewal has not run out.
    package static func holds(_ lease: KubeObject, at time: Timestamp) -> Bool {
        guard let renewed = lease.spec["renewTime"]?.string.flatMap(Timestamp.init) else { return false }
        return time < renewed + .seconds(lease.spec["leaseDurationSeconds"]?.int ?? 40)
    }
}
