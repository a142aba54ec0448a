import CKernel
import Glibc
import ProxyResources
import Synchronization

/// What the threads beside the loops share.
package final class ProgramState: Sendable {
    struct Held: Sendable {
        var configuration: ProxyConfiguration?
        var identity: Identity?
        /// By kind and name, as the control plane numbers them.
        var versions: [ProxyResource.Kind: [String: String]] = [:]
        var isDraining = false
        var isConnected = false
        /// Another process has taken over. What is kept is its own: it uses other destinations than the connections left here.
        var hasLeft = false
        var isUnsaved = false
        /// From a file of an earlier life, not yet confirmed by the control plane.
        var isRestored = false
        var generation: UInt64 = 0
        var lastFault = ""
        var faults: UInt64 = 0
    }

    package let plane: DataPlane
    /// Readable once another process has the listening sockets; the threads beside the loops then leave theirs.
    let farewell = weft_eventfd()
    let role: String
    private let keeper: LastGood?
    private let held = Mutex(Held())

    let inheritedNames: Set<String>

    init(plane: DataPlane, role: String, keeper: LastGood?, inheritedNames: Set<String> = []) {
        self.inheritedNames = inheritedNames
        self.plane = plane
        self.role = role
        self.keeper = keeper
    }

    func read<Value>(_ body: (borrowing Held) -> Value) -> Value { held.withLock { body($0) } }

    /// Gives what the control plane sent to the loops; `save` keeps it for a life without the control plane.
    func apply(
        _ configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]
    ) throws {
        let generation = try plane.apply(configuration, identity: identity)
        held.withLock {
            $0.configuration = configuration
            $0.identity = identity
            $0.versions = versions
            $0.isRestored = false
            $0.generation = generation
        }
        held.withLock { $0.isUnsaved = keeper != nil }
        // What compiling a large configuration took for a moment is not kept for the next.
        if configuration.servicePorts.count + configuration.backends.count > 256 { weft_trim_heap() }
    }

    /// Writes down what the loops were last given, unless that has been done. It waits for the disk.
    func save() {
        let kept = held.withLock { held -> Held? in
            let isDue = held.isUnsaved && !held.hasLeft
            held.isUnsaved = false
            return isDue ? held : nil
        }
        guard let kept, let configuration = kept.configuration else { return }
        keeper?.save(configuration, identity: kept.identity, versions: kept.versions)
    }

    /// Starts with what an earlier life of this container was told.
    func restore() {
        guard let kept = keeper?.load() else { return }
        do {
            let generation = try plane.apply(kept.configuration, identity: kept.identity)
            held.withLock {
                $0.configuration = kept.configuration
                $0.identity = kept.identity
                $0.versions = kept.versions
                $0.isRestored = true
                $0.generation = generation
            }
            log("started with the configuration kept at \(keeper?.path ?? "")")
        } catch {
            log("the configuration kept at \(keeper?.path ?? "") cannot be used: \(error)", level: "warning")
        }
    }

    func ringFarewell() {
        held.withLock { $0.hasLeft = true }
        var one: UInt64 = 1
        _ = write(farewell, &one, 8)
    }

    package func beginDraining() { held.withLock { $0.isDraining = true } }
    func note(connected: Bool) {
        held.withLock { $0.isConnected = connected }
        plane.commons.demand.note(connected: connected)
    }
    func note(fault: String) {
        held.withLock {
            $0.lastFault = fault
            if !fault.isEmpty { $0.faults += 1 }
        }
    }

    /// All that is counted, as metrics show it.
    func metricsSnapshot() -> MetricsSnapshot {
        let (workload, faults, isConnected) = held.withLock { ($0.configuration?.workload, $0.faults, $0.isConnected) }
        return MetricsSnapshot(
            loops: plane.collect(), pages: LabelPages(plane.labels, workload: workload),
            settings: workload?.telemetry.metrics ?? MetricSettings(), desk: plane.desk.counts,
            program: ProgramCounts(configurationRejects: faults, isConnected: isConnected, isReady: isReady),
            limits: plane.limits.gauges, pools: PoolCount.merge(plane.pools()),
            ejections: plane.board.ejections(), clock: WallClock.read())
    }

    /// Why the last configuration was not taken; empty when it was.
    package var lastFault: String { held.withLock { $0.lastFault } }

    /// What the loops were last given.
    package var configuration: ProxyConfiguration? { held.withLock { $0.configuration } }

    /// Ready to take traffic: configured, and not on the way out.
    package var isReady: Bool {
        held.withLock { held in
            guard let configuration = held.configuration, !held.isDraining else { return false }
            return held.identity != nil || configuration.workload.principal.isEmpty || role == "run"
        }
    }
}
