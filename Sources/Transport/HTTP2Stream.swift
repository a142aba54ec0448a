import NIOCore
import NIOHTTP1

/// One stream of an HTTP/2 connection, with what waits to be sent on it. On the connection's loop only.
final class HTTP2Stream {
    /// Bytes that may wait on one stream before its writer has to.
    static let mostWaiting = 256 << 10
    /// Less than this is no reason to hold a writer of many answers back.
    static let roomyWaiting = 64 << 10

    // What a push looks at comes first, so that it lies together.

    /// `nil` once the stream has left it.
    private var connection: HTTP2Connection?
    let number: UInt32
    var isOurEndSaid = false
    var isOurDone = false
    /// What the peer lets us send (RFC 9113 §5.2).
    var sendWindow: Int
    private(set) var waiting = 0

    let exchange: Exchange
    let request: HTTP2Request
    /// What we let the peer send.
    var receiveWindow: Int
    /// Received and taken by the handler, but not yet given back to the peer's window.
    var taken = 0
    var isRunning = false
    var isPeerDone = false
    /// The rest of what the client said its body has; -1 when it said nothing.
    var announced = -1

    private var pieces = CircularBuffer<[UInt8]>()
    private var offset = 0

    init(
        _ connection: HTTP2Connection, _ exchange: Exchange, _ request: HTTP2Request, sendWindow: Int,
        receiveWindow: Int
    ) {
        self.connection = connection
        self.exchange = exchange
        number = exchange.number
        self.request = request
        self.sendWindow = sendWindow
        self.receiveWindow = receiveWindow
    }

    /// The connection, or this stream of it, has ended.
    func leave() {
        connection = nil
        exchange.leave()
    }

    func enqueue(_ bytes: [UInt8]) {
        if bytes.isEmpty { return }
        pieces.append(bytes)
        waiting += bytes.count
    }

    /// Moves the first `count` waiting bytes into `out`.
    func move(_ count: Int, to out: inout ByteBuffer) {
        var rest = count
        while rest > 0, let piece = pieces.first {
            let share = min(rest, piece.count - offset)
            piece.withUnsafeBytes { bytes in
                _ = out.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + share]))
            }
            rest -= share
            offset += share
            if offset == piece.count {
                pieces.removeFirst()
                offset = 0
            }
        }
        waiting -= count
    }
}

extension HTTP2Stream: PushTarget {
    var carrier: ObjectIdentifier { connection.map { ObjectIdentifier($0) } ?? ObjectIdentifier(self) }

    func push(_ bytes: [UInt8]) -> PushOutcome {
        guard let connection, !isOurEndSaid else { return .gone }
        return connection.push(self, bytes) ? .taken : .full
    }

    func flush() { connection?.flush() }
}

/// A request's head as HTTP/2 carries it (RFC 9113 §8.3.1).
struct HTTP2Request {
    var method = ""
    var target = ""
    var headers = HTTPHeaders()
    /// Of the body, when the client says it; -1 otherwise.
    var length = -1
    /// Why it is no request.
    var isMalformed = false
    private var hasScheme = false
    private var hasField = false

    /// Takes one field; names and values as they were decoded.
    mutating func add(name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) {
        guard let first = name.first, Self.isValue(value) else {
            isMalformed = true
            return
        }
        let text = String(decoding: value, as: UTF8.self)
        if first == UInt8(ascii: ":") {
            pseudo(String(decoding: name, as: UTF8.self), text)
            return
        }
        hasField = true
        guard name.allSatisfy(Self.isTokenByte) else {
            isMalformed = true
            return
        }
        let key = String(decoding: name, as: UTF8.self)
        headers.add(name: key, value: text)
        // What no HTTP/2 request may have, and what counts here, begins with one of these letters.
        switch first {
        case UInt8(ascii: "c"), UInt8(ascii: "k"), UInt8(ascii: "p"), UInt8(ascii: "t"), UInt8(ascii: "u"): break
        default: return
        }
        switch key {
        case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": isMalformed = true
        case "te": if text != "trailers" { isMalformed = true }
        case "content-length":
            guard let count = Int(text), count >= 0, length < 0 || length == count else {
                isMalformed = true
                return
            }
            length = count
        default: break
        }
    }

    private mutating func pseudo(_ name: String, _ value: String) {
        if hasField { isMalformed = true }
        switch name {
        case ":method":
            if !method.isEmpty || value.isEmpty { isMalformed = true }
            method = value
        case ":path":
            let isSplit = value.utf8.contains { $0 <= 0x20 || $0 == 0x7F }
            if !target.isEmpty || value.isEmpty || isSplit { isMalformed = true }
            target = value
        case ":scheme":
            if hasScheme { isMalformed = true }
            hasScheme = true
        case ":authority": headers.add(name: "host", value: value)
        default: isMalformed = true
        }
    }

    /// Whether all that a request needs is there.
    var isWhole: Bool { !isMalformed && !method.isEmpty && !target.isEmpty && hasScheme }

    /// Whether there is no NUL and no end of a line in it (RFC 9113 §8.2.1).
    private static func isValue(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        for byte in bytes where byte <= 0x0D && (byte == 0x0D || byte == 0x0A || byte == 0) { return false }
        return true
    }

    /// Lower case letters, digits and the signs of RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x61...0x7A, 0x30...0x39, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}
