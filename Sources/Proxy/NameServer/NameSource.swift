import Loop
import ProxyResources
import Synchronization
import Wire

/// The names of the configuration now in use, and where to ask for others.
final class NameSource: Sendable {
    private struct Kept {
        var generation: UInt64 = .max
        var names = ServiceNames()
        var upstream: SocketAddress?
    }
    private let state: ProgramState
    private let kept = Mutex(Kept())

    init(state: ProgramState) { self.state = state }

    func answer(_ query: DNSMessage) -> DNSMessage? {
        refresh()
        return kept.withLock { $0.names }.answer(query)
    }

    var upstream: SocketAddress? { kept.withLock { $0.upstream } }

    private func refresh() {
        let generation = state.read { $0.generation }
        if kept.withLock({ $0.generation == generation }) { return }
        let configuration = state.read { $0.configuration }
        let fresh = Kept(
            generation: generation, names: configuration.map { ServiceNames($0.servicePorts.values) } ?? ServiceNames(),
            upstream: configuration.flatMap { SocketAddress($0.workload.dnsUpstream) })
        kept.withLock { $0 = fresh }
    }
}
