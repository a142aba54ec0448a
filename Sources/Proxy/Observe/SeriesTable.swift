import Glibc

/// What a series counts: reporter, other workload, service, outcome, packed for comparison.
struct SeriesKey: Hashable, Sendable {
    enum Kind: UInt8, Sendable { case http, tcp, grpc }
    /// service << 32 | peer
    var who: UInt64
    /// grpc status << 48 | kind << 40 | reporter << 32 | security << 24 | flag << 16 | status
    var what: UInt64

    init(
        kind: Kind, isDestination: Bool, peer: UInt32, service: UInt32, security: Security, flag: ResponseFlag,
        status: UInt16, grpcStatus: UInt8 = .max
    ) {
        who = UInt64(service) << 32 | UInt64(peer)
        let outcome = UInt64(security.rawValue) << 24 | UInt64(flag.rawValue) << 16 | UInt64(status)
        let form = UInt64(grpcStatus) << 48 | UInt64(kind.rawValue) << 40
        what = form | (isDestination ? 1 << 32 : 0) | outcome
    }

    private init(overflowing kind: Kind) {
        who = .max
        what = UInt64(UInt8.max) << 48 | UInt64(kind.rawValue) << 40
    }

    /// Counts all that has no series of its own.
    static func overflow(_ kind: Kind) -> SeriesKey { SeriesKey(overflowing: kind) }

    var isOverflow: Bool { who == .max }
    var peer: UInt32 { UInt32(truncatingIfNeeded: who) }
    var service: UInt32 { UInt32(truncatingIfNeeded: who >> 32) }
    var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: what >> 40)) ?? .http }
    var isDestination: Bool { what >> 32 & 1 == 1 }
    var security: Security { Security(rawValue: UInt8(truncatingIfNeeded: what >> 24)) ?? .none }
    var flag: ResponseFlag { ResponseFlag(rawValue: UInt8(truncatingIfNeeded: what >> 16)) ?? .none }
    var status: UInt16 { UInt16(truncatingIfNeeded: what) }
    /// 255 when the answer had none.
    var grpcStatus: UInt8 { UInt8(truncatingIfNeeded: what >> 48) }
}

/// One line of metrics. For TCP, `count` is connections opened.
struct Series: Sendable {
    var key: SeriesKey
    /// When it last changed, by the loop's clock.
    var touched: UInt64 = 0
    var count: UInt64 = 0
    var closed: UInt64 = 0
    var sent: UInt64 = 0
    var received: UInt64 = 0
    var requestMessages: UInt64 = 0
    var responseMessages: UInt64 = 0
    var duration = Histogram()
    var requestBytes = Histogram()
    var responseBytes = Histogram()
    var fine = FineHistogram()
    var exemplar = Exemplar()

    mutating func add(_ other: Series) {
        touched = max(touched, other.touched)
        count &+= other.count
        closed &+= other.closed
        sent &+= other.sent
        received &+= other.received
        requestMessages &+= other.requestMessages
        responseMessages &+= other.responseMessages
        duration.add(other.duration)
        requestBytes.add(other.requestBytes)
        responseBytes.add(other.responseBytes)
        fine.add(other.fine)
        if other.exemplar.moment > exemplar.moment { exemplar = other.exemplar }
    }
}

/// A loop's own counters: plain integers found by hashing, no lock and no string. Bounded: what finds no place is counted under
/// the overflow key of its kind; what has not changed for an hour makes room.
struct SeriesTable: ~Copyable {
    static let stale: UInt64 = 3600 * 1_000_000_000
    /// Places looked at in one call of `expire`.
    private static let stride = 256
    private let capacity: Int
    private let mask: Int
    /// Place of a series plus one; 0 is free.
    private let index: UnsafeMutablePointer<Int32>
    private let series: UnsafeMutablePointer<Series>
    /// Places of `series` ever used, and those free again, linked by `closed`.
    private var used: Int
    private var free: Int32 = -1
    private var swept = 0
    private let durationBounds: UnsafeMutablePointer<UInt64>
    private let byteBounds: UnsafeMutablePointer<UInt64>

    /// - Parameter capacity: a power of two.
    init(capacity: Int = 16384) {
        self.capacity = capacity
        mask = capacity * 2 - 1
        index = Self.zeroed(capacity * 2)
        series = Self.zeroed(capacity)
        durationBounds = .allocate(capacity: Histogram.bounds.count)
        byteBounds = .allocate(capacity: Histogram.bounds.count)
        for (place, bound) in Histogram.bounds.enumerated() {
            durationBounds[place] = UInt64(bound * 1_000_000)
            byteBounds[place] = UInt64(bound)
        }
        used = 0
        for kind in [SeriesKey.Kind.http, .tcp, .grpc] {
            (series + used).initialize(to: Series(key: .overflow(kind)))
            used += 1
        }
    }

    /// Memory that costs nothing until it is touched.
    private static func zeroed<Entry>(_ count: Int) -> UnsafeMutablePointer<Entry> {
        let size = count * MemoryLayout<Entry>.stride
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { StartFault.end(reserving: size, for: "a loop's metrics") }
        return memory.bindMemory(to: Entry.self, capacity: count)
    }

    deinit {
        munmap(index, (mask + 1) * MemoryLayout<Int32>.stride)
        munmap(series, capacity * MemoryLayout<Series>.stride)
        durationBounds.deallocate()
        byteBounds.deallocate()
    }

    @inline(__always)
    private func home(_ key: SeriesKey) -> Int {
        var hash = (key.who ^ (key.what &* 0x9E37_79B9_7F4A_7C15)) &* 0xBF58_476D_1CE4_E5B9
        hash ^= hash >> 29
        return Int(truncatingIfNeeded: hash) & mask
    }

    /// The place of a series, made if new; the overflow's when there is no room.
    mutating func place(of key: SeriesKey) -> Int {
        var probe = home(key)
        while true {
            let found = Int(index[probe]) &- 1
            if found < 0 { break }
            if series[found].key.who == key.who && series[found].key.what == key.what { return found }
            probe = (probe &+ 1) & mask
        }
        var place = Int(free)
        if place >= 0 {
            free = Int32(truncatingIfNeeded: Int64(bitPattern: series[place].closed))
        } else {
            if used == capacity { return Int(key.kind.rawValue) }
            place = used
            used += 1
        }
        index[probe] = Int32(place + 1)
        (series + place).initialize(to: Series(key: key))
        return place
    }

    /// How many series there are, the overflow's not counted.
    var count: Int {
        var count = used - 3
        var place = free
        while place >= 0 {
            count -= 1
            place = Int32(truncatingIfNeeded: Int64(bitPattern: series[Int(place)].closed))
        }
        return count
    }

    @inline(__always)
    mutating func countRequest(
        _ key: SeriesKey, nanoseconds: UInt64, requestBytes: Int, responseBytes: Int, now: UInt64 = 0
    ) -> Int {
        let place = place(of: key)
        let line = series + place
        line.pointee.count &+= 1
        line.pointee.touched = now
        line.pointee.duration.add(bucket(nanoseconds, durationBounds), nanoseconds)
        line.pointee.requestBytes.add(bucket(UInt64(requestBytes), byteBounds), UInt64(requestBytes))
        line.pointee.responseBytes.add(bucket(UInt64(responseBytes), byteBounds), UInt64(responseBytes))
        line.pointee.fine.add(nanoseconds)
        return place
    }

    /// What a record knows beyond that.
    @inline(__always)
    mutating func addDetail(_ place: Int, _ record: RecordPointer) {
        let line = series + place
        if record.pointee.kind == .grpc {
            line.pointee.requestMessages &+= UInt64(record.pointee.requestMessages)
            line.pointee.responseMessages &+= UInt64(record.pointee.responseMessages)
        }
        if record.pointee.isSampled {
            line.pointee.exemplar = Exemplar(
                traceHigh: record.pointee.traceHigh, traceLow: record.pointee.traceLow,
                value: record.pointee.ended &- record.pointee.started, moment: record.pointee.ended)
        }
    }

    // Each through a pointer of its own: the thread sanitizer's compiler cannot write through `series[…]` here.
    mutating func opened(_ key: SeriesKey, now: UInt64 = 0) -> Int32 {
        let found = place(of: key)
        let line = series + found
        line.pointee.count &+= 1
        line.pointee.touched = now
        return Int32(found)
    }
    mutating func closed(_ place: Int32, now: UInt64 = 0) {
        let line = series + Int(place)
        line.pointee.closed &+= 1
        line.pointee.touched = now
    }
    mutating func moved(_ place: Int32, sent: Int, received: Int) {
        let line = series + Int(place)
        line.pointee.sent &+= UInt64(sent)
        line.pointee.received &+= UInt64(received)
    }

    private func bucket(_ value: UInt64, _ bounds: UnsafeMutablePointer<UInt64>) -> Int {
        var place = 0
        while place < 19, value > bounds[place] { place &+= 1 }
        return place
    }

    // MARK: expiry

    /// Lets go of series nobody has added to for an hour, a few places a call. Open tunnels hold theirs.
    mutating func expire(now: UInt64) {
        let end = min(used, swept + Self.stride)
        for place in max(3, swept)..<max(3, end) {
            let line = series + place
            if line.pointee.key.who == .max || line.pointee.touched &+ Self.stale > now { continue }
            if line.pointee.key.kind == .tcp && line.pointee.count != line.pointee.closed { continue }
            forget(place)
        }
        swept = end == used ? 0 : end
    }

    /// Takes a series out of the index; those behind it in the same run of places move up.
    private mutating func forget(_ place: Int) {
        var hole = home(series[place].key)
        while Int(index[hole]) &- 1 != place { hole = (hole &+ 1) & mask }
        var next = (hole &+ 1) & mask
        while index[next] != 0 {
            let wanted = home(series[Int(index[next]) &- 1].key)
            // Its home must not lie behind the hole, or it would no longer be found.
            if (next &- wanted) & mask >= (next &- hole) & mask {
                index[hole] = index[next]
                hole = next
            }
            next = (next &+ 1) & mask
        }
        index[hole] = 0
        (series + place).initialize(to: Series(key: .overflow(.http)))
        series[place].closed = UInt64(bitPattern: Int64(free))
        free = Int32(place)
    }

    // MARK: reading

    /// Up to `most` places from `start` on, without those that are free, and where to go on; nil at the end.
    func copy(from start: Int, most: Int) -> (series: [Series], next: Int?) {
        let end = min(used, start + most)
        if start >= end { return ([], nil) }
        var found: [Series] = []
        found.reserveCapacity(end - start)
        for place in start..<end where series[place].key.who != .max || (place < 3 && series[place].count > 0) {
            found.append(series[place])
        }
        return (found, end == used ? nil : end)
    }
}
