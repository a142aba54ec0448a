import Wire

/// How a message stands in a stream's buffers: as HTTP/1 text, whatever frames it came in or leaves in.
enum TextFraming: UInt8 {
    case head, length, chunked
    /// Bytes without framing: a tunnel, or a body that ends with its stream.
    case raw
    case done
}

/// What one HTTP/2 stream is between its frames and the text the rest of the engine sees.
struct StreamState {
    /// 0 until its HEADERS are written.
    var id: UInt32 = 0
    /// Bytes of DATA we may still send; below zero after the peer made its windows smaller (RFC 9113 §6.9.2).
    var sendWindow: Int32 = 0
    /// Bytes of DATA the peer may still send, and what that is refilled to.
    var receiveWindow: Int32 = StreamLimits.window
    var windowSize: Int32 = StreamLimits.window
    /// Bytes that have come and have not been taken; then those taken, whose window has not been given back.
    var owed: Int32 = 0
    var returned: Int32 = 0
    /// The message that comes in: its framing in `input`, and bytes of DATA its content-length leaves; -1 when not given.
    var reads = TextFraming.head
    var expected = -1
    /// Where in `input` the last chunk's size stands, so that more DATA can join it; -1 when it has been taken.
    var chunkPlace: Int32 = -1
    /// The message that goes out: where its text stands.
    var writes = TextFraming.head
    var writesLeft = 0
    var writeChunks = ChunkScanner()
    /// Trailer lines seen so far in what goes out; of a WebSocket opening, what its answer has to say.
    var trailers: Bytes? = nil
    var trailersLength: Int32 = 0
    /// In its session's list of those that wait for their turn to write.
    var isWaiting = false
    /// Bytes of DATA it may write although others wait.
    var turn: Int32 = 0
    var sentEnd = false
    var receivedEnd = false
    /// No frame may follow: one side has reset it.
    var isReset = false
    /// The peer has reset it: nothing more of it may come.
    var isPeerReset = false
    /// What to say when the stream ends before its message does.
    var resetCode = FrameError.none
    /// The other sidecar has it from an HTTP/1 client.
    var carriesHTTP1 = false
    /// CONNECT, or CONNECT with `:protocol`: bytes after the head.
    var isTunnel = false
    var isWebSocket = false
    /// gRPC messages in what came in.
    var messages = MessageCount()
    /// The message that came in is malformed.
    var fault: MessageFault? = nil
}

/// Limits of streams and sessions.
enum StreamLimits {
    static let window: Int32 = 65535
    /// What the window of a stream grows to while its reader keeps up. With a head or trailers it fits the largest buffer.
    static let largestWindow: Int32 = 196_608
    static let connectionWindow: Int32 = 1 << 20
    /// We let peers open this many, and open as many ourselves.
    static let streams = 100
    static let headerList = 65536
    /// Fields of a block; as many as a head may have lines, and its pseudo-fields.
    static let fields = 132
    static let trailers = 16384
    static let frameSize = 16384
    static let continuations: UInt8 = 16
    /// Of a session's output: DATA waits above the first, heads above the second; the rest is for control frames.
    static let outputForData = 131_072
    static let outputForHeads = 196_608
    /// What one of several waiting streams may write at its turn.
    static let turn = 16384
    static let silence = 30 * Limits.second
    static let pingAnswer = 10 * Limits.second
    static let goAwayPause = 1 * Limits.second
    static let idleSession = 300 * Limits.second
    static let sessionsPerEndpoint: Int32 = 64
}
