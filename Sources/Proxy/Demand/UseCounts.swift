import Glibc
import Synchronization

/// How many connections each destination has, and when one last came or went. One for all loops; written at the begin and the end of
/// a connection, single atomic words.
// `@unchecked Sendable`: the memory behind the pointer is atomics, made in init and freed in deinit.
final class UseCounts: @unchecked Sendable {
    static let places = 8192
    /// Two for each place: connections, and the time. Pages nobody touches cost nothing.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        guard let memory = calloc(Self.places * 2, MemoryLayout<Atomic<UInt64>>.stride) else {
            fatalError("no memory for the counts of use")
        }
        words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.places * 2)
    }

    deinit { free(words) }

    func enter(_ place: Int16, now: UInt64) {
        words[Int(place) * 2].add(1, ordering: .relaxed)
        words[Int(place) * 2 + 1].store(now, ordering: .relaxed)
    }

    /// A place may be another destination's by then: that one has seemed in use for so long, no more.
    func leave(_ place: Int16, now: UInt64) {
        words[Int(place) * 2].subtract(1, ordering: .relaxed)
        words[Int(place) * 2 + 1].store(now, ordering: .relaxed)
    }

    func use(_ place: Int16) -> (open: Int, last: UInt64) {
        (
            Int(truncatingIfNeeded: words[Int(place) * 2].load(ordering: .relaxed)),
            words[Int(place) * 2 + 1].load(ordering: .relaxed)
        )
    }
}
