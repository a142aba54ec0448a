import CKernel
import Glibc
import Kernel
import Synchronization

/// One thread that waits for what supervisors say by themselves: changes, and the ends of what was stopped or executed.
final class SupervisorEvents: Sendable {
    enum Event {
        case message(SupervisorConnection.Answer)
        case ended
    }
    /// Returns whether it wants more. Runs on the thread of the events: it must not block.
    typealias Handler = @Sendable (Event) -> Bool

    private struct Entry {
        var connection: SupervisorConnection
        var handler: Handler
    }
    private let poll: CInt
    private let wake: CInt
    private let entries = Mutex<[CInt: Entry]>([:])

    init() {
        poll = epoll_create1(CInt(EPOLL_CLOEXEC))
        wake = eventfd(0, CInt(EFD_CLOEXEC))
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: wake))
        epoll_ctl(poll, EPOLL_CTL_ADD, wake, &event)
        // The thread keeps this object; `end` lets both go.
        startThread { self.run() }
    }

    deinit {
        close(poll)
        close(wake)
    }

    func end() { _ = eventfd_write(wake, 1) }

    func add(_ connection: SupervisorConnection, _ handler: @escaping Handler) {
        entries.withLock { $0[connection.descriptor] = Entry(connection: connection, handler: handler) }
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: connection.descriptor))
        if epoll_ctl(poll, EPOLL_CTL_ADD, connection.descriptor, &event) != 0 { handle(connection.descriptor, .ended) }
    }

    private func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 32)
        while true {
            let count = epoll_wait(poll, &events, CInt(events.count), -1)
            guard count > 0 else { continue }
            for place in 0..<Int(count) {
                let descriptor = events[place].data.fd
                if descriptor == wake { return finish() }
                guard let connection = entries.withLock({ $0[descriptor]?.connection }) else { continue }
                do throws(SupervisorConnection.Broken) {
                    handle(descriptor, .message(try connection.receive()))
                } catch {
                    handle(descriptor, .ended)
                }
            }
        }
    }

    private func handle(_ descriptor: CInt, _ event: Event) {
        guard let entry = entries.withLock({ $0[descriptor] }) else { return }
        var isOver = !entry.handler(event)
        if case .ended = event { isOver = true }
        guard isOver else { return }
        epoll_ctl(poll, EPOLL_CTL_DEL, descriptor, nil)
        _ = entries.withLock { $0.removeValue(forKey: descriptor) }
    }

    private func finish() {
        let left = entries.withLock { entries in
            defer { entries = [:] }
            return Array(entries.values)
        }
        for entry in left { _ = entry.handler(.ended) }
    }
}
