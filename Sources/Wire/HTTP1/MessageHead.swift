/// One header line in the bytes that were parsed.
package struct HeaderLine {
    /// From the start of the head.
    package var offset: UInt16
    /// Of the whole line with its CRLF.
    package var length: UInt16
    package var nameLength: UInt16
    package var valueOffset: UInt16
    package var valueLength: UInt16
    /// Concerns this connection only (RFC 9110 §7.6.1), or is replaced: not forwarded.
    package var dropped: Bool
}

/// What a message's head says, as places in its bytes. Reused for every message of a loop.
package struct MessageHead {
    /// With the empty line that ends it.
    package var length = 0
    package var startLineLength = 0
    package var methodLength = 0
    /// The target as sent; for the absolute form, `pathOffset` skips scheme and authority.
    package var targetOffset = 0
    package var targetLength = 0
    package var pathOffset = 0
    package var pathLength = 0
    package var hostOffset = 0
    package var hostLength = 0
    package var status = 0
    package var minorVersion = 1
    /// -1 when not given.
    package var contentLength = -1
    package var isChunked = false
    /// A transfer coding that is not exactly `chunked`.
    var hasOtherCoding = false
    package var saysClose = false
    package var saysKeepAlive = false
    package var saysUpgrade = false
    package var expectsContinue = false
    package var isHead = false
    package var isConnect = false
    /// Sending it twice does no more than sending it once (RFC 9110 §9.2.2).
    package var isIdempotent = false
    package var lineCount = 0
    /// Indexes of lines the proxy reads or replaces; -1 when absent.
    package var peerLine = -1
    package var requestIDLine = -1
    package var clientCertificateLine = -1
    package var forwardedForLine = -1
    package var forwardedProtoLine = -1
    package var reasonLine = -1
    package var contentTypeLine = -1
    package var traceParentLine = -1
    package var traceStateLine = -1
    /// `b3`, or the first of `x-b3-*`; their values are found by name.
    package var b3Line = -1
    package var deadlineLine = -1
    package var grpcTimeoutLine = -1
    package var retryDepthLine = -1
    package var attemptLine = -1
    package var retryAfterLine = -1
    package var grpcStatusLine = -1
    var connectionNamesOthers = false

    package init() {}
}

package enum HeadOutcome: Equatable {
    case incomplete
    case complete
    case refused(HeadFault)
}
