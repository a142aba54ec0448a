/// Finds a session's streams by their numbers: open addressing, at most half full.
///
/// Streams of one side have numbers two apart, so half the number is a hash with hardly a collision.
struct StreamMap: ~Copyable {
    private var ids: UnsafeMutablePointer<UInt32>
    private var values: UnsafeMutablePointer<Int32>
    private var mask: Int
    private(set) var count = 0

    init(capacity: Int = 16) {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        ids = .allocate(capacity: size)
        ids.initialize(repeating: 0, count: size)
        values = .allocate(capacity: size)
        values.initialize(repeating: -1, count: size)
        mask = size - 1
    }

    deinit {
        ids.deallocate()
        values.deallocate()
    }

    @inline(__always) private func home(_ id: UInt32) -> Int { Int(id >> 1) & mask }

    /// The value of a number, which is not 0; -1 when there is none.
    @inline(__always)
    func find(_ id: UInt32) -> Int32 {
        var place = home(id)
        while ids[place] != 0 {
            if ids[place] == id { return values[place] }
            place = (place &+ 1) & mask
        }
        return -1
    }

    mutating func insert(_ id: UInt32, _ value: Int32) {
        if (count + 1) * 2 > mask + 1 { grow() }
        var place = home(id)
        while ids[place] != 0, ids[place] != id { place = (place &+ 1) & mask }
        if ids[place] == 0 { count += 1 }
        ids[place] = id
        values[place] = value
    }

    /// Takes a number out, and moves those behind it up, so that none becomes unreachable.
    mutating func remove(_ id: UInt32) {
        var place = home(id)
        while ids[place] != id {
            if ids[place] == 0 { return }
            place = (place &+ 1) & mask
        }
        count -= 1
        var hole = place
        while true {
            place = (place &+ 1) & mask
            if ids[place] == 0 { break }
            let distance = (place &- home(ids[place])) & mask
            if distance < (place &- hole) & mask { continue }
            ids[hole] = ids[place]
            values[hole] = values[place]
            hole = place
        }
        ids[hole] = 0
        values[hole] = -1
    }

    private mutating func grow() {
        var bigger = StreamMap(capacity: (mask + 1))
        forEach { id, value in bigger.insert(id, value) }
        swap(&ids, &bigger.ids)
        swap(&values, &bigger.values)
        swap(&mask, &bigger.mask)
    }

    func forEach(_ body: (UInt32, Int32) -> Void) {
        for place in 0...mask where ids[place] != 0 { body(ids[place], values[place]) }
    }
}
