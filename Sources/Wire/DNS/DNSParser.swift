extension DNSMessage {
    /// Reads a whole message. Bytes behind it are ignored.
    package init(parsing bytes: [UInt8]) throws(DNSFault) { try self.init(parsing: bytes.span.bytes) }

    /// Reads a whole message from any bytes at all: each length and each compression pointer is checked.
    package init(parsing bytes: RawSpan) throws(DNSFault) {
        guard bytes.byteCount >= 12 else { throw .noHeader }
        var cursor = DNSCursor()
        let id = cursor.uint16(bytes) ?? 0
        let flags = cursor.uint16(bytes) ?? 0
        self.init(id: id)
        isResponse = flags & 0x8000 != 0
        opcode = UInt8(truncatingIfNeeded: flags >> 11) & 0xf
        isAuthoritative = flags & 0x0400 != 0
        isTruncated = flags & 0x0200 != 0
        wantsRecursion = flags & 0x0100 != 0
        offersRecursion = flags & 0x0080 != 0
        code = DNSCode(rawValue: flags & 0xf)
        let counts = (0..<4).map { _ in Int(cursor.uint16(bytes) ?? 0) }
        guard readSections(bytes, counts, &cursor) else { throw .malformed(id: id, isResponse: isResponse) }
    }

    private mutating func readSections(_ bytes: RawSpan, _ counts: [Int], _ cursor: inout DNSCursor) -> Bool {
        // Counts may lie: every question takes 5 bytes or more, every record 11, so the loops end with the bytes.
        for _ in 0..<counts[0] {
            guard let name = cursor.name(bytes), let type = cursor.uint16(bytes),
                let questionClass = cursor.uint16(bytes)
            else { return false }
            questions.append(DNSQuestion(name: name, type: DNSType(rawValue: type), questionClass: questionClass))
        }
        for section in 1...3 {
            for _ in 0..<counts[section] {
                guard let record = cursor.record(bytes) else { return false }
                if case .other(.opt, let options) = record.data {
                    guard section == 3, extensions == nil, record.name.isRoot else { return false }
                    readExtensions(record, options)
                    continue
                }
                switch section {
                case 1: answers.append(record)
                case 2: authorities.append(record)
                default: additionals.append(record)
                }
            }
        }
        return true
    }

    private mutating func readExtensions(_ record: DNSRecord, _ options: [UInt8]) {
        var found = DNSExtensions(payloadSize: record.recordClass)
        found.version = UInt8(truncatingIfNeeded: record.ttl >> 16)
        found.wantsSignatures = record.ttl & 0x8000 != 0
        found.options = options
        extensions = found
        code = DNSCode(rawValue: code.rawValue | UInt16(truncatingIfNeeded: record.ttl >> 24) << 4)
    }
}

/// A place in a message. Each read returns `nil`, and moves nowhere useful, when the bytes do not suffice.
struct DNSCursor {
    var offset = 0

    mutating func uint8(_ bytes: RawSpan) -> UInt8? {
        guard offset < bytes.byteCount else { return nil }
        defer { offset += 1 }
        return bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    mutating func uint16(_ bytes: RawSpan) -> UInt16? {
        guard let high = uint8(bytes), let low = uint8(bytes) else { return nil }
        return UInt16(high) << 8 | UInt16(low)
    }

    mutating func uint32(_ bytes: RawSpan) -> UInt32? {
        guard let high = uint16(bytes), let low = uint16(bytes) else { return nil }
        return UInt32(high) << 16 | UInt32(low)
    }

    mutating func take(_ count: Int, _ bytes: RawSpan) -> [UInt8]? {
        guard count >= 0, count <= bytes.byteCount - offset else { return nil }
        let taken = (offset..<(offset + count)).map { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
        offset += count
        return taken
    }

    /// A name, following compression pointers (RFC 1035 §4.1.4). Each pointer must lead before the place the labels it
    /// ends began at, so a chain of them always ends.
    mutating func name(_ bytes: RawSpan) -> DNSName? {
        var wire: [UInt8] = []
        var place = self
        var start = offset
        var jumped = false
        while true {
            guard let length = place.uint8(bytes) else { return nil }
            switch length >> 6 {
            case 0:
                wire.append(length)
                if length == 0 {
                    guard wire.count <= 255 else { return nil }
                    if !jumped { offset = place.offset }
                    return DNSName(checked: wire)
                }
                guard let label = place.take(Int(length), bytes), wire.count + label.count < 255 else { return nil }
                wire += label
            case 3:
                guard let low = place.uint8(bytes) else { return nil }
                let target = Int(length & 0x3f) << 8 | Int(low)
                guard target < start else { return nil }
                if !jumped { offset = place.offset }
                jumped = true
                start = target
                place.offset = target
            default: return nil
            }
        }
    }

    mutating func record(_ bytes: RawSpan) -> DNSRecord? {
        guard let name = name(bytes), let type = uint16(bytes), let recordClass = uint16(bytes),
            let ttl = uint32(bytes),
            let length = uint16(bytes), Int(length) <= bytes.byteCount - offset
        else { return nil }
        let end = offset + Int(length)
        guard let data = data(DNSType(rawValue: type), until: end, bytes), offset == end else { return nil }
        return DNSRecord(name, ttl: ttl, data, recordClass: recordClass)
    }

    private mutating func data(_ type: DNSType, until end: Int, _ bytes: RawSpan) -> DNSData? {
        switch type {
        case .a: return uint32(bytes).map(DNSData.a)
        case .aaaa: return take(16, bytes).map(DNSData.aaaa)
        case .ns: return name(bytes).map(DNSData.ns)
        case .cname: return name(bytes).map(DNSData.cname)
        case .ptr: return name(bytes).map(DNSData.ptr)
        case .srv:
            guard let priority = uint16(bytes), let weight = uint16(bytes), let port = uint16(bytes),
                let target = name(bytes)
            else { return nil }
            return .srv(DNSService(priority: priority, weight: weight, port: port, target: target))
        case .txt:
            var strings: [[UInt8]] = []
            while offset < end {
                guard let length = uint8(bytes), let string = take(Int(length), bytes) else { return nil }
                strings.append(string)
            }
            return .txt(strings)
        case .soa: return authority(bytes).map(DNSData.soa)
        default: return take(end - offset, bytes).map { .other(type, $0) }
        }
    }

    private mutating func authority(_ bytes: RawSpan) -> DNSAuthority? {
        guard let primary = name(bytes), let mailbox = name(bytes), let serial = uint32(bytes),
            let refresh = uint32(bytes),
            let retry = uint32(bytes), let expire = uint32(bytes), let minimum = uint32(bytes)
        else { return nil }
        return DNSAuthority(
            primary: primary, mailbox: mailbox, serial: serial, refresh: refresh, retry: retry, expire: expire,
            minimum: minimum)
    }
}
