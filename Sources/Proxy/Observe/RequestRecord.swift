/// A place in a record's text.
struct TextPiece {
    var offset: UInt16 = 0
    var count: UInt16 = 0
}

/// What authorization said of a request.
enum Verdict: UInt8 {
    /// No policy applies.
    case none
    case allowed
    case denied
    /// Would have been denied by a policy that is only tried.
    case dryRunDenied
    /// No token, or not a good one.
    case unauthenticated
}

/// What a limit or breaker said of a request.
enum LimitVerdict: UInt8 {
    case none, rateLimited, overloaded, tooManyConnections, tooManyRequests, tooManyPending, tooManyRetries, queued
}

/// One try to have a request answered by one endpoint.
struct AttemptRecord {
    /// Microseconds after the exchange began.
    var startedAfter: UInt32 = 0
    var lasted: UInt32 = 0
    var address: UInt32 = 0
    /// The endpoint's labels, in the label book.
    var peer: UInt32 = 0
    var port: UInt16 = 0
    /// 0 when no answer came.
    var status: UInt16 = 0
    var flag = ResponseFlag.none
    var isReused = false
}

/// What happened to one request, or to one opaque connection. Plain memory of one size, so that it can be kept in a ring and
/// handed to another thread without a reference count. While the exchange lasts it stands beside its connection; see `draft`.
///
/// Times are the loop's, in nanoseconds; 0 when the exchange did not come so far.
struct RequestRecord {
    static let mostAttempts = 6
    static let mostCaptures = 12
    static let textSize = 576

    /// Numbered in each loop from 1.
    var sequence: UInt64 = 0
    var started: UInt64 = 0
    var headReceived: UInt64 = 0
    var authorized: UInt64 = 0
    var routed: UInt64 = 0
    var chosen: UInt64 = 0
    var connected: UInt64 = 0
    var sent: UInt64 = 0
    var responded: UInt64 = 0
    var ended: UInt64 = 0
    var traceHigh: UInt64 = 0
    var traceLow: UInt64 = 0
    /// The caller's span; 0 when the trace begins here.
    var parentSpan: UInt64 = 0
    var span: UInt64 = 0
    /// Gateways: the span of the call to the endpoint, a child of `span`.
    var clientSpan: UInt64 = 0
    var requestBytes: UInt64 = 0
    var responseBytes: UInt64 = 0
    /// gRPC: messages each way.
    var requestMessages: UInt32 = 0
    var responseMessages: UInt32 = 0
    /// In the label book: services, peers, and names of rules and policies.
    var service: UInt32 = 0
    var peer: UInt32 = 0
    var rule: UInt32 = 0
    var policy: UInt32 = 0
    /// The limit that refused the request, among the names.
    var limitName: UInt32 = 0
    var remoteAddress: UInt32 = 0
    var originalAddress: UInt32 = 0
    var originalPort: UInt16 = 0
    var status: UInt16 = 0
    /// 255 when the answer had none.
    var grpcStatus = UInt8.max
    var loop: UInt8 = 0
    var kind = SeriesKey.Kind.http
    var side = Side.outbound
    var secure = Security.none
    var flag = ResponseFlag.none
    var verdict = Verdict.none
    var limit = LimitVerdict.none
    var attemptCount: UInt8 = 0
    var minorVersion: UInt8 = 1
    /// The wire to the client: 1 or 2.
    var majorVersion: UInt8 = 1
    /// The trace is recorded.
    var isSampled = false
    /// A span of this exchange is to be exported.
    var hasSpan = false
    /// How the trace's context came, and so goes on.
    var context = TraceForm.none
    /// For which access logs, by their place.
    var logs: UInt8 = 0
    /// Which telemetry settings `captures` follow.
    var settings: UInt32 = 0
    /// Why the answer was made here; "" when it was not. Text that lives as long as the program.
    var reason: StaticString = ""
    var requestID = TextPiece()
    var method = TextPiece()
    var host = TextPiece()
    var path = TextPiece()
    /// Of the JWT.
    var subject = TextPiece()
    /// What the limit counted the request by.
    var limitKey = TextPiece()
    /// Header values the settings ask for, those of requests first.
    var captures: InlineArray<12, TextPiece> = .init(repeating: TextPiece())
    var attempts: InlineArray<6, AttemptRecord> = .init(repeating: AttemptRecord())
    var textCount: UInt16 = 0
    /// Last, since only what is used of it is copied.
    var text: InlineArray<576, UInt8> = .init(repeating: 0)
}

typealias RecordPointer = UnsafeMutablePointer<RequestRecord>

extension UnsafeMutablePointer where Pointee == RequestRecord {
    /// The whole record but its text.
    static var textOffset: Int { MemoryLayout<RequestRecord>.offset(of: \.text) ?? 0 }

    /// The record's text as plain memory.
    @inline(__always) var textStart: UnsafeMutablePointer<UInt8> {
        (UnsafeMutableRawPointer(self) + Self.textOffset).assumingMemoryBound(to: UInt8.self)
    }
}
