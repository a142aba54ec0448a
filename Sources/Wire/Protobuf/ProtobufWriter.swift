/// Writes one message, field by field, in the order of the calls.
///
/// Each call writes its field even when the value is zero or empty; leaving defaults out is the caller's choice.
package struct ProtobufWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// A writer that goes on after bytes already there, such as an envelope's magic.
    package init(after prefix: [UInt8]) { bytes = prefix }

    package mutating func rawVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    package mutating func tag(_ field: Int, _ type: ProtobufWireType) {
        rawVarint(UInt64(field) << 3 | UInt64(type.rawValue))
    }

    package mutating func varint(_ field: Int, _ value: UInt64) {
        tag(field, .varint)
        rawVarint(value)
    }
    package mutating func int64(_ field: Int, _ value: Int64) { varint(field, UInt64(bitPattern: value)) }
    package mutating func int32(_ field: Int, _ value: Int32) { int64(field, Int64(value)) }
    package mutating func uint32(_ field: Int, _ value: UInt32) { varint(field, UInt64(value)) }
    package mutating func bool(_ field: Int, _ value: Bool) { varint(field, value ? 1 : 0) }

    package mutating func fixed64(_ field: Int, _ value: UInt64) {
        tag(field, .fixed64)
        for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(shift))) }
    }
    package mutating func fixed32(_ field: Int, _ value: UInt32) {
        tag(field, .fixed32)
        for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(shift))) }
    }
    package mutating func double(_ field: Int, _ value: Double) { fixed64(field, value.bitPattern) }
    package mutating func float(_ field: Int, _ value: Float) { fixed32(field, value.bitPattern) }

    package mutating func bytes(_ field: Int, _ value: some Collection<UInt8>) {
        tag(field, .lengthDelimited)
        rawVarint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    package mutating func string(_ field: Int, _ value: String) {
        var value = value
        tag(field, .lengthDelimited)
        value.withUTF8 { text in
            rawVarint(UInt64(text.count))
            bytes.append(contentsOf: text)
        }
    }

    /// An embedded message, written by `body`.
    package mutating func message<Failure: Error>(
        _ field: Int, _ body: (inout ProtobufWriter) throws(Failure) -> Void
    ) throws(Failure) {
        var inner = ProtobufWriter()
        try body(&inner)
        bytes(field, inner.bytes)
    }

    /// One entry of a `map<string, string>`.
    package mutating func stringEntry(_ field: Int, key: String, value: String) {
        var inner = ProtobufWriter()
        inner.string(1, key)
        inner.string(2, value)
        bytes(field, inner.bytes)
    }
}
