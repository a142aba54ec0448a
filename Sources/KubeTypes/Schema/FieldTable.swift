/// The members a schema names. Every walk over an object looks up each of its members here, so it is made for that: names are
/// told apart by their length and their first and last bytes before they are compared.
package struct FieldTable: Sendable {
    private struct Field: Sendable {
        let key: String
        let value: SchemaLink
        let mark: UInt64
    }
    private let fields: [Field]
    /// Places in `fields`, one more than they are; 0 where there is none. A power of two of them, half of them free.
    private let slots: [UInt32]

    init(_ links: [String: SchemaLink]) {
        fields = links.sorted { $0.key < $1.key }.map { Field(key: $0, value: $1, mark: Self.mark($0)) }
        if fields.isEmpty {
            slots = []
            return
        }
        var size = 2
        while size < 2 * fields.count { size *= 2 }
        var slots = [UInt32](repeating: 0, count: size)
        for (place, field) in fields.enumerated() {
            var slot = Self.slot(field.mark, size)
            while slots[slot] != 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = UInt32(place + 1)
        }
        self.slots = slots
    }

    package var isEmpty: Bool { fields.isEmpty }
    package var keys: [String] { fields.map(\.key) }
    package var values: [SchemaLink] { fields.map(\.value) }

    package subscript(name: String) -> SchemaLink? {
        if fields.isEmpty { return nil }
        let mark = Self.mark(name)
        return slots.withUnsafeBufferPointer { slots in
            fields.withUnsafeBufferPointer { fields in
                var slot = Self.slot(mark, slots.count)
                while slots[slot] != 0 {
                    let place = Int(slots[slot]) - 1
                    if fields[place].mark == mark, fields[place].key == name { return fields[place].value }
                    slot = (slot + 1) & (slots.count - 1)
                }
                return nil
            }
        }
    }

    private static func slot(_ mark: UInt64, _ size: Int) -> Int { Int(truncatingIfNeeded: mark >> 40) & (size - 1) }

    /// A number that few names share.
    private static func mark(_ name: String) -> UInt64 {
        var name = name
        return name.withUTF8 { bytes in
            let count = bytes.count
            var first: UInt64 = 0
            var last: UInt64 = 0
            let raw = UnsafeRawBufferPointer(bytes)
            if count >= 8 {
                first = raw.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
                last = raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
            } else if count >= 4 {
                first = UInt64(raw.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
                last = UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
            } else {
                for byte in bytes { first = first << 8 | UInt64(byte) }
            }
            let mixed = (first ^ (last << 29 | last >> 35) ^ UInt64(count) << 56) &* 0x9E37_79B9_7F4A_7C15
            return mixed ^ mixed >> 32
        }
    }
}

extension FieldTable: Sequence {
    package typealias Element = (key: String, value: SchemaLink)
    package func makeIterator() -> IndexingIterator<[Element]> {
        fields.map { (key: $0.key, value: $0.value) }.makeIterator()
    }
}
