import Wire

/// A field in strings, for tests.
struct Field: Hashable, CustomStringConvertible {
    var name: [UInt8]
    var value: [UInt8]
    var isSecret = false

    init(_ name: String, _ value: String) {
        self.name = Array(name.utf8)
        self.value = Array(value.utf8)
    }
    init(name: [UInt8], value: [UInt8], isSecret: Bool = false) {
        self.name = name
        self.value = value
        self.isSecret = isSecret
    }

    var text: String { String(decoding: value, as: UTF8.self) }
    var description: String { "\(String(decoding: name, as: UTF8.self)): \(String(decoding: value, as: UTF8.self))" }
    static func == (left: Field, right: Field) -> Bool { left.name == right.name && left.value == right.value }
    func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

/// The decoder with arrays around it.
final class HPACKReader {
    struct TooLarge: Error {}

    var decoder: HeaderBlockDecoder
    private let room: Int

    init(tableSize: Int = 4096, longestList: Int = 65536, mostFields: Int = 1000, room: Int = 65536) {
        decoder = HeaderBlockDecoder(tableSize: tableSize, longestList: longestList, mostFields: mostFields)
        self.room = room
    }

    func decode(_ block: [UInt8]) throws -> [Field] {
        // Exactly its bytes on the heap, so that a sanitizer sees a read beyond them.
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: max(block.count, 1))
        defer { copy.deallocate() }
        copy.initialize(repeating: 0, count: max(block.count, 1))
        for (place, byte) in block.enumerated() { copy[place] = byte }
        let buffer = UnsafeMutablePointer<UInt8>.allocate(capacity: room)
        defer { buffer.deallocate() }
        buffer.initialize(repeating: 0, count: room)
        if try decoder.decode(copy, block.count, into: buffer, room) == .tooLarge { throw TooLarge() }
        return (0..<decoder.fieldCount).map { place in
            let field = decoder.fields[place]
            let name = UnsafeBufferPointer(start: buffer + Int(field.nameOffset), count: Int(field.nameLength))
            let value = UnsafeBufferPointer(start: buffer + Int(field.valueOffset), count: Int(field.valueLength))
            return Field(name: Array(name), value: Array(value), isSecret: field.neverIndexed)
        }
    }
}

/// The encoder with arrays around it.
final class HPACKWriter {
    var encoder: HeaderBlockEncoder

    init(tableSize: Int = 4096, usesHuffman: Bool = true) {
        encoder = HeaderBlockEncoder(tableSize: tableSize, usesHuffman: usesHuffman)
    }

    func encode(_ fields: [Field]) -> [UInt8] {
        var most = HeaderBlockEncoder.mostBytesOfBegin
        for field in fields { most += HeaderBlockEncoder.mostBytes(field.name.count, field.value.count) }
        return [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
            guard let out = buffer.baseAddress else { return }
            encoder.begin(out, &count)
            for field in fields {
                let start = count
                field.name.withUnsafeBufferPointer { name in
                    field.value.withUnsafeBufferPointer { value in
                        // An empty array may have no address.
                        let none = UnsafePointer(out)
                        encoder.append(
                            name.baseAddress ?? none, name.count, value.baseAddress ?? none, value.count,
                            isSecret: field.isSecret, out, &count)
                    }
                }
                let most = HeaderBlockEncoder.mostBytes(field.name.count, field.value.count)
                precondition(count - start <= most, "a field took more room than promised")
            }
        }
    }
}
