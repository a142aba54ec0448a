import Glibc

/// Names and where each stands among them, in plain memory that is never changed: looking one up counts no references.
///
/// Every walk over an object looks up each of its members, so names are told apart by their length and their first and last
/// bytes before they are compared.
struct NameTable {
    private struct Name {
        let mark: UInt64
        let bytes: UnsafePointer<UInt8>
        let count: Int
    }
    private let names: UnsafePointer<Name>
    let count: Int
    /// Places in `names`, one more than they are; 0 where there is none. A power of two of them, half of them free.
    private let slots: UnsafePointer<UInt32>
    private let mask: Int
    private let block: UnsafeMutableRawPointer

    /// - Parameter given: each once. The table lives until `free()`.
    init(_ given: [String]) {
        count = given.count
        var size = 2
        while size < 2 * given.count { size *= 2 }
        mask = size - 1
        let namesSize = given.count * MemoryLayout<Name>.stride
        let slotsSize = size * MemoryLayout<UInt32>.stride
        let length = given.reduce(0) { $0 + $1.utf8.count }
        let block = UnsafeMutableRawPointer.allocate(
            byteCount: namesSize + slotsSize + length, alignment: MemoryLayout<Name>.alignment)
        let names = block.bindMemory(to: Name.self, capacity: given.count)
        let slots = (block + namesSize).bindMemory(to: UInt32.self, capacity: size)
        slots.initialize(repeating: 0, count: size)
        var text = (block + namesSize + slotsSize).bindMemory(to: UInt8.self, capacity: length)
        for (place, name) in given.enumerated() {
            let bytes = text
            for byte in name.utf8 {
                text.initialize(to: byte)
                text += 1
            }
            let mark = Self.mark(UnsafeRawPointer(bytes), name.utf8.count)
            (names + place).initialize(to: Name(mark: mark, bytes: bytes, count: name.utf8.count))
            var slot = Int(truncatingIfNeeded: mark >> 40) & mask
            while slots[slot] != 0 { slot = (slot + 1) & mask }
            slots[slot] = UInt32(place + 1)
        }
        self.names = UnsafePointer(names)
        self.slots = UnsafePointer(slots)
        self.block = block
    }

    func free() { block.deallocate() }

    subscript(place: Int) -> String {
        String(decoding: UnsafeBufferPointer(start: names[place].bytes, count: names[place].count), as: UTF8.self)
    }

    func place(of name: String) -> Int? {
        if count == 0 { return nil }
        var name = name
        return name.withUTF8 { text in
            guard let start = text.baseAddress else { return nil }
            let mark = Self.mark(UnsafeRawPointer(start), text.count)
            var slot = Int(truncatingIfNeeded: mark >> 40) & mask
            while slots[slot] != 0 {
                let place = Int(slots[slot]) - 1
                let found = names + place
                if found.pointee.mark == mark, found.pointee.count == text.count,
                    memcmp(found.pointee.bytes, start, text.count) == 0
                {
                    return place
                }
                slot = (slot + 1) & mask
            }
            return nil
        }
    }

    /// A number that few names share.
    private static func mark(_ raw: UnsafeRawPointer, _ count: Int) -> UInt64 {
        var first: UInt64 = 0
        var last: UInt64 = 0
        if count >= 8 {
            first = raw.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
            last = raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
        } else if count >= 4 {
            first = UInt64(raw.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
            last = UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
        } else {
            for place in 0..<count { first = first << 8 | UInt64(raw.load(fromByteOffset: place, as: UInt8.self)) }
        }
        let mixed = (first ^ (last << 29 | last >> 35) ^ UInt64(count) << 56) &* 0x9E37_79B9_7F4A_7C15
        return mixed ^ mixed >> 32
    }
}
