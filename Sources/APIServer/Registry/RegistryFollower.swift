import KubeClient
import KubeTypes

/// Keeps something up to date with all objects of a kind: first all there are, then each change, in order.
///
/// For indexes inside the server, which must answer from memory. The first step is taken before `start` returns.
struct RegistryFollower: Sendable {
    enum Step: Sendable {
        /// Everything, at the start and after the history was lost.
        case all([KubeObject])
        case changed(KubeObject)
        case deleted(KubeObject)
    }

    let registry: Registry
    let type: ResourceType
    var selection = Selection.all

    /// - Returns: a task that follows until the store ends its watches, or it is cancelled.
    @discardableResult
    func start(_ take: @escaping @Sendable (Step) -> Void) throws(APIFailure) -> Task<Void, Never> {
        let definition = try registry.definition(of: type)
        let first = try begin(definition, take)
        return Task {
            var watch = first
            while !Task.isCancelled {
                do {
                    guard case .events(let events) = try await watch.next() else { continue }
                    for event in events {
                        switch event.kind {
                        case .added, .modified: take(.changed(event.object))
                        case .deleted: take(.deleted(event.object))
                        case .bookmark: break
                        }
                    }
                } catch let failure as APIFailure where failure.isServerClosing {
                    return
                } catch is CancellationError {
                    return
                } catch {
                    // The history was lost, or the store could not answer: begin anew.
                    while !Task.isCancelled {
                        if let fresh = try? begin(definition, take) {
                            watch = fresh
                            break
                        }
                        try? await Task.sleep(for: .milliseconds(200))
                    }
                }
            }
        }
    }

    private func begin(
        _ definition: ResourceDefinition, _ take: @Sendable (Step) -> Void
    ) throws(APIFailure) -> RegistryWatch {
        let (all, watch) = try registry.watch(definition, namespace: "", selection, from: "", sendInitial: true)
        take(.all(all))
        return watch
    }
}
