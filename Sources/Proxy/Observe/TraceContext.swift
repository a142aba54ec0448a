import Glibc

/// How a trace's context is written in headers.
enum TraceForm: UInt8 {
    case none
    /// `traceparent` and `tracestate` (W3C Trace Context).
    case w3c
    /// `b3: <trace>-<span>-<sampled>-<parent>`
    case b3
    /// `x-b3-traceid` and its like.
    case b3Multi
}

/// A caller's part of a trace.
struct TraceContext: Equatable {
    var high: UInt64 = 0
    var low: UInt64 = 0
    /// 0 when only a sampling decision came (B3).
    var span: UInt64 = 0
    /// nil when the caller left the decision open (B3).
    var isSampled: Bool? = nil

    /// W3C Trace Context §3.2.2: `00-<32 hex>-<16 hex>-<2 hex>`, lower case. Of later versions the first 55 bytes are read.
    static func parent(_ value: UnsafePointer<UInt8>, _ count: Int) -> TraceContext? {
        guard count >= 55, value[2] == 45, value[35] == 45, value[52] == 45 else { return nil }
        guard let version = Hex.number(value, 2, lowerOnly: true), version != 0xFF else { return nil }
        if version == 0 && count != 55 || count > 55 && value[55] != 45 { return nil }
        guard let high = Hex.number(value + 3, 16, lowerOnly: true),
            let low = Hex.number(value + 19, 16, lowerOnly: true),
            let span = Hex.number(value + 36, 16, lowerOnly: true),
            let flags = Hex.number(value + 53, 2, lowerOnly: true), high | low != 0, span != 0
        else { return nil }
        return TraceContext(high: high, low: low, span: span, isSampled: flags & 1 == 1)
    }

    /// B3's single header: `<16 or 32 hex>-<16 hex>`, then perhaps `-<0, 1 or d>` and `-<parent>`; or a decision alone.
    static func b3(_ value: UnsafePointer<UInt8>, _ count: Int) -> TraceContext? {
        if count == 1 { return decision(value[0]).map { TraceContext(isSampled: $0) } }
        guard let dash = memchr(value, 45, count) else { return nil }
        let length = UnsafeRawPointer(value).distance(to: UnsafeRawPointer(dash))
        guard let (high, low) = traceNumber(value, length), count >= length + 17,
            let span = Hex.number(value + length + 1, 16), span != 0
        else { return nil }
        var context = TraceContext(high: high, low: low, span: span)
        let rest = length + 17
        if count == rest { return context }
        guard count >= rest + 2, value[rest] == 45, let sampled = decision(value[rest + 1]) else { return nil }
        if count != rest + 2 && (count != rest + 19 || value[rest + 2] != 45) { return nil }
        context.isSampled = sampled
        return context
    }

    /// A trace's number in B3: 16 or 32 digits.
    static func traceNumber(_ value: UnsafePointer<UInt8>, _ count: Int) -> (high: UInt64, low: UInt64)? {
        guard count == 16 || count == 32, let low = Hex.number(value + (count - 16), 16) else { return nil }
        let high = count == 32 ? Hex.number(value, 16) : 0
        guard let high, high | low != 0 else { return nil }
        return (high, low)
    }

    /// `d`, debug, is sampled too.
    static func decision(_ byte: UInt8) -> Bool? {
        switch byte {
        case 48: false
        case 49, 100: true
        default: nil
        }
    }
}

enum Hex {
    /// The number `count` hexadecimal digits spell, 16 at most; nil when one is none.
    @inline(__always)
    static func number(_ digits: UnsafePointer<UInt8>, _ count: Int, lowerOnly: Bool = false) -> UInt64? {
        var value: UInt64 = 0
        var place = 0
        while place < count {
            let byte = digits[place]
            var digit = byte &- 48
            if digit > 9 {
                digit = byte &- 87
                if digit < 10 || digit > 15 {
                    if lowerOnly { return nil }
                    digit = byte &- 55
                    if digit < 10 || digit > 15 { return nil }
                }
            }
            value = value << 4 | UInt64(digit)
            place &+= 1
        }
        return value
    }

    /// Writes the last `count` digits of a number.
    @inline(__always)
    static func write(_ value: UInt64, _ count: Int, _ out: UnsafeMutablePointer<UInt8>) {
        var place = 0
        while place < count {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64((count &- 1 &- place) &* 4)) & 15
            out[place] = digit < 10 ? digit &+ 48 : digit &+ 87
            place &+= 1
        }
    }

    static func text(_ value: UInt64, _ count: Int = 16) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, count - digits.utf8.count)) + digits
    }
}
