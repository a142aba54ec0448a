/// The header that starts every HTTP/2 frame (RFC 9113 §4.1), and the frames' kinds, flags and errors.
package struct FrameHeader: Sendable, Hashable {
    package static let size = 9
    package static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    package var length: Int
    package var kind: UInt8
    package var flags: UInt8
    package var stream: UInt32

    package init(length: Int, kind: FrameKind, flags: UInt8 = 0, stream: UInt32 = 0) {
        self.length = length
        self.kind = kind.rawValue
        self.flags = flags
        self.stream = stream
    }

    /// Reads the header at `place`; `nil` while fewer than its 9 bytes have arrived.
    package init?(_ bytes: [UInt8], at place: Int = 0) {
        guard bytes.count - place >= Self.size else { return nil }
        func byte(_ offset: Int) -> UInt32 { UInt32(bytes[place + offset]) }
        length = Int(byte(0) << 16 | byte(1) << 8 | byte(2))
        kind = bytes[place + 3]
        flags = bytes[place + 4]
        stream = (byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)) & 0x7FFF_FFFF
    }

    package func write(to out: inout [UInt8]) {
        out.append(UInt8(truncatingIfNeeded: length >> 16))
        out.append(UInt8(truncatingIfNeeded: length >> 8))
        out.append(UInt8(truncatingIfNeeded: length))
        out.append(kind)
        out.append(flags)
        for shift in stride(from: UInt32(24), through: 0, by: -8) {
            out.append(UInt8(truncatingIfNeeded: stream >> shift))
        }
    }
}

package enum FrameKind: UInt8, Sendable {
    case data = 0, headers = 1, priority = 2, resetStream = 3, settings = 4, pushPromise = 5, ping = 6, goAway = 7,
        windowUpdate = 8
    case continuation = 9
}

package enum FrameFlag {
    package static let endStream: UInt8 = 0x1
    package static let acknowledged: UInt8 = 0x1
    package static let endHeaders: UInt8 = 0x4
    package static let padded: UInt8 = 0x8
    package static let priority: UInt8 = 0x20
}

/// Settings by their numbers (RFC 9113 §6.5.2).
package enum Setting {
    package static let headerTableSize: UInt16 = 1
    package static let enablePush: UInt16 = 2
    package static let concurrentStreams: UInt16 = 3
    package static let initialWindow: UInt16 = 4
    package static let frameSize: UInt16 = 5
    package static let headerListSize: UInt16 = 6
    /// RFC 8441 §3.
    package static let connectProtocol: UInt16 = 8

    package static func payload(_ settings: [(UInt16, UInt32)]) -> [UInt8] {
        var out: [UInt8] = []
        for (key, value) in settings {
            out.append(UInt8(truncatingIfNeeded: key >> 8))
            out.append(UInt8(truncatingIfNeeded: key))
            for shift in stride(from: UInt32(24), through: 0, by: -8) {
                out.append(UInt8(truncatingIfNeeded: value >> shift))
            }
        }
        return out
    }

    package static func read(_ payload: ArraySlice<UInt8>) -> [(UInt16, UInt32)] {
        var found: [(UInt16, UInt32)] = []
        var place = payload.startIndex
        while place + 6 <= payload.endIndex {
            let key = UInt16(payload[place]) << 8 | UInt16(payload[place + 1])
            var value: UInt32 = 0
            for offset in 2..<6 { value = value << 8 | UInt32(payload[place + offset]) }
            found.append((key, value))
            place += 6
        }
        return found
    }
}
