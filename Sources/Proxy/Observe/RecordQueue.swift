import CKernel
import Glibc
import Synchronization

/// Records on their way from one loop to the telemetry thread: bounded, without a lock. What does not fit is dropped and counted.
///
/// `@unchecked Sendable`: the loop writes at `head` and the thread reads at `tail`; each place belongs to one of them at a time,
/// as the two counters say. The memory lives as long as the desk, which outlives its loops.
struct RecordQueue: @unchecked Sendable {
    static let capacity = 1024

    /// What the desk and all its loops share.
    struct Bell: @unchecked Sendable {
        let descriptor: CInt
        let isAsleep: UnsafeMutablePointer<Atomic<Bool>>
        /// Somebody watches all requests.
        let isTapped: UnsafeMutablePointer<Atomic<Bool>>

        init() {
            descriptor = weft_eventfd()
            isAsleep = .allocate(capacity: 1)
            isAsleep.initialize(to: Atomic(false))
            isTapped = .allocate(capacity: 1)
            isTapped.initialize(to: Atomic(false))
        }

        func ring() {
            var one: UInt64 = 1
            _ = write(descriptor, &one, 8)
        }

        func end() {
            close(descriptor)
            isAsleep.deallocate()
            isTapped.deallocate()
        }
    }

    private let records: RecordPointer
    private let head: UnsafeMutablePointer<Atomic<Int>>
    private let tail: UnsafeMutablePointer<Atomic<Int>>
    private let lost: UnsafeMutablePointer<Atomic<UInt64>>
    let bell: Bell

    init(bell: Bell) {
        self.bell = bell
        records = RecordHistory.memory(Self.capacity)
        head = .allocate(capacity: 1)
        head.initialize(to: Atomic(0))
        tail = .allocate(capacity: 1)
        tail.initialize(to: Atomic(0))
        lost = .allocate(capacity: 1)
        lost.initialize(to: Atomic(0))
    }

    /// After both sides have ended.
    func end() {
        RecordHistory.release(records, Self.capacity)
        head.deallocate()
        tail.deallocate()
        lost.deallocate()
    }

    var dropped: UInt64 { lost.pointee.load(ordering: .relaxed) }
    @inline(__always) var isTapped: Bool { bell.isTapped.pointee.load(ordering: .relaxed) }

    /// The loop's side.
    @inline(__always)
    func push(_ record: RecordPointer) {
        let place = head.pointee.load(ordering: .relaxed)
        if place &- tail.pointee.load(ordering: .acquiring) >= Self.capacity {
            lost.pointee.wrappingAdd(1, ordering: .relaxed)
            return
        }
        (records + (place & (Self.capacity - 1))).take(from: record)
        head.pointee.store(place &+ 1, ordering: .sequentiallyConsistent)
        if bell.isAsleep.pointee.load(ordering: .sequentiallyConsistent),
            bell.isAsleep.pointee.exchange(false, ordering: .sequentiallyConsistent)
        {
            bell.ring()
        }
    }

    /// The thread's side: the oldest record, which stays until `advance`.
    func front() -> RecordPointer? {
        let place = tail.pointee.load(ordering: .relaxed)
        if place == head.pointee.load(ordering: .sequentiallyConsistent) { return nil }
        return records + (place & (Self.capacity - 1))
    }

    func advance() { tail.pointee.wrappingAdd(1, ordering: .releasing) }
}
