import Glibc

/// Writes the header blocks of one connection, in the order they are sent, since they build on each other (RFC 7541).
///
///     var at = 0
///     encoder.begin(out, &at)             // once a block
///     encoder.append(name, nameLength, value, valueLength, out, &at)   // once a field; pseudo-fields first
///
/// A block that has been begun must be sent whole: the table already counts on it. Names must be in lower case (`lower`).
/// Memory: the table (twice its size and an index) at the first field that is put into it. No allocation after that.
package struct HeaderBlockEncoder: ~Copyable {
    /// Of the table we keep, whatever the peer allows.
    package static let largestTable = 4096
    /// What size updates at the start of a block may take.
    package static let mostBytesOfBegin = 8

    /// Bytes one field may take at most. The caller makes sure of the room.
    @inline(__always)
    package static func mostBytes(_ nameLength: Int, _ valueLength: Int) -> Int { nameLength &+ valueLength &+ 18 }

    /// Cookies up to this length could be guessed byte by byte through a shared table (§7.1).
    private static let shortSecret = 20
    private static let buckets: UInt32 = 128
    /// Steps along a chain of the index.
    private static let longestChain = 8

    private struct Link {
        /// The entry before this one in the same bucket; meaningless when it has left the table.
        var sameField: UInt32
        var sameName: UInt32
        var fieldHash: UInt32
        var nameHash: UInt32
    }

    private var table: FieldTable
    private let fixed = StaticTable.shared
    private let huffman = Huffman.shared
    private let usesHuffman: Bool
    /// Newest entry of each bucket, first by whole fields, then by names; then what has been seen once.
    private var index: UnsafeMutablePointer<UInt32>?
    private var links: UnsafeMutablePointer<Link>?
    private var linkMask: UInt32 = 0
    /// Size updates to be written; -1 for none.
    private var leastSize = -1
    private var newSize = -1

    /// - Parameters:
    ///   - tableSize: of the table we keep; less than 4,096 is told to the peer in the first block.
    ///   - usesHuffman: whether strings are coded where that makes them shorter.
    package init(tableSize: Int = HeaderBlockEncoder.largestTable, usesHuffman: Bool = true) {
        table = FieldTable(most: min(tableSize, Self.largestTable))
        self.usesHuffman = usesHuffman
        if tableSize < 4096 {
            leastSize = tableSize
            newSize = tableSize
        }
    }

    deinit {
        index?.deallocate()
        links?.deallocate()
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE: the next block says what we make of it (§4.2).
    package mutating func setPeerLimit(_ size: Int) {
        let wanted = min(size, table.most)
        if wanted == table.capacity { return }
        leastSize = leastSize < 0 ? wanted : min(leastSize, wanted)
        newSize = wanted
        table.setCapacity(wanted)
    }

    /// Starts a block; writes up to `mostBytesOfBegin` bytes.
    @inline(__always)
    package mutating func begin(_ out: Bytes, _ at: inout Int) {
        if newSize < 0 { return }
        if leastSize < newSize { integer(leastSize, 5, 0x20, out, &at) }
        integer(newSize, 5, 0x20, out, &at)
        leastSize = -1
        newSize = -1
    }

    /// Makes a name fit for HTTP/2 (RFC 9113 §8.2.1).
    @inline(__always)
    package static func lower(_ name: Bytes, _ count: Int) {
        var place = 0
        while place < count {
            let byte = name[place]
            if byte &- 65 < 26 { name[place] = byte | 32 }
            place &+= 1
        }
    }

    /// Writes a field; at most `mostBytes` bytes.
    ///
    /// - Parameter isSecret: no hop may put it into a table, as its sender said (`FieldPlace.neverIndexed`).
    package mutating func append(
        _ name: UnsafePointer<UInt8>, _ nameLength: Int, _ value: UnsafePointer<UInt8>, _ valueLength: Int,
        isSecret: Bool = false, _ out: Bytes, _ at: inout Int
    ) {
        let nameHash = fieldHash(name, nameLength)
        let known = fixed.find(name, nameLength, hash: nameHash)
        var indexing = Indexing.atOnce
        var first = 0
        if let known {
            indexing = known.pointee.indexing
            first = Int(known.pointee.first)
            if indexing == .neverWhenShort { indexing = valueLength < Self.shortSecret ? .never : .atOnce }
            if !isSecret && first != 0 {
                var place = first
                let last = first &+ Int(known.pointee.places)
                while place < last {
                    let entry = fixed.entries[place]
                    if Int(entry.valueLength) == valueLength && sameBytes(entry.value, value, valueLength) {
                        integer(place, 7, 0x80, out, &at)
                        return
                    }
                    place &+= 1
                }
            }
        }
        if isSecret { indexing = .never }
        if indexing == .never || indexing == .without {
            integer(first, 4, indexing == .never ? 0x10 : 0, out, &at)
            if first == 0 { text(name, nameLength, out, &at) }
            text(value, valueLength, out, &at)
            return
        }
        let hash = fieldHash(value, valueLength) ^ nameHash &* 0x9E37_79B1
        if let place = find(name, nameLength, value, valueLength, hash) {
            integer(place, 7, 0x80, out, &at)
            return
        }
        if first == 0 { first = findName(name, nameLength, nameHash) }
        // Names we do not know may differ with each message: they go into the table when they are met a second time.
        let isWorth =
            nameLength &+ valueLength &+ 32 <= table.capacity / 2
            && (known != nil || first > StaticTable.count || hasBeenSeen(hash))
        integer(first, isWorth ? 6 : 4, isWorth ? 0x40 : 0, out, &at)
        if first == 0 { text(name, nameLength, out, &at) }
        text(value, valueLength, out, &at)
        if isWorth { remember(name, nameLength, value, valueLength, nameHash, hash) }
    }

    // MARK: the index

    private mutating func makeIndex() -> UnsafeMutablePointer<UInt32> {
        if let index { return index }
        var places = 4
        while places < table.most / 32 + 1 { places *= 2 }
        linkMask = UInt32(places - 1)
        links = .allocate(capacity: places)
        let made = UnsafeMutablePointer<UInt32>.allocate(capacity: 3 * Int(Self.buckets))
        // An entry that is never there while the table is empty, and is checked against its bytes when it is.
        made.initialize(repeating: 0, count: 3 * Int(Self.buckets))
        index = made
        return made
    }

    /// Notes a field; true when it was the last of its bucket to be noted.
    @inline(__always)
    private mutating func hasBeenSeen(_ hash: UInt32) -> Bool {
        let seen = makeIndex() + Int(2 &* Self.buckets &+ hash % Self.buckets)
        if seen.pointee == hash { return true }
        seen.pointee = hash
        return false
    }

    @inline(__always)
    private func find(
        _ name: UnsafePointer<UInt8>, _ nameLength: Int, _ value: UnsafePointer<UInt8>, _ valueLength: Int,
        _ hash: UInt32
    ) -> Int? {
        guard let index, let links else { return nil }
        var number = index[Int(hash % Self.buckets)]
        var steps = 0
        while steps < Self.longestChain, let (entry, bytes) = table.entry(number) {
            let link = links[Int(number & linkMask)]
            if link.fieldHash == hash && Int(entry.nameLength) == nameLength && Int(entry.valueLength) == valueLength
                && sameBytes(bytes, name, nameLength) && sameBytes(bytes + nameLength, value, valueLength)
            {
                return place(number)
            }
            // Chains lead to ever older entries.
            if link.sameField &- table.oldest >= number &- table.oldest { return nil }
            number = link.sameField
            steps &+= 1
        }
        return nil
    }

    /// 0 when no field of this name is in the table.
    @inline(__always)
    private func findName(_ name: UnsafePointer<UInt8>, _ nameLength: Int, _ hash: UInt32) -> Int {
        guard let index, let links else { return 0 }
        var number = index[Int(Self.buckets &+ hash % Self.buckets)]
        var steps = 0
        while steps < Self.longestChain, let (entry, bytes) = table.entry(number) {
            let link = links[Int(number & linkMask)]
            if link.nameHash == hash && Int(entry.nameLength) == nameLength && sameBytes(bytes, name, nameLength) {
                return place(number)
            }
            if link.sameName &- table.oldest >= number &- table.oldest { return 0 }
            number = link.sameName
            steps &+= 1
        }
        return 0
    }

    /// The index of an entry in the block being written: the newest comes right after the static table (§2.3.3).
    @inline(__always)
    private func place(_ number: UInt32) -> Int { Int(table.next &- number) &+ StaticTable.count }

    private mutating func remember(
        _ name: UnsafePointer<UInt8>, _ nameLength: Int, _ value: UnsafePointer<UInt8>, _ valueLength: Int,
        _ nameHash: UInt32, _ hash: UInt32
    ) {
        let number = table.next
        guard table.insert(name, nameLength, value, valueLength) else { return }
        let heads = makeIndex()
        guard let links else { return }
        let byField = heads + Int(hash % Self.buckets)
        let byName = heads + Int(Self.buckets &+ nameHash % Self.buckets)
        links[Int(number & linkMask)] = Link(
            sameField: byField.pointee, sameName: byName.pointee, fieldHash: hash, nameHash: nameHash)
        byField.pointee = number
        byName.pointee = number
    }

    // MARK: primitives

    @inline(__always)
    private func integer(_ value: Int, _ prefix: Int, _ bits: UInt8, _ out: Bytes, _ at: inout Int) {
        let mask = (1 << prefix) &- 1
        if value < mask {
            out[at] = bits | UInt8(truncatingIfNeeded: value)
            at &+= 1
            return
        }
        out[at] = bits | UInt8(truncatingIfNeeded: mask)
        at &+= 1
        var rest = value &- mask
        while rest >= 128 {
            out[at] = UInt8(truncatingIfNeeded: rest) | 0x80
            at &+= 1
            rest >>= 7
        }
        out[at] = UInt8(truncatingIfNeeded: rest)
        at &+= 1
    }

    @inline(__always)
    private func text(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ out: Bytes, _ at: inout Int) {
        if usesHuffman {
            let short = huffman.length(bytes, count)
            if short < count {
                integer(short, 7, 0x80, out, &at)
                huffman.encode(bytes, count, into: out + at)
                at &+= short
                return
            }
        }
        integer(count, 7, 0, out, &at)
        memcpy(out + at, bytes, count)
        at &+= count
    }
}
