import Glibc

/// Writes one protobuf message into plain memory from its end to its start, so that the length of what is embedded is known when
/// its head is written.
///
/// Fields stand in the bytes in the opposite order of the calls:
///
///     let end = message.start
///     message.bytes(1, name, nameLength)
///     message.embed(4, endingAt: end)
package struct BackwardMessage {
    private let memory: UnsafeMutablePointer<UInt8>
    /// Where in the memory the message begins so far.
    package private(set) var start: Int
    /// Something had no room: what is there is no message.
    package private(set) var isFull = false

    package init(_ memory: UnsafeMutablePointer<UInt8>, endingAt end: Int) {
        self.memory = memory
        start = end
    }

    /// Room for bytes that come before those written so far; `nil` when there is none.
    package mutating func reserve(_ count: Int) -> UnsafeMutablePointer<UInt8>? {
        if isFull || count > start {
            isFull = true
            return nil
        }
        start -= count
        return memory + start
    }

    package mutating func rawVarint(_ value: UInt64) {
        var length = 1
        var rest = value >> 7
        while rest > 0 {
            length += 1
            rest >>= 7
        }
        guard let out = reserve(length) else { return }
        rest = value
        for place in 0..<length {
            out[place] = UInt8(truncatingIfNeeded: rest & 0x7F) | (place < length - 1 ? 0x80 : 0)
            rest >>= 7
        }
    }

    package mutating func varint(_ field: Int, _ value: UInt64) {
        rawVarint(value)
        tag(field, .varint)
    }

    package mutating func bytes(_ field: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard let out = reserve(count) else { return }
        memcpy(out, bytes, count)
        head(field, count)
    }

    /// Text that may be none: what is not UTF-8, which no reader of a `string` takes, becomes `!`.
    package mutating func text(_ field: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard let out = reserve(count) else { return }
        memcpy(out, bytes, count)
        UTF8Text.mend(out, count)
        head(field, count)
    }

    package mutating func text(_ field: Int, _ text: StaticString) {
        bytes(field, text.utf8Start, text.utf8CodeUnitCount)
    }

    package mutating func text(_ field: Int, _ text: String) {
        var text = text
        text.withUTF8 { text in
            if let start = text.baseAddress { bytes(field, start, text.count) } else { head(field, 0) }
        }
    }

    /// What was written since `start` was `end` becomes an embedded message, or a field of bytes.
    package mutating func embed(_ field: Int, endingAt end: Int) { head(field, end - start) }

    private mutating func head(_ field: Int, _ count: Int) {
        rawVarint(UInt64(count))
        tag(field, .lengthDelimited)
    }

    private mutating func tag(_ field: Int, _ type: ProtobufWireType) {
        rawVarint(UInt64(field) << 3 | UInt64(type.rawValue))
    }
}
