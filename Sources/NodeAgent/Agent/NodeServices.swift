import ContainerRuntime
import KubeClient
import KubeTypes
import Logging
import ServiceNetwork

/// What all pods of a node share.
struct NodeServices: Sendable {
    let configuration: NodeConfiguration
    let machine: MachineSize
    let api: any KubeAPI
    let runtime: any PodRuntime
    let network: any PodNetwork
    let mesh: (any MeshSockets)?
    let tokens: (any ServiceAccountTokens)?
    let barrier: TerminationBarrier?
    let events: EventQueue
    /// All services, for the variables containers get.
    let services: ObjectCache
    /// The pods of this node.
    let pods: ObjectCache
    let logger: Logger
    let now: @Sendable () -> Timestamp
}

/// Tells events one after the other, beside the work they are about: an event never delays a container.
final class EventQueue: Sendable {
    private struct Entry {
        var kind: EventRecorder.Kind
        var pod: KubeObject
        var reason: String
        var message: String
        var container: String?
    }
    private let entries: AsyncStream<Entry>
    private let feed: AsyncStream<Entry>.Continuation

    init() { (entries, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(2048)) }

    func tell(
        _ kind: EventRecorder.Kind = .normal, _ pod: KubeObject, _ reason: String, _ message: String,
        container: ContainerDescription? = nil
    ) {
        feed.yield(
            Entry(
                kind: kind, pod: pod, reason: reason, message: message,
                container: container.map { "spec.\($0.role.list){\($0.name)}" }))
    }

    /// Runs until the task is cancelled.
    func run(_ recorder: EventRecorder) async {
        for await entry in entries {
            await recorder.record(
                entry.kind, about: entry.pod, reason: entry.reason, message: entry.message, fieldPath: entry.container)
        }
    }
}
