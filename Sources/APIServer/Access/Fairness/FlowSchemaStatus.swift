import KubeClient
import KubeTypes
import Logging
import Wire

/// Says in each FlowSchema's status whether the priority level it names is there.
struct FlowSchemaStatus: Sendable {
    let registry: Registry

    /// - Returns: what ends it when cancelled.
    func start() throws(APIFailure) -> [Task<Void, Never>] {
        let (wakes, waker) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let levels = try RegistryFollower(registry: registry, type: .priorityLevels).start { _ in waker.yield() }
        let schemas = try RegistryFollower(registry: registry, type: .flowSchemas).start { _ in waker.yield() }
        Task {
            await levels.value
            waker.finish()
        }
        Task {
            for await _ in wakes { await write() }
        }
        return [levels, schemas]
    }

    private func write() async {
        guard let definition = try? registry.definition(of: .flowSchemas),
            let levelDefinition = try? registry.definition(of: .priorityLevels),
            let schemas = try? registry.list(definition, namespace: "", .all).items
        else { return }
        for schema in schemas {
            let level = schema.spec["priorityLevelConfiguration"]?["name"]?.string ?? ""
            let exists = registry.exists(levelDefinition.storageType, ObjectKey(name: level))
            if Self.condition(of: schema)?["status"]?.string == (exists ? "False" : "True") { continue }
            do throws(APIFailure) {
                _ = try await registry.change(
                    definition, schema.key, subresource: "status", WriteContext(user: .apiServer)
                ) { old throws(APIFailure) in
                    var fresh = old
                    fresh.setCondition(
                        "Dangling", status: exists ? "False" : "True", reason: exists ? "Found" : "NotFound",
                        message: "This FlowSchema references the PriorityLevelConfiguration object named \"\(level)\""
                            + (exists ? " and it exists" : " but there is no such object"))
                    return fresh
                }
            } catch {
                registry.logger.debug("status of FlowSchema \(schema.name): \(error)")
            }
        }
    }

    private static func condition(of schema: KubeObject) -> JSON? {
        schema.status["conditions"]?.array?.first { $0["type"]?.string == "Dangling" }
    }
}
