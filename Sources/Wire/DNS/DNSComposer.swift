extension DNSMessage {
    /// The message's bytes, names compressed, in at most `limit` bytes.
    ///
    /// Records that do not fit are left out, from the end. When an answer or an authority had to go the message says it is
    /// truncated, so that the asker tries TCP; additional records go silently (RFC 2181 §9).
    /// - Parameter limit: 512 for UDP without extensions, the asker's `payloadSize` with them, 65,535 for TCP.
    package func composed(limit: Int = 65_535) -> [UInt8] {
        var writer = DNSWriter()
        writer.uint16(id)
        writer.uint16(0)  // flags, below
        for _ in 0..<4 { writer.uint16(0) }  // counts, below
        for question in questions {
            writer.name(question.name)
            writer.uint16(question.type.rawValue)
            writer.uint16(question.questionClass)
        }
        let room = limit - (extensions.map { 11 + $0.options.count } ?? 0)
        var isCut = false
        let answered = writer.records(answers, room: room)
        if answered < answers.count { isCut = true }
        let authorized = isCut ? 0 : writer.records(authorities, room: room)
        if authorized < authorities.count { isCut = true }
        var added = isCut ? 0 : writer.records(additionals, room: room)
        if let extensions {
            writer.extensions(extensions, code)
            added += 1
        }
        var flags = code.rawValue & 0xf | UInt16(opcode & 0xf) << 11
        if isResponse { flags |= 0x8000 }
        if isAuthoritative { flags |= 0x0400 }
        if isTruncated || isCut { flags |= 0x0200 }
        if wantsRecursion { flags |= 0x0100 }
        if offersRecursion { flags |= 0x0080 }
        for (index, value) in [flags, UInt16(questions.count), UInt16(answered), UInt16(authorized), UInt16(added)]
            .enumerated()
        {
            writer.store(value, at: 2 + 2 * index)
        }
        return writer.bytes
    }
}

/// Bytes as they grow, with the names already in them.
private struct DNSWriter {
    var bytes: [UInt8] = []
    /// Where a name, or the tail of one, already stands. Only the first 16,383 bytes can be pointed at.
    private var places: [ArraySlice<UInt8>: Int] = [:]

    mutating func uint8(_ value: UInt8) { bytes.append(value) }
    mutating func uint16(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }
    mutating func uint32(_ value: UInt32) {
        uint16(UInt16(truncatingIfNeeded: value >> 16))
        uint16(UInt16(truncatingIfNeeded: value))
    }
    mutating func store(_ value: UInt16, at offset: Int) {
        bytes[offset] = UInt8(truncatingIfNeeded: value >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
    }

    /// Adds records until one does not fit; returns how many did.
    mutating func records(_ records: [DNSRecord], room: Int) -> Int {
        for (index, record) in records.enumerated() {
            let before = self
            self.record(record)
            if bytes.count > room {
                self = before
                return index
            }
        }
        return records.count
    }

    mutating func name(_ name: DNSName, compress: Bool = true) {
        var rest = name.wire[...]
        while let length = rest.first, length != 0 {
            if compress, let place = places[rest] {
                uint16(0xc000 | UInt16(place))
                return
            }
            if bytes.count < 0x4000 { places[rest] = bytes.count }
            bytes += rest.prefix(1 + Int(length))
            rest = rest.dropFirst(1 + Int(length))
        }
        bytes.append(0)
    }

    mutating func record(_ record: DNSRecord) {
        name(record.name)
        uint16(record.type.rawValue)
        uint16(record.recordClass)
        uint32(record.ttl)
        let start = bytes.count
        uint16(0)
        switch record.data {
        case .a(let bits): uint32(bits)
        case .aaaa(let octets): bytes += octets
        case .ns(let target), .cname(let target), .ptr(let target): name(target)
        case .srv(let service):
            uint16(service.priority)
            uint16(service.weight)
            uint16(service.port)
            name(service.target, compress: false)  // RFC 2782
        case .txt(let strings):
            for string in strings {
                uint8(UInt8(truncatingIfNeeded: min(string.count, 255)))
                bytes += string.prefix(255)
            }
        case .soa(let authority):
            name(authority.primary)
            name(authority.mailbox)
            for value in [authority.serial, authority.refresh, authority.retry, authority.expire, authority.minimum] {
                uint32(value)
            }
        case .other(_, let raw): bytes += raw
        }
        store(UInt16(truncatingIfNeeded: bytes.count - start - 2), at: start)
    }

    mutating func extensions(_ extensions: DNSExtensions, _ code: DNSCode) {
        uint8(0)
        uint16(DNSType.opt.rawValue)
        uint16(extensions.payloadSize)
        uint8(UInt8(truncatingIfNeeded: code.rawValue >> 4))
        uint8(extensions.version)
        uint16(extensions.wantsSignatures ? 0x8000 : 0)
        uint16(UInt16(truncatingIfNeeded: extensions.options.count))
        bytes += extensions.options
    }
}
