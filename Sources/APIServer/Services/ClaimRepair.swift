import KubeClient
import KubeTypes
import Logging
import Store

/// Brings services and their claims together again: after a server died between the two, after somebody deleted an IPAddress, and
/// where a store was written before claims were kept there.
struct ClaimRepair {
    /// Kubernetes' own interval. A claim without a service is given up when it was seen twice: a write under way lasts less.
    static let interval = Duration.seconds(180)

    let claims: ServiceClaims
    let range: ServiceRange
    /// Claims without a service at the last pass, with their revisions.
    private var suspects: [String: Int64] = [:]

    init(_ registry: Registry) {
        claims = ServiceClaims(registry: registry)
        range = registry.serviceRange
    }

    /// Until cancelled.
    static func run(_ registry: Registry) async {
        var repair = ClaimRepair(registry)
        while (try? await Task.sleep(for: interval)) != nil {
            do throws(APIFailure) { try await repair.pass() } catch {
                registry.logger.warning("claims of services not looked through", metadata: ["why": "\(error)"])
            }
        }
    }

    mutating func pass() async throws(APIFailure) {
        let registry = claims.registry
        do throws(StoreFailure) { try await registry.store.catchUp() } catch {
            throw registry.failure(error, .services, "")
        }
        let services = try registry.list(try registry.definition(of: .services), namespace: "", .all).items
        var wanted: [ServiceClaim: ObjectKey] = [:]
        for service in services {
            for claim in ServiceClaim.all(of: service, in: range) where wanted[claim] == nil {
                wanted[claim] = service.key
            }
        }
        try await claimMissing(wanted)
        await giveUpOrphans(wanted)
    }

    /// What stored services have and nobody claimed. Sees to it that the store takes many at once.
    func claimMissing(_ wanted: [ServiceClaim: ObjectKey]) async throws(APIFailure) {
        let claims = self.claims
        let missing = wanted.filter { claims.isFree($0.key) }
        if missing.isEmpty { return }
        let failures = await withTaskGroup(of: APIFailure?.self) { group in
            for (claim, owner) in missing {
                group.addTask {
                    do throws(APIFailure) { _ = try await claims.take(claim, for: owner) } catch { return error }
                    return nil
                }
            }
            return await group.reduce(into: [APIFailure]()) { if let failure = $1 { $0.append(failure) } }
        }
        if let failure = failures.first { throw failure }
    }

    private mutating func giveUpOrphans(_ wanted: [ServiceClaim: ObjectKey]) async {
        let keys = Dictionary(
            wanted.map { (ServiceClaims.key($0.key), $0.value) }, uniquingKeysWith: { first, _ in first })
        var orphans: [KeptClaim] = []
        let index = claims.registry.store.snapshot().index
        for scope in [ServiceClaims.addressScope, ServiceClaims.portScope] {
            index.visit(under: scope) { record in
                if let kept = claims.kept(record), keys[record.key] == nil { orphans.append(kept) }
                return true
            }
        }
        let old = orphans.filter { suspects[$0.key] == $0.revision }
        suspects = Dictionary(orphans.map { ($0.key, $0.revision) }, uniquingKeysWith: { first, _ in first })
        for claim in old {
            claims.registry.logger.notice(
                "an address or a port of no service is free again", metadata: ["key": "\(claim.key)"])
        }
        await claims.giveUp(old)
    }
}
