import Glibc
import Kernel
import Synchronization

/// Tells tasks when descriptors become readable or writable, so that none of them blocks a thread. One thread for all.
final class DescriptorWatch: Sendable {
    static let shared = DescriptorWatch()

    private struct Waiter {
        var descriptors: [CInt]
        var deadline: ContinuousClock.Instant?
        var continuation: CheckedContinuation<Set<CInt>, Never>
    }
    private struct State {
        var waiters: [Int: Waiter] = [:]
        var owners: [CInt: Int] = [:]
        var last = 0
    }
    private let state = Mutex(State())
    private let poll: CInt
    private let bell: CInt

    private init() {
        poll = epoll_create1(CInt(EPOLL_CLOEXEC.rawValue))
        bell = eventfd(0, CInt(EFD_CLOEXEC.rawValue) | CInt(EFD_NONBLOCK.rawValue))
        precondition(poll >= 0 && bell >= 0, "the kernel refused an epoll or event descriptor: too many open files")
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: bell))
        epoll_ctl(poll, EPOLL_CTL_ADD, bell, &event)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<DescriptorWatch>.fromOpaque(raw).takeUnretainedValue().run() }
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(code == 0, "the kernel refused a thread")
        pthread_detach(thread)
    }

    enum Interest { case read, write }

    /// Waits until one of the descriptors is ready; each may be waited for by one task at a time.
    /// - Returns: the ready ones; none at the deadline or when the task is cancelled.
    func ready(_ descriptors: [CInt], _ interest: Interest, within timeout: Duration? = nil) async -> Set<CInt> {
        let number = state.withLock { state in
            state.last += 1
            return state.last
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCancelled = Task.isCancelled
                let deadline = timeout.map { ContinuousClock.now + $0 }
                let refused = state.withLock { state -> Set<CInt>? in
                    if isCancelled { return [] }
                    var added: [CInt] = []
                    for descriptor in descriptors {
                        let events = interest == .read ? EPOLLIN.rawValue | EPOLLRDHUP.rawValue : EPOLLOUT.rawValue
                        var event = epoll_event(events: events, data: epoll_data_t(fd: descriptor))
                        // What cannot be waited for, such as a plain file, is always ready.
                        guard epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
                            for other in added { drop(other, &state) }
                            return [descriptor]
                        }
                        state.owners[descriptor] = number
                        added.append(descriptor)
                    }
                    state.waiters[number] = Waiter(descriptors: descriptors, deadline: deadline, continuation: continuation)
                    return nil
                }
                if let refused { continuation.resume(returning: refused) } else if deadline != nil { ring() }
            }
        } onCancel: {
            finish(number, with: [])
        }
    }

    private func drop(_ descriptor: CInt, _ state: inout State) {
        var unused = epoll_event()
        epoll_ctl(poll, EPOLL_CTL_DEL, descriptor, &unused)
        state.owners[descriptor] = nil
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    private func finish(_ number: Int, with ready: Set<CInt>) {
        let waiter = state.withLock { state -> Waiter? in
            guard let waiter = state.waiters.removeValue(forKey: number) else { return nil }
            for descriptor in waiter.descriptors { drop(descriptor, &state) }
            return waiter
        }
        waiter?.continuation.resume(returning: ready)
    }

    private func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let now = ContinuousClock.now
            let deadlines = state.withLock { state in
                state.waiters.compactMap { entry in entry.value.deadline.map { (number: entry.key, time: $0) } }
            }
            for deadline in deadlines where deadline.time <= now { finish(deadline.number, with: []) }
            let next = deadlines.filter { $0.time > now }.map(\.time).min()
            let wait = next.map { CInt(clamping: now.duration(to: $0).wholeMilliseconds + 1) } ?? -1
            let count = epoll_wait(poll, &events, 64, wait)
            guard count > 0 else { continue }
            var ready: [Int: Set<CInt>] = [:]
            for event in events[..<Int(count)] {
                let descriptor = event.data.fd
                if descriptor == bell {
                    var unused: UInt64 = 0
                    _ = read(bell, &unused, 8)
                } else if let owner = state.withLock({ $0.owners[descriptor] }) {
                    ready[owner, default: []].insert(descriptor)
                }
            }
            for (number, descriptors) in ready { finish(number, with: descriptors) }
        }
    }
}

extension Duration {
    fileprivate var wholeMilliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
