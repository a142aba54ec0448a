// Shared, as source, with mesh-init, which is Embedded Swift: bytes rather than strings, no existentials, no imports.

/// What a message is about. The numbers are the wire format: append only.
package enum SupervisorMessageKind: UInt16, Sendable {
    // To the supervisor.
    case start = 1
    case list = 2
    case signal = 3
    case stop = 4
    case execute = 5
    case forget = 6
    case watch = 7
    case attach = 8
    case endInput = 9
    // From the supervisor.
    case started = 64
    case failed = 65
    case states = 66
    case done = 67
    case exited = 68
    case changed = 69
}

package enum MessageFault: Error, Sendable {
    case truncated, badMagic, otherVersion, unknownKind, tooLong, trailing
}

/// The 16 bytes before each message, little-endian: magic (2), version (2), kind (2), descriptors (2), length (4), zero (4).
/// The descriptors travel with the first byte.
package struct MessageHeader: Sendable {
    package static let size = 16
    package static let magic: UInt16 = 0x4957
    package static let version: UInt16 = 1
    /// Arguments and environment of one process may take 2 MiB, the kernel's own limit.
    package static let longestBody = 4 << 20
    package static let mostDescriptors = 128

    package var kind: SupervisorMessageKind
    package var descriptors: Int
    package var length: Int

    package init(kind: SupervisorMessageKind, descriptors: Int, length: Int) {
        self.kind = kind
        self.descriptors = descriptors
        self.length = length
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        guard try reader.uint16() == Self.magic else { throw .badMagic }
        guard try reader.uint16() == Self.version else { throw .otherVersion }
        guard let kind = SupervisorMessageKind(rawValue: try reader.uint16()) else { throw .unknownKind }
        let descriptors = Int(try reader.uint16())
        let length = Int(try reader.uint32())
        guard length <= Self.longestBody, descriptors <= Self.mostDescriptors else { throw .tooLong }
        self.init(kind: kind, descriptors: descriptors, length: length)
    }

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        writer.put(Self.magic)
        writer.put(Self.version)
        writer.put(kind.rawValue)
        writer.put(UInt16(truncatingIfNeeded: descriptors))
        writer.put(UInt32(truncatingIfNeeded: length))
        writer.put(UInt32(0))
        return writer.bytes
    }
}

package struct MessageWriter: Sendable {
    package private(set) var bytes: [UInt8] = []
    package init() {}

    package mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        var rest = value.littleEndian
        for _ in 0..<(Value.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            if Value.bitWidth > 8 { rest >>= 8 }
        }
    }
    package mutating func put(_ flag: Bool) { bytes.append(flag ? 1 : 0) }
    package mutating func put(_ text: [UInt8]) {
        put(UInt32(truncatingIfNeeded: text.count))
        bytes += text
    }
    package mutating func put(_ texts: [[UInt8]]) {
        put(UInt32(truncatingIfNeeded: texts.count))
        for text in texts { put(text) }
    }
}

/// Reads what `MessageWriter` wrote. Every length is checked against what is left before anything is made of it.
package struct MessageReader: Sendable {
    private let bytes: [UInt8]
    private var place = 0

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    private var left: Int { bytes.count - place }
    /// What a later version added need not be there.
    package var isAtEnd: Bool { left == 0 }

    private mutating func number(_ size: Int) throws(MessageFault) -> UInt64 {
        guard left >= size else { throw .truncated }
        var value: UInt64 = 0
        for offset in 0..<size { value |= UInt64(bytes[place + offset]) << UInt64(8 * offset) }
        place += size
        return value
    }

    package mutating func uint8() throws(MessageFault) -> UInt8 { UInt8(truncatingIfNeeded: try number(1)) }
    package mutating func uint16() throws(MessageFault) -> UInt16 { UInt16(truncatingIfNeeded: try number(2)) }
    package mutating func uint32() throws(MessageFault) -> UInt32 { UInt32(truncatingIfNeeded: try number(4)) }
    package mutating func uint64() throws(MessageFault) -> UInt64 { try number(8) }
    package mutating func int32() throws(MessageFault) -> Int32 { Int32(truncatingIfNeeded: try number(4)) }
    package mutating func int64() throws(MessageFault) -> Int64 { Int64(truncatingIfNeeded: try number(8)) }
    package mutating func flag() throws(MessageFault) -> Bool { try uint8() != 0 }

    package mutating func text() throws(MessageFault) -> [UInt8] {
        let count = Int(try uint32())
        guard count <= left else { throw .truncated }
        let part = Array(bytes[place..<place + count])
        place += count
        return part
    }

    /// How many elements follow, each of at least `atLeast` bytes.
    package mutating func count(atLeast: Int) throws(MessageFault) -> Int {
        let count = Int(try uint32())
        guard count <= left / atLeast else { throw .truncated }
        return count
    }

    package mutating func texts() throws(MessageFault) -> [[UInt8]] {
        var texts: [[UInt8]] = []
        for _ in 0..<(try count(atLeast: 4)) { texts.append(try text()) }
        return texts
    }

    package func end() throws(MessageFault) {
        guard left == 0 else { throw .trailing }
    }
}
