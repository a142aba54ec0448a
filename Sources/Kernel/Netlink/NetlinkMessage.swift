/// One netlink request as it grows: header, fixed part, attributes. Numbers are in host byte order unless said otherwise.
package struct NetlinkMessage {
    private(set) var bytes: [UInt8]

    static let headerSize = 16

    package init(type: UInt16, flags: Int32) {
        bytes = []
        append(UInt32(0))  // the length, known when sent
        append(type)
        append(UInt16(truncatingIfNeeded: flags))
        append(UInt32(0))  // the sequence number, given when sent
        append(UInt32(0))  // the sender: the kernel fills it in
    }

    /// Adds the bytes of a fixed C structure or an integer.
    package mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    package mutating func attribute<Value: BitwiseCopyable>(_ type: Int, _ value: Value) {
        nest(type) { $0.append(value) }
    }

    package mutating func attribute(_ type: Int, bytes value: [UInt8]) {
        nest(type) { $0.bytes += value }
    }

    /// A zero-terminated string.
    package mutating func attribute(_ type: Int, text: String) {
        nest(type) { $0.bytes += Array(text.utf8) + [0] }
    }

    /// An attribute that holds what `body` adds; padded to four bytes behind its length.
    package mutating func nest(_ type: Int, _ body: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(UInt16(0))
        append(UInt16(truncatingIfNeeded: type))
        body(&self)
        store(UInt16(bytes.count - start), at: start)
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    func finished(sequence: UInt32) -> [UInt8] {
        var copy = self
        copy.store(UInt32(bytes.count), at: 0)
        copy.store(sequence, at: 8)
        return copy.bytes
    }

    private mutating func store<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
        withUnsafeBytes(of: value) { raw in for (index, byte) in raw.enumerated() { bytes[offset + index] = byte } }
    }
}

/// One message of the kernel's: its type and what follows the header.
package struct NetlinkReply: Sendable {
    package let type: UInt16
    package let payload: [UInt8]

    /// A value at an offset, or `nil` when the payload is shorter.
    package func load<Value: BitwiseCopyable>(_ type: Value.Type, at offset: Int = 0) -> Value? {
        guard offset >= 0, offset + MemoryLayout<Value>.size <= payload.count else { return nil }
        return payload.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
    }

    /// The attributes behind a fixed part of `offset` bytes.
    package func attributes(after offset: Int) -> NetlinkAttributes {
        NetlinkAttributes(payload[min(offset, payload.count)...])
    }
}

/// A run of attributes; the last of a type counts. Cut short where a length does not fit.
package struct NetlinkAttributes {
    private var values: [Int: ArraySlice<UInt8>] = [:]

    package init(_ bytes: ArraySlice<UInt8>) {
        var place = bytes.startIndex
        while place + 4 <= bytes.endIndex {
            let length = Int(bytes[place]) | Int(bytes[place + 1]) << 8
            // Without the bits for "nested" and "network byte order".
            let type = (Int(bytes[place + 2]) | Int(bytes[place + 3]) << 8) & 0x3fff
            guard length >= 4, place + length <= bytes.endIndex else { break }
            values[type] = bytes[(place + 4)..<(place + length)]
            place += (length + 3) & ~3
        }
    }

    package func bytes(_ type: Int) -> [UInt8]? { values[type].map(Array.init) }

    package func number<Value: BitwiseCopyable & FixedWidthInteger>(_ type: Int, as: Value.Type = UInt32.self) -> Value?
    {
        guard let value = values[type], value.count >= MemoryLayout<Value>.size else { return nil }
        return value.withUnsafeBytes { $0.loadUnaligned(as: Value.self) }
    }

    package func text(_ type: Int) -> String? {
        values[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    package func nested(_ type: Int) -> NetlinkAttributes? { values[type].map(NetlinkAttributes.init) }

    package func address(_ type: Int) -> IPv4Address? {
        guard let value = bytes(type), value.count == 4 else { return nil }
        return IPv4Address(value[0], value[1], value[2], value[3])
    }
}
