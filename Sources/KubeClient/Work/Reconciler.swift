package import KubeTypes
package import Logging

extension APIFailure {
    /// The namespace is being deleted, so nothing can be created in it.
    package var isNamespaceEnding: Bool { code == 403 && message.hasSuffix("because it is being terminated") }
}

package enum NextLook: Sendable, Equatable { case onChange, after(Duration) }

package protocol Reconciler: Sendable {
    associatedtype Failure: Error
    /// Safe to repeat and to cancel at any await. An absent object means "clean up what you own".
    func reconcile(_ key: ObjectKey) async throws(Failure) -> NextLook
}

/// Takes keys off a queue and reconciles them; a failing key comes back with back-off.
package struct ReconcilerLoop<Subject: Reconciler>: Sendable {
    package let name: String
    package let reconciler: Subject
    package let queue: WorkQueue<ObjectKey>
    private let workers: Int
    private let logger: Logger

    package init(
        _ name: String, _ reconciler: Subject, queue: WorkQueue<ObjectKey>, workers: Int = 2,
        logger: Logger = Logger(label: "reconciler", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.name = name
        self.reconciler = reconciler
        self.queue = queue
        self.workers = workers
        self.logger = logger
    }

    /// Runs until the task is cancelled.
    package func run() async {
        await queue.run(workers: workers) { key in
            do throws(Subject.Failure) {
                let next = try await reconciler.reconcile(key)
                queue.forget(key)
                if case .after(let delay) = next { queue.add(key, after: delay) }
            } catch {
                if Task.isCancelled { return }
                if (error as? APIFailure)?.isNamespaceEnding == true {
                    // Nothing can be made there any more, and what is there goes.
                    queue.forget(key)
                    return
                }
                // A conflict says the cache was behind: the usual course of things, not worth a line each.
                let isConflict = (error as? APIFailure)?.isConflict ?? false
                let level: Logger.Level = isConflict || queue.failures(of: key) < 2 ? .debug : .warning
                logger.log(level: level, "\(name) \(key): \(error)")
                queue.retry(key)
            }
        }
    }
}
