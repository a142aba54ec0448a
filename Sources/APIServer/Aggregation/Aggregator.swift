import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Store
import Synchronization
import TLS
import Wire

/// Other servers behind this one: which groups they answer for, whether they can be reached, and how they are asked.
///
/// An APIService without a service is our own; those are made and taken away as kinds come and go.
final class Aggregator: Sendable {
    private struct State {
        var remotes: [String: RemoteService] = [:]
        /// What each said of its version's resources.
        var discovered: [String: JSON] = [:]
        /// Where each has its OpenAPI document.
        var documents: [String: JSON] = [:]
        var contexts: [String: TLSContext] = [:]
    }

    private let registry: Registry
    private let services: ServiceResolver
    private let dialer: (any ClusterDialer)?
    private let identity: (certificate: Certificate, key: PrivateKey)
    private let builtIn: SchemaCatalog
    private let logger: Logger
    private let state = Mutex(State())
    private let woken: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation

    private static let type = ResourceType(
        group: "apiregistration.k8s.io", version: "v1", resource: "apiservices", kind: "APIService", isNamespaced: false
    )
    /// Between two looks at each server.
    private static let interval = Duration.seconds(10)
    private static let probeLimit = Duration.seconds(5)
    /// Bytes of a discovery document.
    private static let documentLimit = 16 << 20

    /// - Parameter identity: what this server shows to those behind it.
    init(
        _ registry: Registry, _ services: ServiceResolver, dialer: (any ClusterDialer)?,
        identity: (certificate: Certificate, key: PrivateKey)
    ) {
        self.registry = registry
        self.services = services
        self.dialer = dialer
        self.identity = identity
        builtIn = registry.catalog
        logger = registry.logger
        (woken, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// The kinds have changed.
    func noteKinds() { wake.yield() }

    /// Who answers for a version; `nil` for what this server answers itself.
    func remote(group: String, version: String) -> RemoteService? {
        state.withLock { state in
            if state.remotes.isEmpty { return nil }
            return state.remotes["\(version).\(group)"]
        }
    }

    // MARK: Following

    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.followServices() }
            group.addTask { await self.probeAlways() }
            group.addTask {
                await self.syncLocal()
                for await _ in self.woken { await self.syncLocal() }
            }
        }
    }

    private let scope = StorageKey.scope(Aggregator.type)

    /// Each new server is probed beside this: one that hangs holds up no other.
    private func followServices() async {
        await withDiscardingTaskGroup { probes in
            while !Task.isCancelled {
                let snapshot = registry.store.snapshot()
                var revision = snapshot.revision
                var found: [String: KubeObject] = [:]
                snapshot.index.visit(under: scope) { record in
                    let object = self.object(record)
                    found[object.name] = object
                    return true
                }
                for name in state.withLock({ Array($0.remotes.keys) }) where found[name] == nil { forget(name) }
                for object in found.values { await take(object, &probes) }
                publish()
                do {
                    try await followChanges(from: &revision, &probes)
                } catch StoreFailure.closed {
                    return
                } catch is CancellationError {
                    return
                } catch {
                    logger.debug("APIServices are read again: \(error)")
                }
            }
        }
    }

    private func followChanges(from revision: inout Int64, _ probes: inout DiscardingTaskGroup) async throws {
        let watch = registry.store.watch(scope)
        while true {
            guard case .events(let events) = try await watch.next(after: &revision) else { continue }
            for event in events {
                let object = self.object(event.record)
                if event.kind == .deleted {
                    forget(object.name)
                    wake.yield()
                } else {
                    await take(object, &probes)
                }
            }
            publish()
        }
    }

    private func object(_ record: Record) -> KubeObject {
        KubeObject((try? JSON(parsing: registry.plainValue(record))) ?? [:])
    }

    private func forget(_ name: String) {
        state.withLock { state in
            state.remotes[name] = nil
            state.discovered[name] = nil
            state.documents[name] = nil
            state.contexts[name] = nil
        }
    }

    private func take(_ object: KubeObject, _ probes: inout DiscardingTaskGroup) async {
        guard let remote = RemoteService(object) else {
            forget(object.name)
            let found = RemoteService.Availability(
                isAvailable: true, reason: "Local", message: "Local APIServices are always available")
            await tell(object.name, found)
            return
        }
        // What the catalog itself has stays ours.
        guard builtIn.definitions(group: remote.group, version: remote.version).isEmpty else { return }
        let isNew = state.withLock { state -> Bool in
            if let known = state.remotes[remote.name], known.isSame(as: remote) { return false }
            state.remotes[remote.name] = remote
            state.contexts[remote.name] = nil
            return true
        }
        guard isNew else { return }
        probes.addTask {
            await self.probe(remote)
            self.publish()
        }
    }

    private func publish() {
        let (remotes, discovered, documents) = state.withLock { ($0.remotes, $0.discovered, $0.documents) }
        let entries = remotes.values.map { remote in
            (remote.group, discovered[remote.name] ?? RemoteDiscovery.stale(remote.version))
        }
        var groups = RemoteGroups(groups: RemoteDiscovery.groups(entries))
        for remote in remotes.values.sorted(by: { $0.name < $1.name }) {
            guard let document = documents[remote.name] else { continue }
            groups.documents.append(.init(String(remote.path.dropFirst()), document))
        }
        if registry.published.remote == groups { return }
        registry.publish { ($0.catalog, groups) }
    }

    // MARK: Our own

    private var context: WriteContext { WriteContext(user: .component("apiserver")) }

    /// Makes the APIServices of what this server answers for, and takes away those of what it does not any more.
    private func syncLocal() async {
        do throws(APIFailure) {
            let definition = try registry.definition(of: Self.type)
            let wanted = LocalGroups.services(registry.catalog, builtIn: builtIn)
            let there = try registry.list(definition, namespace: "", .all).items
            for object in there where LocalGroups.isManaged(object) && wanted[object.name] == nil {
                await write(object.name) { () throws(APIFailure) in
                    _ = try await registry.delete(definition, object.key, DeleteOptions(uid: object.uid), context)
                }
            }
            let known = Set(there.map(\.name))
            // Together, so that they share the store's commits.
            await withDiscardingTaskGroup { group in
                for (name, object) in wanted where !known.contains(name) {
                    group.addTask {
                        await self.write(name) { () throws(APIFailure) in
                            _ = try await self.registry.create(definition, namespace: "", object, self.context)
                        }
                    }
                }
            }
        } catch {
            if !error.isServerClosing { logger.warning("APIServices cannot be written: \(error)") }
        }
    }

    /// Of several servers another may have been faster.
    private func write(_ name: String, _ body: () async throws(APIFailure) -> Void) async {
        do throws(APIFailure) { try await body() } catch {
            if error.alreadyExists || error.isNotFound || error.isServerClosing { return }
            logger.warning("APIService \(name) cannot be written: \(error)")
        }
    }

    private func tell(_ name: String, _ found: RemoteService.Availability) async {
        do throws(APIFailure) {
            let definition = try registry.definition(of: Self.type)
            _ = try await registry.change(definition, ObjectKey(name: name), subresource: "status", context) {
                old throws(APIFailure) in
                var fresh = old
                fresh.set(found, now: .now())
                return fresh
            }
        } catch {
            if error.isNotFound || error.isServerClosing { return }
            logger.warning("the status of APIService \(name) cannot be written: \(error)")
        }
    }

    // MARK: Asking

    private func probeAlways() async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: Self.interval) } catch { return }
            let remotes = state.withLock { Array($0.remotes.values) }
            await withDiscardingTaskGroup { group in
                for remote in remotes { group.addTask { await self.probe(remote) } }
            }
            publish()
        }
    }

    private func probe(_ remote: RemoteService) async {
        let (found, entry) = await ask(remote)
        let isChanged = state.withLock { state -> Bool in
            guard let known = state.remotes[remote.name], known.isSame(as: remote) else { return false }
            if let entry { state.discovered[remote.name] = entry.version }
            if let entry { state.documents[remote.name] = entry.document }
            state.remotes[remote.name]?.availability = found
            return known.availability != found
        }
        if isChanged { await tell(remote.name, found) }
    }

    /// What a server says of itself.
    private struct Discovered {
        var version: JSON
        var document: JSON?
    }

    private func ask(_ remote: RemoteService) async -> (RemoteService.Availability, Discovered?) {
        func no(_ reason: String, _ message: String) -> (RemoteService.Availability, Discovered?) {
            (RemoteService.Availability(isAvailable: false, reason: reason, message: message), nil)
        }
        let service = "\"\(remote.service.name)\" in \"\(remote.service.namespace)\""
        let key = ObjectKey(namespace: remote.service.namespace, name: remote.service.name)
        if !registry.exists(.services, key) {
            return no("ServiceNotFound", "service/\(remote.service.name) in \"\(key.namespace)\" is not present")
        }
        let exchange: UpstreamExchange
        do throws(WebhookFault) {
            exchange = try self.exchange(remote, within: Self.probeLimit)
        } catch {
            return no("MissingEndpoints", "endpoints for service/\(service) have no addresses: \(error)")
        }
        do {
            let entry = try await discover(remote, exchange)
            return (
                RemoteService.Availability(isAvailable: true, reason: "Passed", message: "all checks passed"), entry
            )
        } catch {
            return no(
                "FailedDiscoveryCheck",
                "failing or missing response from https://\(exchange.serverName)\(remote.path): \(error)")
        }
    }

    private func discover(_ remote: RemoteService, _ exchange: UpstreamExchange) async throws -> Discovered {
        let own = try await exchange.collect(
            head(remote, remote.path, accept: "application/json"), limit: Self.documentLimit)
        guard (200..<300).contains(own.status) else { throw UpstreamFault("bad status: \(own.status)") }
        let list = try JSON(parsing: own.bytes)
        guard
            let entry = RemoteDiscovery.version(ofResources: list, group: remote.group, version: remote.version)
        else { throw UpstreamFault("the answer is no APIResourceList") }
        // A server without documents is one all the same.
        let index = try? await exchange.collect(
            head(remote, "/openapi/v3", accept: "application/json"), limit: Self.documentLimit)
        guard let index, index.status == 200, let paths = try? JSON(parsing: index.bytes) else {
            return Discovered(version: entry)
        }
        return Discovered(version: entry, document: paths["paths"]?[String(remote.path.dropFirst())])
    }

    private func head(_ remote: RemoteService, _ path: String, accept: String) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        head.headers.add(name: "host", value: Self.host(remote))
        head.headers.add(name: "accept", value: accept)
        head.headers.add(name: "x-remote-user", value: "system:kube-aggregator")
        head.headers.add(name: "x-remote-group", value: "system:masters")
        return head
    }

    static func host(_ remote: RemoteService) -> String {
        "\(remote.service.name).\(remote.service.namespace).svc:\(remote.service.port)"
    }

    /// A request to the server, on its way to one of the service's pods.
    func exchange(_ remote: RemoteService, within limit: Duration) throws(WebhookFault) -> UpstreamExchange {
        let endpoint = try services.endpoint(remote.service, trust: remote.trust)
        return UpstreamExchange(
            place: endpoint.place, serverName: endpoint.serverName, context: try context(remote), dialer: dialer,
            limit: limit)
    }

    private func context(_ remote: RemoteService) throws(WebhookFault) -> TLSContext {
        if let known = state.withLock({ $0.contexts[remote.name] }) { return known }
        do {
            var roots: [Certificate] = []
            if !remote.skipsVerification {
                roots = try Certificate.bundle(pem: remote.trust.isEmpty ? WebhookCaller.machineRoots() : remote.trust)
            }
            var configuration = TLSConfiguration.client(
                roots: roots, certificates: [identity.certificate], key: identity.key)
            if remote.skipsVerification { configuration.verification = .none }
            let made = try TLSContext(.client, configuration)
            state.withLock { $0.contexts[remote.name] = made }
            return made
        } catch {
            throw WebhookFault("the caBundle of APIService \(remote.name) cannot be used: \(error)")
        }
    }
}
