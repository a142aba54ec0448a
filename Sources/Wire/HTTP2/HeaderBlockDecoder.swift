import Glibc

/// Why a header block cannot be read. Each ends the connection with COMPRESSION_ERROR (RFC 9113 §4.3).
package enum HPACKFault: Error, Sendable, Hashable {
    case truncated, badIndex, badInteger, badHuffman, badTableSize
}

/// One decoded field, as places in the bytes it was decoded into.
package struct FieldPlace {
    package var nameOffset: UInt32
    package var nameLength: UInt32
    package var valueOffset: UInt32
    package var valueLength: UInt32
    /// No hop may put it into a table (RFC 7541 §6.2.3): to be said again when it is sent on.
    package var neverIndexed: Bool
}

/// Reads the header blocks of one connection, all of them and in order, since they build on each other (RFC 7541).
///
/// A block is HEADERS with its CONTINUATIONs, joined, without padding and priority. After `decode`, `fields[0..<fieldCount]` are places
/// in the caller's `out`, in the order sent; names are as the peer wrote them, so that the caller checks their case and characters.
/// Memory: `fields` at once, the table (twice its size) at the first field that is put into it. No allocation after that.
package struct HeaderBlockDecoder: ~Copyable {
    package enum Outcome: Equatable {
        case complete
        /// More than the limits: the block is read to its end, to keep the table as the peer has it, but its fields are not given. The
        /// stream may be refused (431) and the connection stays.
        case tooLarge
    }

    package let fields: UnsafeMutablePointer<FieldPlace>
    package private(set) var fieldCount = 0
    /// Bytes of `out` in use.
    package private(set) var byteCount = 0

    private let mostFields: Int
    private let longestList: Int
    private var table: FieldTable
    /// What our SETTINGS_HEADER_TABLE_SIZE allows.
    private var limit: Int
    private let fixed = StaticTable.shared
    private let huffman = Huffman.shared

    private var block: UnsafePointer<UInt8>
    private var place = 0
    private var end = 0
    private var out: Bytes
    private var room = 0
    private var listSize = 0
    private var isTooLarge = false

    /// - Parameters:
    ///   - tableSize: our SETTINGS_HEADER_TABLE_SIZE; the peer starts at 4,096 and may use it only up to this.
    ///   - longestList: our SETTINGS_MAX_HEADER_LIST_SIZE: names, values, and 32 for each field (RFC 9113 §6.5.2).
    ///   - mostFields: in one block.
    package init(tableSize: Int = 4096, longestList: Int = 65536, mostFields: Int = 160) {
        table = FieldTable(most: tableSize)
        limit = tableSize
        self.longestList = longestList
        self.mostFields = mostFields
        fields = .allocate(capacity: mostFields)
        out = UnsafeMutableRawPointer(fields).assumingMemoryBound(to: UInt8.self)
        block = UnsafePointer(out)
    }

    deinit { fields.deallocate() }

    /// Our SETTINGS_HEADER_TABLE_SIZE has changed, and the peer has acknowledged it. Where it is now less than the table, the next block
    /// must begin with an update (§4.2).
    package mutating func setLimit(_ size: Int) {
        table.raise(most: size)
        limit = size
    }

    /// Reads one block.
    ///
    /// - Parameters:
    ///   - out: where names and values go; at least as long as our table and, not to refuse what the limits allow, as `longestList`.
    package mutating func decode(_ bytes: UnsafePointer<UInt8>, _ count: Int, into out: Bytes, _ capacity: Int)
        throws(HPACKFault) -> Outcome
    {
        precondition(capacity >= table.most, "decoded fields pass through the output on their way to the table")
        block = bytes
        place = 0
        end = count
        self.out = out
        room = capacity
        fieldCount = 0
        byteCount = 0
        listSize = 0
        isTooLarge = false
        try sizeUpdates()
        while place < end {
            let byte = block[place]
            if byte & 0x80 != 0 {
                try indexed(try integer(7))
            } else if byte & 0xC0 == 0x40 {
                try literal(6, isAdded: true, isSecret: false)
            } else if byte & 0xE0 == 0x20 {
                throw .badTableSize
            } else {
                try literal(4, isAdded: false, isSecret: byte & 0x10 != 0)
            }
        }
        if isTooLarge {
            fieldCount = 0
            byteCount = 0
            return .tooLarge
        }
        return .complete
    }

    /// §4.2: at the start of a block only, at most two: the least size there was, and the last.
    private mutating func sizeUpdates() throws(HPACKFault) {
        var updates = 0
        while place < end, block[place] & 0xE0 == 0x20 {
            let wanted = try integer(5)
            updates &+= 1
            if wanted > limit || updates > 2 { throw .badTableSize }
            table.setCapacity(wanted)
        }
        if table.capacity > limit { throw .badTableSize }
    }

    @inline(__always)
    private mutating func indexed(_ index: Int) throws(HPACKFault) {
        if index == 0 { throw .badIndex }
        if index <= StaticTable.count {
            let entry = fixed.entries[index]
            let length = Int(entry.nameLength) &+ Int(entry.valueLength)
            if !admits(length) { return }
            memcpy(out + byteCount, entry.name, Int(entry.nameLength))
            memcpy(out + byteCount + Int(entry.nameLength), entry.value, Int(entry.valueLength))
            add(Int(entry.nameLength), Int(entry.valueLength), isSecret: false)
            return
        }
        let (entry, bytes) = try dynamic(index)
        let length = entry.size &- 32
        if !admits(length) { return }
        memcpy(out + byteCount, bytes, length)
        add(Int(entry.nameLength), Int(entry.valueLength), isSecret: false)
    }

    @inline(__always)
    private func dynamic(_ index: Int) throws(HPACKFault) -> (FieldTable.Entry, UnsafePointer<UInt8>) {
        let back = index &- StaticTable.count
        if back > table.count { throw .badIndex }
        guard let found = table.entry(table.next &- UInt32(truncatingIfNeeded: back)) else { throw .badIndex }
        return found
    }

    /// Whether a field of this many bytes still fits; else none does any more.
    @inline(__always)
    private mutating func admits(_ length: Int) -> Bool {
        if isTooLarge { return false }
        if fieldCount == mostFields || listSize &+ length &+ 32 > longestList || length > room &- byteCount {
            isTooLarge = true
            byteCount = 0
            return false
        }
        return true
    }

    /// Counts a field whose bytes are at the end of `out`.
    @inline(__always)
    private mutating func add(_ nameLength: Int, _ valueLength: Int, isSecret: Bool) {
        fields[fieldCount] = FieldPlace(
            nameOffset: UInt32(truncatingIfNeeded: byteCount), nameLength: UInt32(truncatingIfNeeded: nameLength),
            valueOffset: UInt32(truncatingIfNeeded: byteCount &+ nameLength),
            valueLength: UInt32(truncatingIfNeeded: valueLength), neverIndexed: isSecret)
        fieldCount &+= 1
        byteCount &+= nameLength &+ valueLength
        listSize &+= nameLength &+ valueLength &+ 32
    }

    /// §6.2. Name and value are read to the end of `out`; once the block is too large, to its start, only for the table.
    private mutating func literal(_ prefix: Int, isAdded: Bool, isSecret: Bool) throws(HPACKFault) {
        let start = place
        while true {
            place = start
            let index = try integer(prefix)
            guard let nameLength = try index == 0 ? text(at: byteCount) : name(index) else {
                if retry() { continue }
                // Longer than `out`, so longer than the table.
                if index == 0 { try skipText() }
                try skipText()
                if isAdded { table.clear() }
                return
            }
            guard let valueLength = try text(at: byteCount &+ nameLength) else {
                if retry() { continue }
                try skipText()
                if isAdded { table.clear() }
                return
            }
            let name = out + byteCount
            if admits(nameLength &+ valueLength) { add(nameLength, valueLength, isSecret: isSecret) }
            if isAdded { table.insert(name, nameLength, name + nameLength, valueLength) }
            return
        }
    }

    /// There was no room for a field: it is read once more, with the whole of `out` for itself.
    private mutating func retry() -> Bool {
        if isTooLarge { return false }
        isTooLarge = true
        byteCount = 0
        return true
    }

    /// Copies the name of an entry to the end of `out`; nil when there is no room for it.
    private mutating func name(_ index: Int) throws(HPACKFault) -> Int? {
        if index <= StaticTable.count {
            let entry = fixed.entries[index]
            if Int(entry.nameLength) > room &- byteCount { return nil }
            memcpy(out + byteCount, entry.name, Int(entry.nameLength))
            return Int(entry.nameLength)
        }
        let (entry, bytes) = try dynamic(index)
        if Int(entry.nameLength) > room &- byteCount { return nil }
        memcpy(out + byteCount, bytes, Int(entry.nameLength))
        return Int(entry.nameLength)
    }

    /// §5.2. Writes a string at `at` of `out`; nil, without having moved on, when there is no room for it.
    private mutating func text(at: Int) throws(HPACKFault) -> Int? {
        let start = place
        guard place < end else { throw .truncated }
        let isHuffman = block[place] & 0x80 != 0
        let count = try integer(7)
        guard count <= end &- place else { throw .truncated }
        if !isHuffman {
            if count > room &- at {
                place = start
                return nil
            }
            memcpy(out + at, block + place, count)
            place &+= count
            return count
        }
        switch huffman.decode(block + place, count, into: out + at, room &- at) {
        case .bad: throw .badHuffman
        case .noRoom:
            place = start
            return nil
        case .bytes(let length):
            place &+= count
            return length
        }
    }

    private mutating func skipText() throws(HPACKFault) {
        guard place < end else { throw .truncated }
        let count = try integer(7)
        guard count <= end &- place else { throw .truncated }
        place &+= count
    }

    /// §5.1, up to 2^35.
    @inline(__always)
    private mutating func integer(_ prefix: Int) throws(HPACKFault) -> Int {
        guard place < end else { throw .truncated }
        let mask = (1 << prefix) &- 1
        var value = Int(block[place]) & mask
        place &+= 1
        if value < mask { return value }
        var shift = 0
        while true {
            guard place < end else { throw .truncated }
            let byte = block[place]
            place &+= 1
            if shift > 28 { throw .badInteger }
            value &+= Int(byte & 0x7F) << shift
            shift &+= 7
            if byte & 0x80 == 0 { return value }
        }
    }
}
