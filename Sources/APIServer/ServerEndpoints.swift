import KubeClient
import KubeTypes
import Logging
import Store
import Wire

/// The endpoints of the service `kubernetes.default`: the servers that are alive.
///
/// Servers that share a store each keep a key there with a lease, as Kubernetes' own do (`/registry/masterleases/<address>`): one
/// that dies is out of the endpoints when that has run out.
struct ServerEndpoints {
    private static let scope = "/registry/masterleases/"
    private static let lifetime: Int64 = 15
    private static let interval = Duration.seconds(10)

    let bootstrap: Bootstrap
    private var lease: StoreLease?

    init(_ registry: Registry, _ configuration: APIServerConfiguration) {
        bootstrap = Bootstrap(registry: registry, configuration: configuration)
    }

    private var store: any Store { bootstrap.registry.store }
    private var key: String { Self.scope + bootstrap.configuration.endpointAddress }

    /// At a server's start, and where the store is shared from then on.
    mutating func write() async throws(APIFailure) {
        guard store.isShared else {
            try await bootstrap.writeEndpoints([bootstrap.configuration.endpointAddress])
            return
        }
        do throws(StoreFailure) { try await sign() } catch {
            throw bootstrap.registry.failure(error, .endpoints, "kubernetes")
        }
        try await writeAlive()
    }

    /// Until cancelled; then this server is taken out.
    mutating func run() async {
        while (try? await Task.sleep(for: Self.interval)) != nil {
            do throws(APIFailure) { try await write() } catch {
                bootstrap.registry.logger.warning("endpoints of the API not written", metadata: ["why": "\(error)"])
            }
        }
        let rest = self
        await Task {
            if let lease = rest.lease { try? await rest.store.revokeLease(lease.id) }
            try? await rest.writeAlive()
        }.value
    }

    /// Says that this server is alive.
    private mutating func sign() async throws(StoreFailure) {
        if let kept = lease {
            do throws(StoreFailure) {
                _ = try await store.renewLease(kept.id)
                if store.get(key)?.lease == kept.id { return }
            } catch {
                guard case .leaseMissing = error else { throw error }
                lease = nil
            }
        }
        let own: StoreLease
        if let lease { own = lease } else { own = try await store.grantLease(seconds: Self.lifetime) }
        lease = own
        do throws(StoreFailure) {
            _ = try await store.update(key, [], .present, lease: own.id)
        } catch {
            guard case .missing = error else { throw error }
            _ = try await store.create(key, [], lease: own.id)
        }
    }

    private func writeAlive() async throws(APIFailure) {
        var addresses: [String] = []
        store.snapshot().index.visit(under: Self.scope) { record in
            addresses.append(String(record.key.dropFirst(Self.scope.count)))
            return true
        }
        // The last one leaves its own there: better than none for those who ask again.
        if !addresses.isEmpty { try await bootstrap.writeEndpoints(addresses) }
    }
}
