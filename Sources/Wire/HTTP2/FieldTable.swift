import Glibc

/// The dynamic table of RFC 7541 §2.3.2: fields by the order they came in, the oldest leaving first.
///
/// Names and values lie one after the other in a single stretch of memory, twice as long as the table may be, that is moved to its start
/// when its end is reached. Memory is taken at the first insertion, so a connection that uses no table costs none.
struct FieldTable: ~Copyable {
    struct Entry {
        var offset: UInt32
        var nameLength: UInt32
        var valueLength: UInt32

        /// RFC 7541 §4.1.
        @inline(__always) var size: Int { Int(nameLength) &+ Int(valueLength) &+ 32 }
    }

    /// The greatest capacity it may be given.
    private(set) var most: Int
    /// The size in force (§4.2).
    private(set) var capacity: Int
    private(set) var size = 0
    /// Entries are numbered in the order they came, modulo 2^32.
    private(set) var oldest: UInt32 = 0
    private(set) var next: UInt32 = 0

    private var bytes: Bytes?
    private var start = 0
    private var end = 0
    private var entries: UnsafeMutablePointer<Entry>?
    private var mask: UInt32 = 0

    init(most: Int) {
        self.most = most
        // Before any update it is what both sides start with (RFC 9113 §6.5.2).
        capacity = min(most, 4096)
    }

    deinit {
        bytes?.deallocate()
        entries?.deallocate()
    }

    @inline(__always) var count: Int { Int(next &- oldest) }

    /// Whether the entry of this number is still there.
    @inline(__always) func holds(_ number: UInt32) -> Bool { number &- oldest < next &- oldest }

    /// The entry of a number that `holds`.
    @inline(__always) func entry(_ number: UInt32) -> (Entry, UnsafePointer<UInt8>)? {
        guard let entries, let bytes, holds(number) else { return nil }
        let entry = entries[Int(number & mask)]
        return (entry, UnsafePointer(bytes + Int(entry.offset)))
    }

    mutating func setCapacity(_ wanted: Int) {
        capacity = min(wanted, most)
        evict(untilRoomFor: 0)
    }

    /// Allows capacities up to `wanted` from now on.
    mutating func raise(most wanted: Int) {
        if wanted <= most { return }
        most = wanted
        guard let oldBytes = bytes, let oldEntries = entries else { return }
        let oldMask = mask
        allocate()
        guard let bytes, let entries else { return }
        memcpy(bytes, oldBytes + start, end - start)
        var number = oldest
        while number != next {
            entries[Int(number & mask)] = oldEntries[Int(number & oldMask)]
            entries[Int(number & mask)].offset -= UInt32(start)
            number &+= 1
        }
        end -= start
        start = 0
        oldBytes.deallocate()
        oldEntries.deallocate()
    }

    private mutating func allocate() {
        var places = 4
        while places < most / 32 + 1 { places *= 2 }
        mask = UInt32(places - 1)
        entries = .allocate(capacity: places)
        bytes = .allocate(capacity: 2 * most)
    }

    /// Adds a field, making room first. One larger than the table empties it (§4.4).
    ///
    /// - Parameters: pointers outside the table.
    /// - Returns: whether it is in.
    @discardableResult
    mutating func insert(
        _ name: UnsafePointer<UInt8>, _ nameLength: Int, _ value: UnsafePointer<UInt8>, _ valueLength: Int
    ) -> Bool {
        let length = nameLength &+ valueLength
        evict(untilRoomFor: length &+ 32)
        if length &+ 32 > capacity { return false }
        if bytes == nil { allocate() }
        guard let bytes, let entries else { return false }
        if end &+ length > 2 &* most {
            memmove(bytes, bytes + start, end &- start)
            var number = oldest
            while number != next {
                entries[Int(number & mask)].offset &-= UInt32(truncatingIfNeeded: start)
                number &+= 1
            }
            end &-= start
            start = 0
        }
        memcpy(bytes + end, name, nameLength)
        memcpy(bytes + end + nameLength, value, valueLength)
        entries[Int(next & mask)] = Entry(
            offset: UInt32(truncatingIfNeeded: end), nameLength: UInt32(truncatingIfNeeded: nameLength),
            valueLength: UInt32(truncatingIfNeeded: valueLength))
        end &+= length
        size &+= length &+ 32
        next &+= 1
        return true
    }

    /// Empties the table, as a field larger than it does (§4.4).
    mutating func clear() { evict(untilRoomFor: capacity &+ 1) }

    private mutating func evict(untilRoomFor wanted: Int) {
        while size &+ wanted > capacity, oldest != next {
            guard let entries else { return }
            let entry = entries[Int(oldest & mask)]
            size &-= entry.size
            oldest &+= 1
            start = Int(entry.offset) &+ entry.size &- 32
        }
        if oldest == next {
            start = 0
            end = 0
        }
    }
}
