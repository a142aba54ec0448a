/// Reads one message in plain memory, field by field, without a copy. Every length is checked against the end of the message;
/// groups, which proto3 does not have, are refused.
package struct ProtobufView {
    /// A field and its value: a number, or bytes in place.
    package struct Field {
        package let number: Int
        package let wireType: ProtobufWireType
        package let value: UInt64
        package let start: UnsafePointer<UInt8>
        package let count: Int
        fileprivate let place: Int

        private func require(_ type: ProtobufWireType) throws(ProtobufFault) {
            if wireType != type { throw ProtobufFault(reason: .wrongWireType, offset: place) }
        }

        package func varint() throws(ProtobufFault) -> UInt64 {
            try require(.varint)
            return value
        }

        package func message() throws(ProtobufFault) -> ProtobufView {
            try require(.lengthDelimited)
            return ProtobufView(start, count)
        }

        package func bytes() throws(ProtobufFault) -> (start: UnsafePointer<UInt8>, count: Int) {
            try require(.lengthDelimited)
            return (start, count)
        }
    }

    private let bytes: UnsafePointer<UInt8>
    private let count: Int
    private var place = 0

    package init(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        self.bytes = bytes
        self.count = count
    }

    private func fault(_ reason: ProtobufFault.Reason) -> ProtobufFault { ProtobufFault(reason: reason, offset: place) }

    /// The next field, or `nil` at the end of the message.
    package mutating func next() throws(ProtobufFault) -> Field? {
        if place >= count { return nil }
        let begin = place
        let key = try varint()
        guard key >> 3 >= 1, key >> 3 <= 536_870_911, let type = ProtobufWireType(rawValue: UInt8(key & 7)) else {
            throw fault(.badTag)
        }
        var value: UInt64 = 0
        var length = 0
        switch type {
        case .varint: value = try varint()
        case .fixed32: length = 4
        case .fixed64: length = 8
        case .lengthDelimited:
            let given = try varint()
            if given > UInt64(count - place) { throw fault(.truncated) }
            length = Int(given)
        case .startGroup, .endGroup: throw fault(.badTag)
        }
        if length > count - place { throw fault(.truncated) }
        defer { place += length }
        return Field(
            number: Int(key >> 3), wireType: type, value: value, start: bytes + place, count: length, place: begin)
    }

    private mutating func varint() throws(ProtobufFault) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            guard place < count else { throw fault(.truncated) }
            let byte = bytes[place]
            place += 1
            if shift == 63, byte > 1 { throw fault(.varintTooLong) }
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
            if shift > 63 { throw fault(.varintTooLong) }
        }
    }
}
