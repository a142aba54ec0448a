import Glibc
import ProxyResources
import Synchronization

/// The buckets of one rate limit, for all loops of a proxy: sets of eight places, found by the key's hash.
///
/// The table never grows. A key that finds its set full takes the place of the bucket that is full again first, so that what
/// is forgotten is what has rested longest. A set is held for the few steps of one look.
final class RateTable: Sendable {
    private struct Place {
        var key: UInt64  // 0 for an empty one
        var fullAt: UInt64
    }
    /// Safe to share: a set's places are touched only by who holds its latch.
    private struct Memory: @unchecked Sendable {
        var places: UnsafeMutablePointer<Place>
        var latches: UnsafeMutablePointer<Atomic<Bool>>
    }

    private static let ways = 8
    private let memory: Memory
    private let sets: Int
    let name: String
    /// Where hashes of keys start, so that nobody can choose which fall together.
    let seed: UInt64
    private let admitted = Atomic<Int>(0)
    private let limited = Atomic<Int>(0)

    /// Room for about `keys` keys; a limit without a key needs one.
    init(name: String, keys: Int) {
        self.name = name
        seed = UInt64.random(in: 0...UInt64.max)
        var sets = 1
        while sets * Self.ways < keys { sets *= 2 }
        self.sets = sets
        let places = UnsafeMutablePointer<Place>.allocate(capacity: sets * Self.ways)
        places.initialize(repeating: Place(key: 0, fullAt: 0), count: sets * Self.ways)
        let latches = UnsafeMutablePointer<Atomic<Bool>>.allocate(capacity: sets)
        for place in 0..<sets { (latches + place).initialize(to: Atomic(false)) }
        memory = Memory(places: places, latches: latches)
    }

    deinit {
        memory.latches.deinitialize(count: sets)
        memory.latches.deallocate()
        memory.places.deallocate()
    }

    /// Takes a token from the key's bucket.
    func take(_ key: UInt64, _ bucket: RateBucket, now: UInt64) -> RateBucket.Verdict {
        let key = key == 0 ? 1 : key
        let set = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & (sets - 1)
        let latch = memory.latches + set
        while latch.pointee.exchange(true, ordering: .acquiring) { sched_yield() }
        defer { latch.pointee.store(false, ordering: .releasing) }
        let places = memory.places + set * Self.ways
        var chosen = 0
        for place in 0..<Self.ways {
            if places[place].key == key {
                chosen = place
                break
            }
            if places[place].fullAt < places[chosen].fullAt { chosen = place }
        }
        let known = places[chosen].key == key ? places[chosen].fullAt : 0
        let verdict = bucket.take(fullAt: known, now: now)
        if verdict.isAdmitted {
            places[chosen] = Place(key: key, fullAt: verdict.fullAt)
            admitted.add(1, ordering: .relaxed)
        } else {
            limited.add(1, ordering: .relaxed)
        }
        return verdict
    }

    var gauge: RateGauge {
        RateGauge(
            name: name, admitted: admitted.load(ordering: .relaxed), limited: limited.load(ordering: .relaxed))
    }
}
