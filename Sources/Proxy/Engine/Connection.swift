import Wire

typealias Conn = UnsafeMutablePointer<Connection>

enum Role: UInt8 { case free, listener, mailbox, client, upstream, clock }

/// Whose traffic a listener takes: the pod's own calls, calls to the pod, or calls from outside the mesh.
enum Side: UInt8 { case outbound, inbound, gateway }

enum TLSState: UInt8 { case none, handshaking, established }

/// What a client connection is known to carry.
enum Mode: UInt8 {
    /// A trusted proxy in front says first for whom it speaks.
    case introduced
    /// Where it is to go is being asked for.
    case asking
    /// TLS or not, and for which name, is not known yet.
    case sniffing
    /// Not known to be HTTP or not.
    case detecting
    case http
    /// Carries streams (HTTP/2).
    case session
    case opaque
}

/// Where the message a connection sends to us stands.
enum Phase: UInt8 {
    case head, length, chunked, untilClose, done
    /// Opaque bytes both ways.
    case tunnel
    /// The response is complete but not all written.
    case flushing
    /// Told to go; reading what still comes, so that the answer is not lost to a reset.
    case lingering
}

/// One socket and what is in flight on it. Plain memory: lives in a loop's slab, reached by index and generation.
struct Connection {
    var fd: Int32 = -1
    var generation: UInt32 = 0
    var index: Int32 = 0
    /// Free list, or the endpoint's idle list.
    var next: Int32 = -1
    var previous: Int32 = -1
    var role = Role.free
    var side = Side.outbound
    var mode = Mode.detecting
    var tls = TLSState.none
    var phase = Phase.head
    var isConnecting = false
    /// The socket has no more bytes now; the next event clears it.
    var isDrained = false
    /// The peer ended or broke the connection; reads must run until they say so.
    var hangup = false
    var endOfInput = false
    /// Not reading, since the other side cannot take more.
    var isPaused = false
    var isQueued = false
    var closesAfter = false
    var lesson = Lesson.none
    /// Of a tunnel's direction: what this socket sends goes through it. -1 for none.
    var pipe: Int16 = -1
    /// An upstream that served requests before.
    var isReused = false
    /// An upstream that asks an endpoint for its health; `remaining` is the endpoint's number.
    var isProbe = false
    var isIdle = false
    /// Our write side is shut.
    var writeEnded = false
    var sawResponse = false
    var isMutual = false
    /// Its `Effort` is in use.
    var hasEffort = false
    var peer: Conn? = nil
    var ssl: OpaquePointer? = nil

    // Bytes read and not yet taken.
    var input: Bytes? = nil
    var inputStart: Int32 = 0
    var inputEnd: Int32 = 0
    /// Bytes to write.
    var output: Bytes? = nil
    var outputStart: Int32 = 0
    var outputEnd: Int32 = 0
    var inputClass: UInt8 = 1
    var outputClass: UInt8 = 1
    /// The size the next input buffer will have; grows when reads fill it.
    var wantedClass: UInt8 = 1

    var remaining = 0
    var chunks = ChunkScanner()
    /// Why the body this connection sends is refused.
    var badChunk = ChunkFault.none
    /// Interim responses of this exchange.
    var interims: UInt8 = 0
    /// Why the destination is not known; see `Engine+Demand`.
    var unresolved = Unresolved.none
    /// A body where none has a meaning: peers may read it as the next request.
    var hasDoubtfulBody = false
    /// When to look at this connection again, and when the wheel will.
    var deadline: UInt64 = .max
    var armed: UInt64 = .max
    /// The client has to have moved something by then, since `windowBytes`; see `openWindow`.
    var windowEnd: UInt64 = .max
    var windowBytes = 0

    // Where it came from and wanted to go, in host order.
    /// Of the client, as a trusted PROXY protocol header may say; `peerAddress` is that of the socket's other end.
    var remoteAddress: UInt32 = 0
    var peerAddress: UInt32 = 0
    var remotePort: UInt16 = 0
    var originalAddress: UInt32 = 0
    var originalPort: UInt16 = 0
    /// Listener's place, for listeners and clients.
    var listener: Int16 = -1
    /// Outbound: among the counts of use, where destinations are asked for; -1 when it is not counted.
    var destination: Int16 = -1

    // The exchange on a client connection.
    var startedAt: UInt64 = 0
    var table: UnsafeMutablePointer<LiveTable>? = nil
    var backend: Int32 = -1
    var endpoint: Int32 = -1
    var service: UInt32 = 0
    /// Labels of the other workload: inbound the caller, outbound the endpoint.
    var peerLabels: UInt32 = 0
    var status: UInt16 = 0
    var stage = Stage.head
    var parking = Parking.none
    var choice = RouteChoice()
    /// What the route needs for this request beside its choice; most need nothing.
    var extras: Extras? = nil
    /// The response's head is not passed on as it is.
    var editsResponse = false
    /// The route's own checks and faults are behind the request.
    var isAdmitted = false
    /// The client of a mirrored request: nobody.
    var isShadow = false
    /// Where in `output` an answer of the route's own began.
    var replyStart: Int32 = 0
    var affinity = Affinity()
    /// Seconds the response asked not to be sent more.
    var retryAfter: UInt16 = 0
    /// When the request was given to `endpoint`, and when the head of its response was there; 0 while not.
    var attemptAt: UInt64 = 0
    var answeredAt: UInt64 = 0
    var attempts: UInt8 = 0
    /// Of those, not counted: streams that were refused.
    var refusals: UInt8 = 0
    var flag = ResponseFlag.none
    var isHead = false
    var isUpgrade = false
    var isIdempotent = false
    var oldClient = false
    var canReplay = false
    /// An exchange or tunnel is counted as in flight.
    var inExchange = false
    /// The route limits the whole exchange; progress does not push its deadline back.
    var hasTimeout = false
    var secure = Security.none
    var requestBytes = 0
    var responseBytes = 0
    var series: Int32 = -1
    /// The request as sent, kept until the response starts, when all of it fits.
    var replay: Bytes? = nil
    var replayEnd: Int32 = 0
    var replayClass: UInt8 = 0
    /// Inbound: `x-forwarded-client-cert: By=…;URI=…`, made at the handshake.
    var certificateLine: Bytes? = nil
    var certificateLineLength: Int32 = 0
    /// Where in `certificateLine` the peer's SPIFFE ID begins; it ends before the CRLF. 0 when it has none.
    var principalStart: Int32 = 0
    /// Of an errand: the key of the request that waits for its answer, and of that request the errand's; 0 for none.
    var asker: UInt64 = 0
    var external = ExternalVerdict.none
    /// The CUSTOM policy an authorizer was asked for.
    var askedPolicy: Int32 = -1
    /// What authorization changes in the request's head; see `Grants`.
    var grants: Bytes? = nil
    var grantsLength: Int32 = 0
    /// The rule a server name or a listener that forwards led to, of `table`; -1 for none.
    var connectionRule: Int32 = -1
    /// Inbound: hash of the last `x-weft-peer`, whose labels `peerLabels` are.
    var peerHash: UInt64 = 0
    /// Inbound: labels by certificate alone.
    var principalLabels: UInt32 = 0

    /// Bytes leave over TLS, whoever holds the socket.
    var isSecured = false
    /// What a connection that carries streams knows of them.
    var session: UnsafeMutablePointer<Session>? = nil
    /// A stream: the connection it travels on. It has no socket of its own.
    var carrier: Conn? = nil
    /// The request is gRPC, so it gets answers as gRPC.
    var isGRPC = false
    /// The call's outcome; `noGRPCStatus` when none was seen.
    var grpcStatus = Connection.noGRPCStatus
}

extension Connection {
    static let noGRPCStatus: UInt8 = 255
    /// A descriptor that is none; a stream's is -1.
    static let nowhere = Int32.max
    /// Of an HTTP/2 session; it has no socket.
    var isStream: Bool { fd < 0 }
    var hasOutput: Bool { outputEnd > outputStart }
    var inputCount: Int { Int(inputEnd &- inputStart) }
    var canWrite: Bool { !isConnecting && tls != .handshaking }
}
