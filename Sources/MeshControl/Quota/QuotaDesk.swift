import KubeTypes
import MeshModel
import NIOCore
import ProxyResources
import Synchronization

/// Leases tokens of global limits to the proxies that are connected. Each may ask for budgets its own configuration has.
final class QuotaDesk: Sendable {
    private struct Session {
        var podUID: String
        var pod: ObjectKey
        var budgets: Set<String>
        var call: NIOLoopBound<QuotaCall>
        var loop: any EventLoop
    }
    private struct State {
        var allocator = QuotaAllocator(now: QuotaDesk.now)
        var model: MeshModel?
        var sessions: [Int: Session] = [:]
        var lastSession = 0
        /// When the next round is, while one is arranged.
        var nextRound: UInt64 = .max
        var isSweeping = false
    }

    private let group: any EventLoopGroup
    private let state = Mutex(State())

    init(group: any EventLoopGroup) { self.group = group }

    private static var now: UInt64 { NIODeadline.now().uptimeNanoseconds }
    private static let mostStreams = 4
    /// After a report, so that those of other proxies come into the same round.
    private static let gathering: UInt64 = 5_000_000
    /// While somebody wants more than there is.
    private static let pause: UInt64 = 40_000_000

    func publish(_ model: MeshModel) {
        state.withLock { state in
            state.model = model
            state.allocator.adopt(model.budgets)
            for (number, session) in state.sessions {
                state.sessions[number]?.budgets = model.budgets(of: session.pod)
            }
        }
    }

    // MARK: streams, called on their event loops

    /// The session's number; `nil` when the pod has too many, or the mesh does not know it yet.
    func join(podUID: String, pod: ObjectKey, _ call: QuotaCall, _ loop: any EventLoop) -> Int? {
        let bound = NIOLoopBound(call, eventLoop: loop)
        return state.withLock { state in
            guard let model = state.model, model.workloads[pod] != nil else { return nil }
            if state.sessions.values.count(where: { $0.podUID == podUID }) >= Self.mostStreams { return nil }
            state.lastSession += 1
            state.sessions[state.lastSession] = Session(
                podUID: podUID, pod: pod, budgets: model.budgets(of: pod), call: bound, loop: loop)
            state.allocator.join(state.lastSession, now: Self.now)
            if !state.isSweeping {
                state.isSweeping = true
                scheduleSweep()
            }
            return state.lastSession
        }
    }

    func leave(_ number: Int) {
        state.withLock { state in
            state.sessions[number] = nil
            state.allocator.leave(number)
        }
    }

    func receive(_ report: QuotaReport, from number: Int) {
        state.withLock { state in
            guard let session = state.sessions[number] else { return }
            state.allocator.take(report, from: number, now: Self.now) { session.budgets.contains($0) }
            arrange(&state, in: Self.gathering)
        }
    }

    private func arrange(_ state: inout State, in delay: UInt64) {
        let wanted = Self.now + delay
        if state.nextRound <= wanted { return }
        state.nextRound = wanted
        group.next().scheduleTask(in: .nanoseconds(Int64(delay))) { self.round(arrangedFor: wanted) }
    }

    private func round(arrangedFor moment: UInt64) {
        let grants = state.withLock { state -> [(Session, QuotaGrants)] in
            // Another one has been arranged that comes sooner.
            if state.nextRound != moment { return [] }
            state.nextRound = .max
            let grants = state.allocator.round(now: Self.now)
            if state.allocator.isWanted { arrange(&state, in: Self.pause) }
            return grants.compactMap { number, grants in state.sessions[number].map { ($0, grants) } }
        }
        for (session, grants) in grants { session.loop.execute { session.call.value.send(grants) } }
    }

    private func scheduleSweep() {
        group.next().scheduleTask(in: .seconds(1)) { self.sweep() }
    }

    private func sweep() {
        let silent = state.withLock { state -> [Session] in
            let silent = state.allocator.sweep(now: Self.now)
            if state.sessions.isEmpty { state.isSweeping = false } else { scheduleSweep() }
            return silent.compactMap { state.sessions[$0] }
        }
        for session in silent { session.loop.execute { session.call.value.disconnect() } }
    }

    /// The pod is gone.
    func close(podUID: String) {
        let sessions = state.withLock { state in state.sessions.values.filter { $0.podUID == podUID } }
        for session in sessions { session.loop.execute { session.call.value.disconnect() } }
    }

    // MARK: seeing

    var counters: QuotaAllocator.Counters { state.withLock { $0.allocator.counters } }
    var summary: [(budget: String, keys: Int, holders: Int, held: Int64)] { state.withLock { $0.allocator.summary } }
}
