import CKernel
import Glibc
import Synchronization

/// Until when a proxy may use the tokens it holds, and the bell that asks for more. Shared by loops and the quota client.
final class LeaseClock: Sendable {
    /// Nanoseconds of the loops' clock; 0 before the first lease.
    let until = Atomic<UInt64>(0)
    private let isRinging = Atomic<Bool>(false)
    let bell = weft_eventfd()

    deinit { close(bell) }

    /// Somebody wants tokens now. Once until it is heard.
    func ring() {
        if isRinging.load(ordering: .relaxed) || isRinging.exchange(true, ordering: .relaxed) { return }
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    func hear() {
        var count: UInt64 = 0
        _ = read(bell, &count, 8)
        isRinging.store(false, ordering: .relaxed)
    }
}
