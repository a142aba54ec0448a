/// Coarse timers for many connections: one bucket a tick, each a list of keys.
///
/// A timer is never moved. Its owner keeps the true deadline; when a tick passes, the wheel hands out the key and the owner either acts
/// or arms again. Pushing a deadline back therefore costs nothing here.
package struct TimerWheel: ~Copyable {
    /// One tick is 2^24 ns, about 17 ms.
    package static let tickShift: UInt64 = 24
    private static let slots = 4096

    private struct Entry {
        var key: UInt64
        var next: Int32
    }

    private let heads: UnsafeMutablePointer<Int32>
    private let occupied: UnsafeMutablePointer<UInt64>
    private var entries: [Entry] = []
    private var free: Int32 = -1
    private var current: UInt64
    private var armed = 0

    package init(now: UInt64) {
        heads = .allocate(capacity: Self.slots)
        heads.initialize(repeating: -1, count: Self.slots)
        occupied = .allocate(capacity: Self.slots / 64)
        occupied.initialize(repeating: 0, count: Self.slots / 64)
        current = now >> Self.tickShift
    }

    deinit {
        heads.deallocate()
        occupied.deallocate()
    }

    package var isEmpty: Bool { armed == 0 }

    /// Arms `key` for `deadline` (nanoseconds) or the wheel's horizon (about 68 s), whichever is earlier.
    ///
    /// - Returns: the time the key will come out, for the owner to remember.
    package mutating func arm(_ key: UInt64, at deadline: UInt64) -> UInt64 {
        let wanted = (deadline >> Self.tickShift) + 1
        let tick = min(max(wanted, current + 1), current + UInt64(Self.slots - 1))
        let slot = Int(tick) & (Self.slots - 1)
        let place: Int32
        if free >= 0 {
            place = free
            free = entries[Int(place)].next
            entries[Int(place)] = Entry(key: key, next: heads[slot])
        } else {
            place = Int32(entries.count)
            entries.append(Entry(key: key, next: heads[slot]))
        }
        heads[slot] = place
        occupied[slot >> 6] |= 1 << UInt64(slot & 63)
        armed += 1
        return tick << Self.tickShift
    }

    /// How long a loop may sleep, in milliseconds; -1 when nothing is armed.
    package func patience(now: UInt64) -> Int32 {
        if armed == 0 { return -1 }
        var tick = current + 1
        let end = current + UInt64(Self.slots)
        while tick < end {
            let slot = Int(tick) & (Self.slots - 1)
            let word = occupied[slot >> 6] >> UInt64(slot & 63)
            if word != 0 {
                let at = (tick + UInt64(word.trailingZeroBitCount)) << Self.tickShift
                return at <= now ? 0 : Int32((at - now) / 1_000_000) + 1
            }
            tick += UInt64(64 - (slot & 63))
        }
        return 0
    }

    /// Whether `expire` has anything to do.
    package func due(now: UInt64) -> Bool { armed > 0 && now >> Self.tickShift > current }

    /// Takes the keys of all ticks up to now.
    package mutating func expire(now: UInt64, into keys: inout [UInt64]) {
        let last = now >> Self.tickShift
        var steps = 0
        while current < last {
            current += 1
            steps += 1
            if steps > Self.slots {  // a long pause: every slot has been seen
                current = last
                break
            }
            let slot = Int(current) & (Self.slots - 1)
            var place = heads[slot]
            if place < 0 { continue }
            heads[slot] = -1
            occupied[slot >> 6] &= ~(1 << UInt64(slot & 63))
            while place >= 0 {
                let entry = entries[Int(place)]
                keys.append(entry.key)
                entries[Int(place)].next = free
                free = place
                armed -= 1
                place = entry.next
            }
        }
    }
}
