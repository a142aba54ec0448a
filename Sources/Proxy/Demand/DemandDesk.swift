import CKernel
import Glibc
import Loop
import Synchronization

/// Where loops and pages ask for destinations, and the configuration thread hears of it.
final class DemandDesk: Sendable {
    enum Answer: Equatable {
        /// It is in the configuration; a loop that has not yet been given it will be told at once.
        case present
        case absent
        /// It has been asked for: for at most so many nanoseconds.
        case wait(UInt64)
        case full
    }

    private struct Held {
        var book = DemandBook()
        /// When the control plane was lost; `nil` while it is there.
        var lostAt: UInt64?
        var patience = DemandDesk.patience
    }

    /// Readable when the book has news for the control plane.
    let bell = weft_eventfd()
    let uses = UseCounts()
    private let held: Mutex<Held>

    init(_ bounds: DemandBook.Bounds = DemandBook.Bounds()) {
        held = Mutex(Held(book: DemandBook(bounds), lostAt: Clock.monotonic))
    }

    deinit { close(bell) }

    /// How long a connection waits for an answer at first; and how long once the control plane has been away for as long.
    static let patience = 5 * Limits.second
    static let shortPatience = 1 * Limits.second

    /// How long a connection waits for an answer, in nanoseconds.
    var patience: UInt64 {
        get { held.withLock { $0.patience } }
        set { held.withLock { $0.patience = newValue } }
    }

    func want(_ key: String, now: UInt64) -> Answer {
        let (answer, isNew): (Answer, Bool) = held.withLock { held in
            let known = held.book.entries[key] != nil
            switch held.book.want(key, now: now, use: { uses.use($0) }) {
            case .present: return (.present, false)
            case .absent: return (.absent, false)
            case .full: return (.full, false)
            case .wait:
                let isLost = held.lostAt.map { now > $0 && now - $0 > Self.patience } ?? false
                return (.wait(isLost ? Self.shortPatience : held.patience), !known)
            }
        }
        if isNew { ring() }
        return answer
    }

    func places(of keys: some Collection<String>, now: UInt64) -> [String: Int16] {
        held.withLock { $0.book.places(of: keys, now: now) }
    }

    func settle(present: some Sequence<String>, absent: some Sequence<String>) {
        held.withLock {
            $0.book.settle(present: present)
            $0.book.settle(absent: absent)
        }
    }

    /// - Returns: the destinations to be taken out of the configuration.
    func sweep(now: UInt64, idle: UInt64) -> [String] {
        held.withLock { $0.book.sweep(now: now, idle: idle) { uses.use($0) } + $0.book.takeEvicted() }
    }

    func clear() { held.withLock { $0.book.clear() } }
    func opening() -> [String] { held.withLock { $0.book.opening() } }
    func changes() -> (subscribe: [String], unsubscribe: [String], evicted: [String]) {
        held.withLock {
            let changes = $0.book.changes()
            return (changes.subscribe, changes.unsubscribe, $0.book.takeEvicted())
        }
    }

    func note(connected: Bool) {
        held.withLock { held in
            if connected { held.lostAt = nil } else if held.lostAt == nil { held.lostAt = Clock.monotonic }
        }
    }

    /// Whether there is nobody to ask.
    var isLost: Bool { held.withLock { $0.lostAt != nil } }

    /// Asks for a destination and waits until it is known, for as long as somebody who looks may.
    func wait(for key: String, atMost patience: UInt64 = 2 * Limits.second) {
        let end = Clock.monotonic + patience
        while Clock.monotonic < end {
            guard case .wait = want(key, now: Clock.monotonic) else { return }
            usleep(5000)
        }
    }

    /// What is asked for, with how it stands.
    var contents: [(key: String, standing: DemandBook.Standing, open: Int)] {
        held.withLock { held in
            held.book.entries.sorted { $0.key < $1.key }.map {
                ($0.key, $0.value.standing, uses.use($0.value.place).open)
            }
        }
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    func silence() {
        var count: UInt64 = 0
        _ = read(bell, &count, 8)
    }
}
