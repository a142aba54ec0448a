/// What a series counts: reporter, other workload, service, outcome, packed for comparison.
struct SeriesKey: Hashable, Sendable {
    enum Kind: UInt8, Sendable { case http, tcp, grpc }
    /// service << 32 | peer
    var who: UInt64
    /// kind << 40 | reporter << 32 | security << 24 | flag << 16 | status
    var what: UInt64

    init(
        kind: Kind, isDestination: Bool, peer: UInt32, service: UInt32, security: Security, flag: ResponseFlag,
        status: UInt16
    ) {
        who = UInt64(service) << 32 | UInt64(peer)
        let outcome = UInt64(security.rawValue) << 24 | UInt64(flag.rawValue) << 16 | UInt64(status)
        what = UInt64(kind.rawValue) << 40 | (isDestination ? 1 << 32 : 0) | outcome
    }

    var peer: UInt32 { UInt32(truncatingIfNeeded: who) }
    var service: UInt32 { UInt32(truncatingIfNeeded: who >> 32) }
    var kind: Kind { what >> 40 == 0 ? .http : .tcp }
    var isDestination: Bool { what >> 32 & 1 == 1 }
    var security: Security { Security(rawValue: UInt8(truncatingIfNeeded: what >> 24)) ?? .none }
    var flag: ResponseFlag { ResponseFlag(rawValue: UInt8(truncatingIfNeeded: what >> 16)) ?? .none }
    var status: UInt16 { UInt16(truncatingIfNeeded: what) }
}

/// Counts in Envoy's default buckets; the last count is everything above.
struct Histogram: Sendable {
    /// Upper bounds: milliseconds of duration, or bytes.
    static let bounds: [Double] = [
        0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300_000, 600_000, 1_800_000,
        3_600_000,
    ]
    var counts: InlineArray<20, UInt64> = .init(repeating: 0)
    /// In the finest unit: nanoseconds or bytes.
    var sum: UInt64 = 0

    @inline(__always) mutating func add(_ place: Int, _ value: UInt64) {
        counts[place] &+= 1
        sum &+= value
    }

    mutating func add(_ other: Histogram) {
        for place in 0..<20 { counts[place] &+= other.counts[place] }
        sum &+= other.sum
    }
}

/// One line of metrics. For TCP, `count` is connections opened.
struct Series: Sendable {
    var key: SeriesKey
    var count: UInt64 = 0
    var closed: UInt64 = 0
    var sent: UInt64 = 0
    var received: UInt64 = 0
    var duration = Histogram()
    var requestBytes = Histogram()
    var responseBytes = Histogram()
}

/// A loop's own counters: plain integers found by hashing, no lock and no string.
struct SeriesTable: ~Copyable {
    private static let capacity = 16384
    private static let places = 32768
    private let index: UnsafeMutablePointer<Int32>
    private let series: UnsafeMutablePointer<Series>
    private var used = 0
    private let durationBounds: UnsafeMutablePointer<UInt64>
    private let byteBounds: UnsafeMutablePointer<UInt64>

    init() {
        index = .allocate(capacity: Self.places)
        index.initialize(repeating: -1, count: Self.places)
        series = .allocate(capacity: Self.capacity)
        durationBounds = .allocate(capacity: Histogram.bounds.count)
        byteBounds = .allocate(capacity: Histogram.bounds.count)
        for (place, bound) in Histogram.bounds.enumerated() {
            durationBounds[place] = UInt64(bound * 1_000_000)
            byteBounds[place] = UInt64(bound)
        }
    }

    deinit {
        index.deallocate()
        series.deallocate()
        durationBounds.deallocate()
        byteBounds.deallocate()
    }

    /// The place of a series, made if new. When the table is full the last place takes the rest.
    mutating func place(of key: SeriesKey) -> Int {
        var hash = (key.who ^ (key.what &* 0x9E37_79B9_7F4A_7C15)) &* 0xBF58_476D_1CE4_E5B9
        hash ^= hash >> 29
        var probe = Int(truncatingIfNeeded: hash) & (Self.places - 1)
        while true {
            let found = Int(index[probe])
            if found < 0 { break }
            if series[found].key.who == key.who && series[found].key.what == key.what { return found }
            probe = (probe &+ 1) & (Self.places - 1)
        }
        if used == Self.capacity { return used - 1 }
        index[probe] = Int32(used)
        (series + used).initialize(to: Series(key: key))
        used += 1
        return used - 1
    }

    mutating func countRequest(_ key: SeriesKey, nanoseconds: UInt64, requestBytes: Int, responseBytes: Int) {
        let line = series + place(of: key)
        line.pointee.count &+= 1
        line.pointee.duration.add(bucket(nanoseconds, durationBounds), nanoseconds)
        line.pointee.requestBytes.add(bucket(UInt64(requestBytes), byteBounds), UInt64(requestBytes))
        line.pointee.responseBytes.add(bucket(UInt64(responseBytes), byteBounds), UInt64(responseBytes))
    }

    mutating func opened(_ key: SeriesKey) -> Int32 {
        let found = place(of: key)
        series[found].count &+= 1
        return Int32(found)
    }
    mutating func closed(_ place: Int32) { series[Int(place)].closed &+= 1 }
    mutating func moved(_ place: Int32, sent: Int, received: Int) {
        series[Int(place)].sent &+= UInt64(sent)
        series[Int(place)].received &+= UInt64(received)
    }

    private func bucket(_ value: UInt64, _ bounds: UnsafeMutablePointer<UInt64>) -> Int {
        var place = 0
        while place < 19, value > bounds[place] { place &+= 1 }
        return place
    }

    func copy() -> [Series] { Array(UnsafeBufferPointer(start: series, count: used)) }
}
