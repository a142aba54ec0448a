import KubeClient
import KubeTypes
import Logging
import Store
import Synchronization
import Wire

/// Serves the kinds of the cluster's CRDs: says which of their names are accepted, keeps the catalog in step, and takes a kind away
/// when its last object has gone.
///
/// A kind is served before its CRD says `Established`, so whoever waits for that finds it.
final class CustomResources: Sendable {
    private let registry: Registry
    private let logger: Logger
    private let table: Mutex<CustomKindTable>
    private let builtIn: SchemaCatalog
    /// CRDs whose objects are being deleted, by their uid.
    private let clearing = Mutex<Set<String>>([])
    private let scope = StorageKey.scope(.customResourceDefinitions)

    /// Called when other kinds are served than before.
    private let didPublish: @Sendable () -> Void

    init(_ registry: Registry, didPublish: @escaping @Sendable () -> Void) {
        self.registry = registry
        self.didPublish = didPublish
        logger = registry.logger
        builtIn = registry.catalog
        table = Mutex(CustomKindTable(builtIn: registry.catalog))
    }

    /// Serves what is stored already.
    /// - Returns: the revision up to which it looked.
    func load() -> Int64 {
        let snapshot = registry.store.snapshot()
        var found: [CustomDefinition] = []
        snapshot.index.visit(under: scope) { record in
            found.append(read(record))
            return true
        }
        table.withLock { table in
            table = CustomKindTable(builtIn: builtIn)
            // What is established keeps its names against what is not.
            for definition in found where definition.isEstablished { table.take(definition) }
            for definition in found where !definition.isEstablished { table.take(definition) }
        }
        publish()
        return snapshot.revision
    }

    private func read(_ record: Record) -> CustomDefinition {
        var json = (try? JSON(parsing: registry.plainValue(record))) ?? [:]
        json[path: ["metadata", "resourceVersion"]] = .string(String(record.revision))
        return CustomDefinition(KubeObject(json))
    }

    private func publish() {
        let kinds = table.withLock(\.kinds)
        registry.publish { (builtIn.adding(kinds), $0.remote) }
        didPublish()
    }

    /// Follows all changes until the store ends its watches.
    func run(from start: Int64) async {
        await withDiscardingTaskGroup { group in
            var revision = start
            await lookAgain(all(), in: &group)
            while !Task.isCancelled {
                do {
                    let watch = registry.store.watch(scope)
                    while true {
                        guard case .events(let events) = try await watch.next(after: &revision) else { continue }
                        await take(events, in: &group)
                    }
                } catch StoreFailure.closed {
                    break
                } catch is CancellationError {
                    break
                } catch {
                    // The history was lost: what there is now is all that counts.
                    revision = load()
                    await lookAgain(all(), in: &group)
                }
            }
            group.cancelAll()
        }
    }

    private func all() -> [CustomDefinition] {
        var found: [CustomDefinition] = []
        registry.store.snapshot().index.visit(under: scope) { record in
            found.append(read(record))
            return true
        }
        return found
    }

    private func take(_ events: [StoreEvent], in group: inout DiscardingTaskGroup) async {
        var changed: [CustomDefinition] = []
        var isNameFree = false
        table.withLock { table in
            for event in events {
                let definition = read(event.record)
                if event.kind == .deleted {
                    table.remove(definition.object.name)
                    isNameFree = true
                } else {
                    table.take(definition)
                    changed.append(definition)
                }
            }
        }
        if isNameFree {
            let waiting = table.withLock(\.refused)
            let again = all().filter { waiting.contains($0.object.name) }
            table.withLock { table in
                for definition in again { table.take(definition) }
            }
            changed += again
        }
        publish()
        await lookAgain(changed, in: &group)
    }

    /// Writes what follows from a CRD's state.
    private func lookAgain(_ definitions: [CustomDefinition], in group: inout DiscardingTaskGroup) async {
        for definition in definitions {
            if definition.isTerminating {
                let uid = definition.object.uid
                guard definition.object.finalizers.contains(CustomDefinition.cleanupFinalizer),
                    clearing.withLock({ $0.insert(uid).inserted })
                else { continue }
                group.addTask {
                    await self.clear(definition)
                    self.clearing.withLock { _ = $0.remove(uid) }
                }
                continue
            }
            await tell(definition)
        }
    }

    private var context: WriteContext { WriteContext(user: .component("apiserver")) }

    /// Writes the CRD's status. Where it cannot be written now, the next change or start brings it about.
    private func tell(_ definition: CustomDefinition) async {
        let name = definition.object.name
        guard let accepted = table.withLock({ $0.accepted(name) }) else { return }
        var told = definition
        told.apply(accepted, now: .now())
        if told.object.status == definition.object.status { return }
        await change(name) { definition in
            if !definition.isTerminating { definition.apply(accepted, now: .now()) }
        }
    }

    private func change(_ name: String, _ body: (inout CustomDefinition) -> Void) async {
        do throws(APIFailure) {
            let kind = try registry.definition(of: .customResourceDefinitions)
            _ = try await registry.change(kind, ObjectKey(name: name), subresource: "status", context) {
                old throws(APIFailure) in
                var definition = CustomDefinition(old)
                body(&definition)
                return definition.object
            }
        } catch {
            if error.isNotFound || error.isServerClosing { return }
            logger.warning("the status of CustomResourceDefinition \(name) cannot be written: \(error)")
        }
    }

    // MARK: The end of a kind

    /// Deletes the kind's objects and then gives the CRD free. Objects with finalizers are waited for.
    private func clear(_ definition: CustomDefinition) async {
        let name = definition.object.name
        let accepted = table.withLock { $0.accepted(name)?.names } ?? definition.names
        let kind = definition.storageDefinition(names: accepted)
        await change(name) { crd in
            crd.set(
                "Terminating", true, "InstanceDeletionInProgress", "CustomResource deletion is in progress", .now())
        }
        var pause = Duration.milliseconds(20)
        while !Task.isCancelled {
            do throws(APIFailure) {
                let left = try await deleteAll(kind)
                if left == 0 { break }
            } catch {
                if error.isServerClosing { return }
                logger.warning("objects of \(name) cannot be deleted yet: \(error)")
            }
            do { try await Task.sleep(for: pause) } catch { return }
            pause = min(pause * 2, .seconds(2))
        }
        if Task.isCancelled { return }
        await change(name) { crd in
            crd.set("Terminating", false, "InstanceDeletionCompleted", "removed all instances", .now())
        }
        await release(name)
    }

    /// - Returns: how many are still there.
    private func deleteAll(_ kind: ResourceDefinition) async throws(APIFailure) -> Int {
        let objects = try registry.list(kind, namespace: "", .all).items
        var left = 0
        for object in objects {
            if object.deletionTimestamp != nil {
                left += 1
                continue
            }
            do throws(APIFailure) {
                let options = DeleteOptions(propagation: .background, uid: object.uid)
                let outcome = try await registry.delete(kind, object.key, options, context)
                if case .pending = outcome { left += 1 }
            } catch {
                if !error.isNotFound { throw error }
            }
        }
        return left
    }

    private func release(_ name: String) async {
        do throws(APIFailure) {
            let kind = try registry.definition(of: .customResourceDefinitions)
            _ = try await registry.change(kind, ObjectKey(name: name), context) { old throws(APIFailure) in
                var fresh = old
                fresh.finalizers = old.finalizers.filter { $0 != CustomDefinition.cleanupFinalizer }
                return fresh
            }
        } catch {
            if error.isNotFound || error.isServerClosing { return }
            logger.warning("CustomResourceDefinition \(name) cannot be let go: \(error)")
        }
    }
}
