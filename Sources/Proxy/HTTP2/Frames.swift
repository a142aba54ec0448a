import Wire

/// Frames over plain memory (RFC 9113 §4.1).
enum Frames {
    static var preface: StaticString { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }
    static let prefaceLength = 24

    @inline(__always)
    static func word(_ at: UnsafePointer<UInt8>) -> UInt32 {
        UInt32(at[0]) << 24 | UInt32(at[1]) << 16 | UInt32(at[2]) << 8 | UInt32(at[3])
    }

    @inline(__always)
    static func length(_ at: UnsafePointer<UInt8>) -> Int { Int(at[0]) << 16 | Int(at[1]) << 8 | Int(at[2]) }

    @inline(__always)
    static func putLength(_ length: Int, _ out: Bytes) {
        out[0] = UInt8(truncatingIfNeeded: length >> 16)
        out[1] = UInt8(truncatingIfNeeded: length >> 8)
        out[2] = UInt8(truncatingIfNeeded: length)
    }

    @inline(__always)
    static func putWord(_ word: UInt32, _ out: Bytes, _ at: inout Int) {
        out[at] = UInt8(truncatingIfNeeded: word >> 24)
        out[at &+ 1] = UInt8(truncatingIfNeeded: word >> 16)
        out[at &+ 2] = UInt8(truncatingIfNeeded: word >> 8)
        out[at &+ 3] = UInt8(truncatingIfNeeded: word)
        at &+= 4
    }

    @inline(__always)
    static func putHeader(
        _ length: Int, _ kind: FrameKind, _ flags: UInt8, _ stream: UInt32, _ out: Bytes, _ at: inout Int
    ) {
        putLength(length, out + at)
        out[at &+ 3] = kind.rawValue
        out[at &+ 4] = flags
        at &+= 5
        putWord(stream, out, &at)
    }

    static func putSetting(_ key: UInt16, _ value: UInt32, _ out: Bytes, _ at: inout Int) {
        out[at] = UInt8(truncatingIfNeeded: key >> 8)
        out[at &+ 1] = UInt8(truncatingIfNeeded: key)
        at &+= 2
        putWord(value, out, &at)
    }
}
