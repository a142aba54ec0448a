/// Follows the framing of a chunked body (RFC 9112 §7.1) without touching its bytes, so that they can be relayed as they are.
package struct ChunkScanner: Equatable {
    package enum State: UInt8 {
        case sizeStart, size, extensionText, sizeLineFeed, data, dataReturn, dataLineFeed, trailerStart, trailerText
        case trailerLineFeed, lastLineFeed, done, bad
    }

    package private(set) var state = State.sizeStart
    /// Data bytes of this chunk still to come.
    package private(set) var remaining = 0
    /// Bytes of extensions and trailers seen, which are bounded.
    private var extra: UInt16 = 0
    private static let mostExtra: UInt16 = 16384

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
                if remaining == 0 { state = .dataReturn }
                continue
            case .dataReturn: state = byte == 13 ? .dataLineFeed : .bad
            case .dataLineFeed: state = byte == 10 ? .sizeStart : .bad
            case .sizeStart, .size:
                var digit = -1
                if byte >= 48 && byte <= 57 {
                    digit = Int(byte) &- 48
                } else {
                    let letter = byte | 32
                    if letter >= 97 && letter <= 102 { digit = Int(letter) &- 87 }
                }
                if digit >= 0 {
                    if state == .sizeStart { remaining = 0 }
                    if remaining > 1 << 50 {
                        state = .bad
                    } else {
                        remaining = remaining &* 16 &+ digit
                        state = .size
                    }
                } else if state == .sizeStart {
                    state = .bad
                } else if byte == 13 {
                    state = .sizeLineFeed
                } else {
                    state = byte == 59 ? .extensionText : .bad
                }
            case .extensionText:
                extra &+= 1
                if byte == 13 {
                    state = .sizeLineFeed
                } else if (byte < 32 && byte != 9) || byte == 127 || extra > Self.mostExtra {
                    state = .bad
                }
            case .sizeLineFeed: state = byte != 10 ? .bad : remaining == 0 ? .trailerStart : .data
            case .trailerStart:
                if byte == 13 {
                    state = .lastLineFeed
                } else {
                    state = byte <= 32 || byte == 58 || byte == 127 ? .bad : .trailerText
                }
            case .trailerText:
                extra &+= 1
                if byte == 13 {
                    state = .trailerLineFeed
                } else if (byte < 32 && byte != 9) || byte == 127 || extra > Self.mostExtra {
                    state = .bad
                }
            case .trailerLineFeed: state = byte == 10 ? .trailerStart : .bad
            case .lastLineFeed:
                state = byte == 10 ? .done : .bad
                return state == .done ? place &+ 1 : place
            case .done, .bad: return place
            }
            if state == .bad { return place }
            place &+= 1
        }
        return place
    }
}
