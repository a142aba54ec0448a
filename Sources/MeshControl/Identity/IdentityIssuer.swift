import Glibc
package import KubeTypes
package import ProxyResources
import Synchronization
import TLS
import Wire

/// Gives each pod of this process its certificate and key, and a new pair when half its life is over.
///
/// Keys are made here, beside the node agent that created the pod, and are held in memory only. A pod gets an identity only while
/// it is known to run here (`admit` … `dismiss`).
package final class IdentityIssuer: Sendable {
    package struct Counters: Sendable, Hashable {
        package var issued = 0
        package var rotated = 0
        package var failed = 0
    }

    private struct Holder {
        var principal: String
        var identity: Identity?
        var renewal: Int64 = 0  // seconds since 1970
    }
    private struct State {
        var holders: [String: Holder] = [:]  // by pod UID
        var counters = Counters()
    }

    package let lifetime: Duration
    private let authority: MeshAuthority
    private let now: @Sendable () -> Int64
    private let state = Mutex(State())

    /// `now`: seconds since 1970.
    package init(
        _ authority: MeshAuthority, lifetime: Duration = .seconds(24 * 3600),
        now: @escaping @Sendable () -> Int64 = { Int64(time(nil)) }
    ) {
        self.authority = authority
        self.lifetime = lifetime
        self.now = now
    }

    package var roots: String { authority.roots }
    package var counters: Counters { state.withLock { $0.counters } }
    /// When the first of all identities ends, seconds since 1970.
    package var earliestExpiry: Int64? { state.withLock { $0.holders.values.compactMap(\.identity?.expires).min() } }
    package var count: Int { state.withLock { $0.holders.count } }

    package func principal(namespace: String, account: String) -> String {
        "spiffe://\(authority.trustDomain)/ns/\(namespace)/sa/\(account)"
    }

    /// Lets a pod that runs here have an identity, made when first asked for.
    package func admit(_ pod: KubeObject) {
        let account = pod.spec["serviceAccountName"]?.string ?? ""
        let principal = principal(namespace: pod.namespace, account: account.isEmpty ? "default" : account)
        state.withLock { state in
            if state.holders[pod.uid]?.principal != principal { state.holders[pod.uid] = Holder(principal: principal) }
        }
    }

    /// Forgets a pod and its key.
    package func dismiss(podUID: String) { state.withLock { $0.holders[podUID] = nil } }

    /// The pod's identity, a new one if the last is beyond half its life.
    package func identity(podUID: String) throws(MeshIdentityFailure) -> Identity {
        let time = now()
        let holder = state.withLock { $0.holders[podUID] }
        guard let holder else { throw MeshIdentityFailure("pod \(podUID)", "has no identity: it does not run here") }
        if let identity = holder.identity, holder.renewal > time { return identity }
        do {
            let made = try make(holder.principal)
            return state.withLock { state in
                // Another caller may have been faster: one identity is told to all.
                if let known = state.holders[podUID], let identity = known.identity, known.renewal > time {
                    return identity
                }
                state.counters.issued += 1
                if holder.identity != nil { state.counters.rotated += 1 }
                if state.holders[podUID] != nil {
                    state.holders[podUID] = Holder(
                        principal: holder.principal, identity: made,
                        renewal: renewal(issued: time, expires: made.expires))
                }
                return made
            }
        } catch {
            state.withLock { $0.counters.failed += 1 }
            // An identity that still holds is better than none; the next look tries again.
            if let identity = holder.identity, identity.expires > time { return identity }
            throw MeshIdentityFailure(holder.principal, "\(error)")
        }
    }

    /// Pods whose identity is to be renewed now.
    package func due() -> [String] {
        let time = now()
        return state.withLock { state in
            state.holders.filter { $0.value.identity != nil && $0.value.renewal <= time }.map(\.key)
        }
    }

    /// Half the life, less up to a tenth of it, so that pods started together do not renew together.
    private func renewal(issued: Int64, expires: Int64) -> Int64 {
        let life = max(2, expires - issued)
        return issued + life / 2 - Int64.random(in: 0...(life / 10))
    }

    private func make(_ principal: String) throws -> Identity {
        let key = try PrivateKey.generate()
        let certificate = try authority.authority.issue(
            CertificateRequest(
                subjectAlternativeNames: [.uri(principal)], serverUse: true, clientUse: true, lifetime: lifetime,
                publicKey: try key.publicKey()))
        return Identity(
            certificateChain: String(decoding: try certificate.pem(), as: UTF8.self),
            privateKey: String(decoding: try key.pem(), as: UTF8.self), trustRoots: authority.roots,
            expires: certificate.notAfter)
    }
}
