import Loop
import Wire

/// What a connection that speaks HTTP/2 knows beside its socket. In memory of its own, since most connections are none.
struct Session: ~Copyable {
    var decoder = HeaderBlockDecoder(longestList: StreamLimits.headerList, mostFields: StreamLimits.fields)
    var encoder = HeaderBlockEncoder()
    var streams = StreamMap()
    var flood: FloodBudget
    /// We accepted it; else we made it.
    let isServer: Bool
    /// Frames may be written: the socket and its TLS are there.
    var isReady = false
    /// The peer's preface has come whole; server only.
    var sawPreface = false
    var sawSettings = false
    /// The peer takes CONNECT with `:protocol` (RFC 8441).
    var takesProtocols = false

    /// The peer's streams: the highest number seen. Ours: the next number.
    var lastPeerStream: UInt32 = 0
    var nextStream: UInt32 = 1
    /// Of the peer's.
    var closed = ClosedStreams()
    /// Open streams, with those that have no number yet.
    var open: Int32 = 0
    /// Streams that wait for the session to be ready.
    var pending: [UInt64] = []
    /// Streams that wait for the connection's window or for room in its output, in their order.
    var waiting: [UInt64] = []
    var serving: [UInt64] = []
    var isServing = false

    var sendWindow = 65535
    var receiveWindow = Int(StreamLimits.connectionWindow)
    /// Bytes whose window has not been given back.
    var owed = 0
    /// The connection's window is given back as bytes come, not as they are taken, so that a stream nobody reads holds up no other.
    /// Its own window still bounds what a stream keeps. For peers of the mesh.
    var creditsAtOnce = false
    // The peer's settings.
    var peerWindow: Int32 = 65535
    var peerFrameSize = StreamLimits.frameSize
    var peerStreams: Int32 = Int32(StreamLimits.streams)

    /// The frame in the output that may still grow or get its END_STREAM; -1 when none.
    var frameStart: Int32 = -1
    var frameEnd: Int32 = -1
    var frameStream: UInt32 = 0

    /// A header block of several frames, as far as it has come.
    var block: Bytes? = nil
    var blockClass: UInt8 = 0
    var blockLength = 0
    var blockStream: UInt32 = 0
    var blockEnds = false
    var continuations: UInt8 = 0

    var goingAway = GoingAway.no
    /// The peer's GOAWAY: streams above this number were not worked on.
    var peerLast: UInt32 = .max
    var peerLeaves = false
    /// In its endpoint's list.
    var isPooled = false
    /// Streams have been answered on it.
    var hasServed = false
    var lastFrameAt: UInt64
    /// Since when a client sends the frame that is not whole yet; 0 when all are. Not of DATA, which is as slow as its request may be.
    var partialSince: UInt64 = 0
    var pingAt: UInt64 = 0
    /// Not even control frames find room in its output.
    var isStuck = false

    enum GoingAway: UInt8 { case no, announced, final }

    init(isServer: Bool, now: UInt64) {
        self.isServer = isServer
        flood = FloodBudget(now: now)
        lastFrameAt = now
    }

    /// No stream will come any more.
    var isOver: Bool { goingAway == .final || (peerLeaves && !isServer) }

    /// Whether we may open another stream.
    var hasRoom: Bool {
        !peerLeaves && goingAway == .no && open < min(peerStreams, Int32(StreamLimits.streams))
            && nextStream < 0x7FFF_FF00
    }
}

/// Adds an increment to a window; nil when it would pass 2^31-1 (RFC 9113 §6.9.1).
func widened(_ window: Int, by increment: UInt32) -> Int? {
    let sum = window + Int(increment)
    return sum > 0x7FFF_FFFF ? nil : sum
}
