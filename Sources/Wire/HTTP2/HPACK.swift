/// Why a header block cannot be read. Each ends the connection (RFC 9113 §4.3).
package enum HPACKFault: Error, Sendable, Hashable {
    case truncated, badIndex, badInteger, badHuffman, badTableSize, tooLong
}

/// Reads header blocks of one connection, in order, since they build on each other (RFC 7541).
package struct HPACKDecoder: Sendable {
    private var table: [HeaderField] = []  // newest first
    private var size = 0
    private var capacity: Int
    private let limit: Int
    private let longestBlock: Int

    /// - Parameters:
    ///   - tableSize: what our SETTINGS_HEADER_TABLE_SIZE allows.
    ///   - longestBlock: bytes of names and values accepted in one block.
    package init(tableSize: Int = 4096, longestBlock: Int = 65536) {
        capacity = tableSize
        limit = tableSize
        self.longestBlock = longestBlock
    }

    package mutating func decode(_ block: [UInt8]) throws(HPACKFault) -> [HeaderField] {
        var fields: [HeaderField] = []
        var place = 0
        var total = 0
        while place < block.count {
            let byte = block[place]
            if byte & 0x80 != 0 {
                fields.append(try field(try integer(block, &place, 7)))
            } else if byte & 0xC0 == 0x40 {
                let new = try literal(block, &place, 6)
                insert(new)
                fields.append(new)
            } else if byte & 0xE0 == 0x20 {
                // A new size stands only at the start of a block (§4.2).
                if !fields.isEmpty { throw .badTableSize }
                let wanted = try integer(block, &place, 5)
                if wanted > limit { throw .badTableSize }
                capacity = wanted
                evict()
                continue
            } else {
                fields.append(try literal(block, &place, 4))
            }
            total += fields.last?.size ?? 0
            if total > longestBlock { throw .tooLong }
        }
        return fields
    }

    private func field(_ index: Int) throws(HPACKFault) -> HeaderField {
        if index == 0 { throw .badIndex }
        if index <= HeaderField.fixed.count { return HeaderField.fixed[index - 1] }
        let place = index - HeaderField.fixed.count - 1
        guard place < table.count else { throw .badIndex }
        return table[place]
    }

    private mutating func literal(_ block: [UInt8], _ place: inout Int, _ prefix: Int) throws(HPACKFault) -> HeaderField
    {
        let index = try integer(block, &place, prefix)
        let name = index == 0 ? try text(block, &place) : try field(index).name
        return HeaderField(name, try text(block, &place))
    }

    private mutating func insert(_ field: HeaderField) {
        table.insert(field, at: 0)
        size += field.size
        evict()
    }

    private mutating func evict() {
        while size > capacity, let last = table.popLast() { size -= last.size }
    }

    /// RFC 7541 §5.1.
    private func integer(_ block: [UInt8], _ place: inout Int, _ prefix: Int) throws(HPACKFault) -> Int {
        guard place < block.count else { throw .truncated }
        let mask = (1 << prefix) - 1
        var value = Int(block[place]) & mask
        place += 1
        if value < mask { return value }
        var shift = 0
        while true {
            guard place < block.count else { throw .truncated }
            let byte = block[place]
            place += 1
            if shift > 28 { throw .badInteger }
            value += Int(byte & 0x7F) << shift
            shift += 7
            if byte & 0x80 == 0 { return value }
        }
    }

    private func text(_ block: [UInt8], _ place: inout Int) throws(HPACKFault) -> String {
        guard place < block.count else { throw .truncated }
        let isHuffman = block[place] & 0x80 != 0
        let count = try integer(block, &place, 7)
        guard count <= block.count - place else { throw .truncated }
        let bytes = block[place..<place + count]
        place += count
        if !isHuffman { return String(decoding: bytes, as: UTF8.self) }
        guard let plain = Huffman.decode(bytes) else { throw .badHuffman }
        return String(decoding: plain, as: UTF8.self)
    }
}

/// Writes header blocks without a dynamic table: indexed where the fixed table has the field, literal otherwise.
package enum HPACKEncoder {
    package static func encode(_ fields: [HeaderField]) -> [UInt8] {
        var out: [UInt8] = []
        for field in fields {
            if let whole = HeaderField.fixed.firstIndex(of: field) {
                integer(whole + 1, 7, 0x80, &out)
                continue
            }
            let name = HeaderField.fixed.firstIndex { $0.name == field.name }.map { $0 + 1 } ?? 0
            integer(name, 4, 0, &out)
            if name == 0 { text(field.name, &out) }
            text(field.value, &out)
        }
        return out
    }

    private static func integer(_ value: Int, _ prefix: Int, _ bits: UInt8, _ out: inout [UInt8]) {
        let mask = (1 << prefix) - 1
        if value < mask {
            out.append(bits | UInt8(value))
            return
        }
        out.append(bits | UInt8(mask))
        var rest = value - mask
        while rest >= 128 {
            out.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        out.append(UInt8(rest))
    }

    private static func text(_ string: String, _ out: inout [UInt8]) {
        let plain = Array(string.utf8)
        let short = Huffman.encode(plain)
        if short.count < plain.count {
            integer(short.count, 7, 0x80, &out)
            out += short
        } else {
            integer(plain.count, 7, 0, &out)
            out += plain
        }
    }
}
