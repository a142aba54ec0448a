import KubeClient
import KubeTypes

/// Deletes events after an hour. They are not cached: nobody decides on them.
struct EventExpiryController: Controller {
    static let name = "event-expiry"
    private static let everything = ObjectKey(name: "all")
    private static let interval = Duration.seconds(60)

    private let plane: ControlPlane

    init(_ plane: ControlPlane) { self.plane = plane }

    var needs: [Informer] { [] }

    func feed(_ queue: WorkQueue<ObjectKey>) { queue.add(Self.everything) }

    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook {
        let events = try await plane.api.list(.events).items
        for event in expiredEvents(events, now: plane.now()) {
            do throws(APIFailure) {
                // The version guards an event that is told again just now.
                try await plane.api.delete(
                    .events, event.key, DeleteOptions(uid: event.uid, resourceVersion: event.resourceVersion))
            } catch {
                guard error.isNotFound || error.isConflict else { throw error }
            }
        }
        return .after(Self.interval)
    }
}
