package import KubeClient
package import KubeTypes
package import Logging

/// What every controller works with.
package struct ControlPlane: Sendable {
    package var api: any KubeAPI
    package var informers: InformerSet
    package var clock: any Clock<Duration>
    /// Calendar time, for timestamps in objects.
    package var now: @Sendable () -> Timestamp
    package var logger: Logger

    package init(
        api: any KubeAPI, informers: InformerSet, clock: any Clock<Duration> = ContinuousClock(),
        now: @escaping @Sendable () -> Timestamp = { .now() },
        logger: Logger = Logger(label: "controllers", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.api = api
        self.informers = informers
        self.clock = clock
        self.now = now
        self.logger = logger
    }

    func events(_ component: String) -> EventRecorder { EventRecorder(api, component: component, now: now) }
}

/// A reconciler together with what makes it look: the changes that put keys into its queue.
protocol Controller: Reconciler where Failure == APIFailure {
    static var name: String { get }
    /// What it decides on; it starts when all of these have their first list.
    var needs: [Informer] { get }
    /// Adds a key for each change this controller must look at.
    func feed(_ queue: WorkQueue<ObjectKey>)
}
