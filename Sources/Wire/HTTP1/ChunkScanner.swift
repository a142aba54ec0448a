/// Follows the framing of a chunked body (RFC 9112 §7.1) without touching its bytes, so that they can be relayed as they are.
///
/// Strict, since the next hop reads the same bytes: no whitespace in the size line, extensions by their grammar, line ends of CR LF only,
/// and no trailer that frames, routes or authenticates (RFC 9110 §6.5.1).
package struct ChunkScanner: Equatable {
    package enum State: UInt8 {
        case sizeStart, size, sizeLineFeed, data, dataReturn, dataLineFeed
        case extensionStart, extensionName, extensionValueStart, extensionValue, extensionQuoted, extensionEscape,
            extensionEnd
        case trailerStart, trailerName, trailerText, trailerLineFeed, lastLineFeed, done, bad
    }

    package private(set) var state = State.sizeStart
    package private(set) var fault = ChunkFault.none
    private var digits: UInt8 = 0
    /// Bytes of extensions and trailers seen and not made up for by data, which are bounded.
    private var extra: Int32 = 0
    /// Data bytes of this chunk still to come.
    package private(set) var remaining = 0
    /// Of a trailer's name, in lower case.
    private var nameHash: UInt64 = 0

    private static let mostExtra: Int32 = 16384
    private static let mostDigits: UInt8 = 16

    package init() {}

    package var isDone: Bool { state == .done }
    package var isBad: Bool { state == .bad }

    /// Takes bytes up to the end of the message or the first that does not fit, and tells how many.
    package mutating func scan(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        var place = 0
        while place < count {
            let byte = bytes[place]
            switch state {
            case .data:
                let taken = min(remaining, count &- place)
                place &+= taken
                remaining &-= taken
                extra = max(0, extra &- Int32(truncatingIfNeeded: min(taken, 1 << 30)))
                if remaining == 0 { state = .dataReturn }
                continue
            case .dataReturn: follow(byte == 13, .dataLineFeed, .dataEnd)
            case .dataLineFeed: follow(byte == 10, .sizeStart, .dataEnd)
            case .sizeStart, .size: size(byte)
            case .sizeLineFeed: follow(byte == 10, remaining == 0 ? .trailerStart : .data, .lineEnd)
            case .extensionStart, .extensionName, .extensionValueStart, .extensionValue, .extensionQuoted,
                .extensionEscape, .extensionEnd:
                extensionByte(byte)
            case .trailerStart, .trailerName, .trailerText: trailerByte(byte)
            case .trailerLineFeed: follow(byte == 10, .trailerStart, .lineEnd)
            case .lastLineFeed:
                follow(byte == 10, .done, .lineEnd)
                return state == .done ? place &+ 1 : place
            case .done, .bad: return place
            }
            if state == .bad { return place }
            place &+= 1
        }
        return place
    }

    @inline(__always)
    private mutating func follow(_ fits: Bool, _ next: State, _ otherwise: ChunkFault) {
        if fits { state = next } else { refuse(otherwise) }
    }

    private mutating func refuse(_ why: ChunkFault) {
        state = .bad
        fault = why
    }

    @inline(__always)
    private mutating func size(_ byte: UInt8) {
        var digit = -1
        if byte &- 48 < 10 {
            digit = Int(byte) &- 48
        } else {
            let letter = byte | 32
            if letter >= 97 && letter <= 102 { digit = Int(letter) &- 87 }
        }
        if digit >= 0 {
            if state == .sizeStart {
                remaining = 0
                digits = 0
            }
            digits &+= 1
            if remaining > 1 << 50 || digits > Self.mostDigits {
                refuse(.size)
                return
            }
            remaining = remaining &* 16 &+ digit
            state = .size
        } else if state == .size && byte == 13 {
            state = .sizeLineFeed
        } else if state == .size && byte == 59 {
            state = .extensionStart
        } else {
            refuse(.size)
        }
    }

    /// RFC 9112 §7.1.1, without the whitespace it calls bad: `;name`, `;name=token`, `;name="quoted"`.
    private mutating func extensionByte(_ byte: UInt8) {
        extra &+= 1
        if extra > Self.mostExtra {
            refuse(.tooLong)
            return
        }
        switch state {
        case .extensionStart: follow(isToken(byte), .extensionName, .extension)
        case .extensionName:
            if byte == 61 {
                state = .extensionValueStart
            } else if !isToken(byte) {
                afterExtension(byte)
            }
        case .extensionValueStart:
            if byte == 34 { state = .extensionQuoted } else { follow(isToken(byte), .extensionValue, .extension) }
        case .extensionValue: if !isToken(byte) { afterExtension(byte) }
        case .extensionQuoted:
            if byte == 34 {
                state = .extensionEnd
            } else if byte == 92 {
                state = .extensionEscape
            } else if isControl(byte) {
                refuse(.extension)
            }
        case .extensionEscape: follow(!isControl(byte), .extensionQuoted, .extension)
        default: afterExtension(byte)
        }
    }

    private mutating func afterExtension(_ byte: UInt8) {
        if byte == 13 { state = .sizeLineFeed } else { follow(byte == 59, .extensionStart, .extension) }
    }

    private mutating func trailerByte(_ byte: UInt8) {
        extra &+= 1
        if extra > Self.mostExtra {
            refuse(.tooLong)
            return
        }
        switch state {
        case .trailerStart:
            if byte == 13 {
                state = .lastLineFeed
                return
            }
            nameHash = Self.hash(0xCBF2_9CE4_8422_2325, byte)
            follow(isToken(byte), .trailerName, .trailer)
        case .trailerName:
            if byte == 58 {
                if Self.forbidden.contains(nameHash) { refuse(.forbiddenTrailer) } else { state = .trailerText }
                return
            }
            nameHash = Self.hash(nameHash, byte)
            if !isToken(byte) { refuse(.trailer) }
        default:
            if byte == 13 { state = .trailerLineFeed } else if isControl(byte) { refuse(.trailer) }
        }
    }

    @inline(__always)
    private func isControl(_ byte: UInt8) -> Bool { (byte < 32 && byte != 9) || byte == 127 }

    /// RFC 9110 §5.6.2 `tchar`, as bits of the two halves of ASCII.
    @inline(__always)
    private func isToken(_ byte: UInt8) -> Bool {
        if byte >= 128 { return false }
        let half: UInt64 = byte < 64 ? 0x03FF_6CFA_0000_0000 : 0x57FF_FFFF_C7FF_FFFE
        return half >> UInt64(byte & 63) & 1 != 0
    }

    @inline(__always)
    private static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte &- 65 < 26 ? byte | 32 : byte)) &* 0x100_0000_01B3
    }

    /// Whether a trailer of this name is refused.
    package static func forbids(trailer name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var found: UInt64 = 0xCBF2_9CE4_8422_2325
        for place in 0..<count { found = hash(found, name[place]) }
        return forbidden.contains(found)
    }

    /// By their hashes: a name that collides is refused too, which nobody will meet.
    private static let forbidden: [UInt64] = {
        let names = [
            "content-length", "transfer-encoding", "host", "trailer", "te", "connection", "upgrade", "keep-alive",
            "proxy-connection", "authorization", "proxy-authorization", "cookie", "set-cookie", "content-encoding",
            "content-type", "content-range", "expect", "x-weft-peer", "x-forwarded-client-cert", "x-forwarded-for",
        ]
        return names.map { name in name.utf8.reduce(0xCBF2_9CE4_8422_2325) { hash($0, $1) } }
    }()
}

/// Why a chunked body is refused.
package enum ChunkFault: UInt8, Sendable, CaseIterable {
    case none, size, lineEnd, dataEnd, `extension`, trailer, forbiddenTrailer, tooLong
    /// More than the reader takes; not the scanner's word.
    case bodyTooLong

    /// As metrics and the reason header name it.
    package var word: StaticString {
        switch self {
        case .none: "bad_body"
        case .size: "bad_chunk_size"
        case .lineEnd: "bad_chunk_line_end"
        case .dataEnd: "bad_chunk_end"
        case .extension: "bad_chunk_extension"
        case .trailer: "bad_trailer"
        case .forbiddenTrailer: "forbidden_trailer"
        case .tooLong: "chunk_overhead_too_long"
        case .bodyTooLong: "request_body_too_long"
        }
    }
}
