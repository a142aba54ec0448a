/// A frame of SPDY/3.1, its header block still compressed.
package enum SPDYFrame: Sendable, Hashable {
    case synStream(stream: UInt32, isLast: Bool, block: [UInt8])
    case synReply(stream: UInt32, isLast: Bool, block: [UInt8])
    case reset(stream: UInt32, status: UInt32)
    case ping(UInt32)
    case goAway(lastStream: UInt32, status: UInt32)
    case headers(stream: UInt32, isLast: Bool, block: [UInt8])
    case data(stream: UInt32, isLast: Bool, bytes: [UInt8])
    /// SETTINGS, WINDOW_UPDATE and kinds that are not known.
    case other(UInt16)

    /// A reset's reasons (SPDY/3.1 §2.6.3).
    package static let protocolError: UInt32 = 1
    package static let refusedStream: UInt32 = 3

    /// As it goes over the wire.
    package var bytes: [UInt8] {
        switch self {
        case .synStream(let stream, let isLast, let block):
            Self.control(1, isLast, word(stream) + word(0) + [0, 0] + block)
        case .synReply(let stream, let isLast, let block): Self.control(2, isLast, word(stream) + block)
        case .reset(let stream, let status): Self.control(3, false, word(stream) + word(status))
        case .ping(let number): Self.control(6, false, word(number))
        case .goAway(let last, let status): Self.control(7, false, word(last) + word(status))
        case .headers(let stream, let isLast, let block): Self.control(8, isLast, word(stream) + block)
        case .data(let stream, let isLast, let bytes):
            word(stream) + [isLast ? 1 : 0] + word(UInt32(bytes.count)).dropFirst() + bytes
        case .other: []
        }
    }

    private static func control(_ kind: UInt8, _ isLast: Bool, _ payload: [UInt8]) -> [UInt8] {
        [0x80, 3, 0, kind, isLast ? 1 : 0] + word(UInt32(payload.count)).dropFirst() + payload
    }
}

/// Big-endian.
private func word(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
}

package struct SPDYFault: Error, Hashable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// Finds the frames in what a peer sends.
package struct SPDYFrameReader: Sendable {
    /// Frames that say they are longer end the session.
    private static let longest = 1 << 20
    private var kept: [UInt8] = []
    private var start = 0

    package init() {}

    package mutating func add(_ bytes: [UInt8]) {
        if start == kept.count {
            kept = bytes
        } else {
            kept = Array(kept[start...]) + bytes
        }
        start = 0
    }

    /// - Returns: `nil` until a whole frame has come.
    package mutating func next() throws(SPDYFault) -> SPDYFrame? {
        guard kept.count - start >= 8 else { return nil }
        let length = Int(word(at: 4) & 0xFF_FFFF)
        if length > Self.longest { throw SPDYFault("a frame of \(length) bytes is too long") }
        guard kept.count - start >= 8 + length else { return nil }
        defer { start += 8 + length }
        let payload = Array(kept[start + 8..<start + 8 + length])
        let isLast = kept[start + 4] & 1 != 0
        if kept[start] & 0x80 == 0 {
            return .data(stream: word(at: 0) & 0x7FFF_FFFF, isLast: isLast, bytes: payload)
        }
        let version = UInt16(kept[start] & 0x7F) << 8 | UInt16(kept[start + 1])
        if version != 3 { throw SPDYFault("version \(version) of SPDY is not 3") }
        let kind = UInt16(kept[start + 2]) << 8 | UInt16(kept[start + 3])
        let fixed: [UInt16: Int] = [1: 10, 2: 4, 3: 8, 6: 4, 7: 8, 8: 4]
        guard let least = fixed[kind] else { return .other(kind) }
        if length < least {
            throw SPDYFault("a control frame of kind \(kind) has \(length) bytes of at least \(least)")
        }
        let first = word(at: 8)
        let stream = first & 0x7FFF_FFFF
        switch kind {
        case 1: return .synStream(stream: stream, isLast: isLast, block: Array(payload[10...]))
        case 2: return .synReply(stream: stream, isLast: isLast, block: Array(payload[4...]))
        case 3: return .reset(stream: stream, status: word(at: 12))
        case 6: return .ping(first)
        case 7: return .goAway(lastStream: stream, status: word(at: 12))
        default: return .headers(stream: stream, isLast: isLast, block: Array(payload[4...]))
        }
    }

    private func word(at place: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 << 8 | UInt32(kept[start + place + $1]) }
    }
}

/// The names and values of a header block, before it is compressed (SPDY/3.1 §2.6.10).
package enum SPDYHeaders {
    private static let most = 256

    package static func encode(_ headers: [(name: String, value: String)]) -> [UInt8] {
        headers.reduce(into: word(UInt32(headers.count))) { bytes, header in
            for text in [header.name.lowercased(), header.value] {
                bytes += word(UInt32(text.utf8.count))
                bytes += Array(text.utf8)
            }
        }
    }

    package static func decode(_ bytes: [UInt8]) throws(SPDYFault) -> [String: String] {
        var rest = bytes[...]
        func number() throws(SPDYFault) -> Int {
            guard rest.count >= 4 else { throw SPDYFault("a header block ends in the middle of a length") }
            let value = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            return value
        }
        func text() throws(SPDYFault) -> String {
            let count = try number()
            guard rest.count >= count else { throw SPDYFault("a header block ends in the middle of a text") }
            let text = String(decoding: rest.prefix(count), as: UTF8.self)
            rest = rest.dropFirst(count)
            return text
        }
        let count = try number()
        if count > most { throw SPDYFault("a header block has \(count) names, \(most) at most") }
        var headers: [String: String] = [:]
        for _ in 0..<count {
            let name = try text().lowercased()
            headers[name] = try text()
        }
        return headers
    }
}
