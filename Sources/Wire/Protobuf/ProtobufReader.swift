/// Why bytes are not the protobuf message expected, and where.
package struct ProtobufFault: Error, Hashable, CustomStringConvertible {
    package enum Reason: String, Sendable {
        case truncated = "message is cut short"
        case varintTooLong = "varint is longer than 10 bytes"
        case badTag = "field number or wire type is not valid"
        case wrongWireType = "field has an unexpected wire type"
        case badUTF8 = "string is not valid UTF-8"
        case tooDeep = "messages nested too deeply"
        case outOfRange = "value is out of range"
    }
    package let reason: Reason
    /// From the start of the outermost bytes.
    package let offset: Int
    package init(reason: Reason, offset: Int) {
        self.reason = reason
        self.offset = offset
    }
    package var description: String { "\(reason.rawValue) at byte \(offset)" }
}

/// How the value after a tag is laid out. Groups (3 and 4) are read only to be skipped.
package enum ProtobufWireType: UInt8, Sendable {
    case varint = 0
    case fixed64 = 1
    case lengthDelimited = 2
    case startGroup = 3
    case endGroup = 4
    case fixed32 = 5
}

package struct ProtobufTag: Sendable, Hashable {
    package let field: Int
    package let wireType: ProtobufWireType
}

/// Reads one message, field by field. Every read is checked against the end of the message.
///
///     while let tag = try reader.nextTag() {
///         switch tag.field {
///         case 1: name = try reader.string(tag)
///         default: try reader.skip(tag)
///         }
///     }
///
/// - Source: the protobuf encoding guide.
package struct ProtobufReader: Sendable {
    /// Messages within each other.
    package static let deepest = 100

    private let bytes: [UInt8]
    private let end: Int
    private let depth: Int
    package private(set) var place: Int

    package init(_ bytes: [UInt8]) {
        self.init(bytes, from: 0, to: bytes.count, depth: 0)
    }

    /// Reads from `start` on, for example after an envelope's magic bytes.
    package init(_ bytes: [UInt8], from start: Int) {
        self.init(bytes, from: min(max(start, 0), bytes.count), to: bytes.count, depth: 0)
    }

    private init(_ bytes: [UInt8], from start: Int, to end: Int, depth: Int) {
        self.bytes = bytes
        self.place = start
        self.end = end
        self.depth = depth
    }

    package var isAtEnd: Bool { place >= end }

    private func fault(_ reason: ProtobufFault.Reason) -> ProtobufFault { ProtobufFault(reason: reason, offset: place) }

    /// The next field's tag, or `nil` at the end of the message.
    package mutating func nextTag() throws(ProtobufFault) -> ProtobufTag? {
        if place >= end { return nil }
        let key = try varint()
        let field = key >> 3
        guard field >= 1, field <= 536_870_911, let type = ProtobufWireType(rawValue: UInt8(key & 7)) else {
            throw fault(.badTag)
        }
        return ProtobufTag(field: Int(field), wireType: type)
    }

    package mutating func varint() throws(ProtobufFault) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            guard place < end else { throw fault(.truncated) }
            let byte = bytes[place]
            place += 1
            if shift == 63, byte > 1 { throw fault(.varintTooLong) }
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
            if shift > 63 { throw fault(.varintTooLong) }
        }
    }

    package mutating func fixed32() throws(ProtobufFault) -> UInt32 {
        guard end - place >= 4 else { throw fault(.truncated) }
        var value: UInt32 = 0
        for index in 0..<4 { value |= UInt32(bytes[place + index]) << (8 * UInt32(index)) }
        place += 4
        return value
    }

    package mutating func fixed64() throws(ProtobufFault) -> UInt64 {
        guard end - place >= 8 else { throw fault(.truncated) }
        var value: UInt64 = 0
        for index in 0..<8 { value |= UInt64(bytes[place + index]) << (8 * UInt64(index)) }
        place += 8
        return value
    }

    private mutating func length() throws(ProtobufFault) -> Int {
        let count = try varint()
        guard count <= UInt64(end - place) else { throw fault(.truncated) }
        return Int(count)
    }

    package mutating func data() throws(ProtobufFault) -> ArraySlice<UInt8> {
        let count = try length()
        let slice = bytes[place..<place + count]
        place += count
        return slice
    }

    package mutating func text() throws(ProtobufFault) -> String {
        let start = place
        let slice = try data()
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw ProtobufFault(reason: .badUTF8, offset: start)
        }
        return text
    }

    /// A reader over the embedded message; this reader goes on after it.
    package mutating func message() throws(ProtobufFault) -> ProtobufReader {
        guard depth < Self.deepest else { throw fault(.tooDeep) }
        let count = try length()
        let inner = ProtobufReader(bytes, from: place, to: place + count, depth: depth + 1)
        place += count
        return inner
    }

    package mutating func skip(_ tag: ProtobufTag) throws(ProtobufFault) {
        try skip(tag, depth: depth)
    }

    private mutating func skip(_ tag: ProtobufTag, depth: Int) throws(ProtobufFault) {
        switch tag.wireType {
        case .varint: _ = try varint()
        case .fixed64: _ = try fixed64()
        case .fixed32: _ = try fixed32()
        case .lengthDelimited: place += try length()
        case .endGroup: throw fault(.badTag)
        case .startGroup:
            guard depth < Self.deepest else { throw fault(.tooDeep) }
            while true {
                guard let inner = try nextTag() else { throw fault(.truncated) }
                if inner.wireType == .endGroup {
                    guard inner.field == tag.field else { throw fault(.badTag) }
                    return
                }
                try skip(inner, depth: depth + 1)
            }
        }
    }
}

/// Reads that also check the wire type of the tag just read.
extension ProtobufReader {
    private func require(_ type: ProtobufWireType, _ tag: ProtobufTag) throws(ProtobufFault) {
        if tag.wireType != type { throw fault(.wrongWireType) }
    }
    package mutating func varint(_ tag: ProtobufTag) throws(ProtobufFault) -> UInt64 {
        try require(.varint, tag)
        return try varint()
    }
    package mutating func int64(_ tag: ProtobufTag) throws(ProtobufFault) -> Int64 {
        Int64(bitPattern: try varint(tag))
    }
    /// Negative values come as 10 bytes; the low 32 bits count.
    package mutating func int32(_ tag: ProtobufTag) throws(ProtobufFault) -> Int32 {
        Int32(truncatingIfNeeded: try varint(tag))
    }
    package mutating func uint32(_ tag: ProtobufTag) throws(ProtobufFault) -> UInt32 {
        UInt32(truncatingIfNeeded: try varint(tag))
    }
    package mutating func bool(_ tag: ProtobufTag) throws(ProtobufFault) -> Bool { try varint(tag) != 0 }
    package mutating func double(_ tag: ProtobufTag) throws(ProtobufFault) -> Double {
        try require(.fixed64, tag)
        return Double(bitPattern: try fixed64())
    }
    package mutating func float(_ tag: ProtobufTag) throws(ProtobufFault) -> Float {
        try require(.fixed32, tag)
        return Float(bitPattern: try fixed32())
    }
    package mutating func string(_ tag: ProtobufTag) throws(ProtobufFault) -> String {
        try require(.lengthDelimited, tag)
        return try text()
    }
    package mutating func bytes(_ tag: ProtobufTag) throws(ProtobufFault) -> ArraySlice<UInt8> {
        try require(.lengthDelimited, tag)
        return try data()
    }
    package mutating func message(_ tag: ProtobufTag) throws(ProtobufFault) -> ProtobufReader {
        try require(.lengthDelimited, tag)
        return try message()
    }
    /// One entry of a `map<string, string>`: key is field 1, value is field 2; a missing one is empty.
    package mutating func stringEntry(_ tag: ProtobufTag) throws(ProtobufFault) -> (key: String, value: String) {
        var entry = try message(tag)
        var key = ""
        var value = ""
        while let inner = try entry.nextTag() {
            switch inner.field {
            case 1: key = try entry.string(inner)
            case 2: value = try entry.string(inner)
            default: try entry.skip(inner)
            }
        }
        return (key, value)
    }
}
