import Glibc
import Wire

extension Engine {
    /// What a finished call on a stream has come to.
    func noteCall(_ client: Conn, _ draft: RecordPointer) {
        if client.pointee.grpcStatus != Connection.noGRPCStatus {
            draft.pointee.grpcStatus = client.pointee.grpcStatus
        }
        if client.pointee.fd >= 0 { return }
        draft.pointee.requestMessages = state(client).pointee.messages.count
        if let upstream = client.pointee.peer, upstream.pointee.fd < 0 {
            draft.pointee.responseMessages = state(upstream).pointee.messages.count
        }
    }

    /// Composes our own answer to a gRPC call: trailers only, the outcome in `grpc-status`.
    mutating func composeGRPCAnswer(_ client: Conn, status: Int, _ reason: StaticString, _ out: Bytes, _ at: inout Int)
    {
        let code = grpcCode(ofStatus: status)
        client.pointee.grpcStatus = code
        put("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: ", out, &at)
        putNumber(Int(code), out, &at)
        put("\r\ngrpc-message: ", out, &at)
        put(reason, out, &at)
        put("\r\nx-weft-reason: ", out, &at)
        put(reason, out, &at)
        putAnswerID(client, out, &at)
        put("\r\ncontent-length: 0\r\n", out, &at)
        answerLines.withUnsafeBufferPointer { lines in
            if let start = lines.baseAddress { put(start, lines.count, out, &at) }
        }
        answerLines.removeAll(keepingCapacity: true)
        put("\r\n", out, &at)
    }
}

/// Counts the messages of a gRPC stream by their prefixes: a byte of flags, and four of length.
struct MessageCount {
    private(set) var count: UInt32 = 0
    private var prefix: UInt8 = 0
    private var length: UInt32 = 0
    /// Bytes of the message that are still to come.
    private var left: UInt32 = 0

    mutating func take(_ bytes: UnsafePointer<UInt8>, _ total: Int) {
        var place = 0
        while place < total {
            if left > 0 {
                let step = min(Int(left), total &- place)
                left &-= UInt32(truncatingIfNeeded: step)
                place &+= step
                continue
            }
            if prefix > 0 { length = length << 8 | UInt32(bytes[place]) }
            prefix &+= 1
            place &+= 1
            if prefix == 5 {
                count &+= 1
                prefix = 0
                left = length
                length = 0
            }
        }
    }
}

/// What a status of HTTP means to gRPC.
func grpcCode(ofStatus status: Int) -> UInt8 {
    switch status {
    case 401: 16
    case 403: 7
    case 404: 12
    case 429: 8
    case 503: 14
    case 504: 4
    default: 13
    }
}
