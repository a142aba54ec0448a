import KubeClient
import KubeTypes
import TestSupport
import Wire

/// An API whose changes of one type are told only once the gate is open, as on a busy machine.
struct HeldWatch: KubeAPI {
    let base: MemoryAPI
    let held: ResourceType
    let isOpen: Shared<Bool>

    func watch(
        _ type: ResourceType, namespace: String, _ selection: Selection, from resourceVersion: String
    ) async throws(APIFailure) -> AsyncThrowingStream<WatchEvent, any Error> {
        let events = try await base.watch(type, namespace: namespace, selection, from: resourceVersion)
        guard type == held else { return events }
        let gate = isOpen
        let (late, continuation) = AsyncThrowingStream.makeStream(of: WatchEvent.self, throwing: (any Error).self)
        let task = Task {
            do {
                for try await event in events {
                    while !gate.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(5)) }
                    continuation.yield(event)
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return late
    }

    func served(_ kind: String, apiVersion: String) async throws(APIFailure) -> ResourceType {
        try await base.served(kind, apiVersion: apiVersion)
    }
    func get(_ type: ResourceType, _ key: ObjectKey, subresource: String?) async throws(APIFailure) -> KubeObject {
        try await base.get(type, key, subresource: subresource)
    }
    func list(_ type: ResourceType, namespace: String, _ selection: Selection) async throws(APIFailure) -> KubeList {
        try await base.list(type, namespace: namespace, selection)
    }
    func create(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject {
        try await base.create(type, object)
    }
    func update(_ type: ResourceType, _ object: KubeObject, subresource: String?) async throws(APIFailure) -> KubeObject
    {
        try await base.update(type, object, subresource: subresource)
    }
    func patch(
        _ type: ResourceType, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        try await base.patch(type, key, kind, body, subresource: subresource)
    }
    func delete(_ type: ResourceType, _ key: ObjectKey, _ options: DeleteOptions) async throws(APIFailure) {
        try await base.delete(type, key, options)
    }
    func bind(_ pod: ObjectKey, uid: String, node: String) async throws(APIFailure) {
        try await base.bind(pod, uid: uid, node: node)
    }
}
