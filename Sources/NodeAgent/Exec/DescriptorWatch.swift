import Glibc
import Kernel
import Synchronization

/// Tells tasks when descriptors become readable or writable, so that none of them blocks a thread. One thread for all.
///
/// It waits with poll(2): the few descriptors of probes and commands in flight.
final class DescriptorWatch: Sendable {
    static let shared = DescriptorWatch()

    enum Interest { case read, write }

    private struct Waiter {
        var descriptors: [CInt]
        var events: Int16
        var deadline: ContinuousClock.Instant?
        var continuation: CheckedContinuation<Set<CInt>, Never>
    }
    private struct State {
        var waiters: [Int: Waiter] = [:]
        var last = 0
    }
    private let state = Mutex(State())
    private let bell: (heard: CInt, rung: CInt)

    private init() {
        var ends: [CInt] = [-1, -1]
        let code = pipe(&ends)
        precondition(code == 0, "the kernel refused a pipe: too many open files")
        bell = (ends[0], ends[1])
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        startThread { self.run() }
    }

    /// Waits until one of the descriptors is ready.
    /// - Returns: the ready ones, also those that have failed; none at the deadline or when the task is cancelled.
    func ready(_ descriptors: [CInt], _ interest: Interest, within timeout: Duration? = nil) async -> Set<CInt> {
        let number = state.withLock { state in
            state.last += 1
            return state.last
        }
        let deadline = timeout.map { ContinuousClock.now + $0 }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCancelled = state.withLock { state in
                    if Task.isCancelled { return true }
                    let events = Int16(interest == .read ? POLLIN : POLLOUT)
                    state.waiters[number] = Waiter(
                        descriptors: descriptors, events: events, deadline: deadline, continuation: continuation)
                    return false
                }
                if isCancelled { continuation.resume(returning: []) } else { ring() }
            }
        } onCancel: {
            finish(number, with: [])
        }
    }

    private func ring() {
        var one: UInt8 = 1
        _ = write(bell.rung, &one, 1)
    }

    private func finish(_ number: Int, with ready: Set<CInt>) {
        let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
        waiter?.continuation.resume(returning: ready)
    }

    private func run() {
        while true {
            var polled = [pollfd(fd: bell.heard, events: Int16(POLLIN), revents: 0)]
            var owners = [0]
            var next: ContinuousClock.Instant?
            state.withLock { state in
                for (number, waiter) in state.waiters {
                    for descriptor in waiter.descriptors {
                        polled.append(pollfd(fd: descriptor, events: waiter.events, revents: 0))
                        owners.append(number)
                    }
                    if let deadline = waiter.deadline { next = min(next ?? deadline, deadline) }
                }
            }
            let wait =
                next.map { CInt(clamping: max(0, ContinuousClock.now.duration(to: $0).wholeMilliseconds + 1)) } ?? -1
            _ = poll(&polled, nfds_t(polled.count), wait)
            var ready: [Int: Set<CInt>] = [:]
            for (entry, owner) in zip(polled, owners) where entry.revents != 0 {
                if owner == 0 {
                    var space = [UInt8](repeating: 0, count: 256)
                    while read(bell.heard, &space, 256) > 0 {}
                } else {
                    ready[owner, default: []].insert(entry.fd)
                }
            }
            for (number, descriptors) in ready { finish(number, with: descriptors) }
            let now = ContinuousClock.now
            let late = state.withLock { state in
                state.waiters.filter { ($0.value.deadline ?? now + .seconds(1)) <= now }.map(\.key)
            }
            for number in late { finish(number, with: []) }
        }
    }
}

extension Duration {
    fileprivate var wholeMilliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
