package import NIOCore

/// Cuts a gRPC stream's bytes into messages, and frames messages to send.
///
/// - Source: the gRPC over HTTP/2 protocol: a compression flag (1 byte), the length (4 bytes, big-endian), the message.
package struct GRPCFrames: Sendable {
    /// How a gRPC call ends (`grpc-status`).
    package enum Status: Int, Sendable {
        case ok = 0
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        case aborted = 10
        case outOfRange = 11
        case unimplemented = 12
        case internalError = 13
        case unavailable = 14
        case dataLoss = 15
        case unauthenticated = 16
    }

    package struct Fault: Error, Sendable, Hashable {
        package var status: Status
        package var message: String

        package init(status: Status, message: String) {
            self.status = status
            self.message = message
        }
    }

    /// For both ends of a connection. A socket that becomes writable while it is flushed makes NIOHTTP2 send data before headers it
    /// still holds, which it asserts not to do; so it never counts as unwritable. What waits is bounded all the same, by the windows
    /// of the calls under way.
    package static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 512 << 20, high: 1 << 30)

    private var bytes: [UInt8] = []
    private var start = 0
    private let limit: Int

    /// `limit`: the largest message taken, in bytes.
    package init(limit: Int = 4 << 20) { self.limit = limit }

    package mutating func append(_ more: some Collection<UInt8>) { bytes.append(contentsOf: more) }

    /// The next whole message, or `nil` until more bytes come.
    package mutating func next() throws(Fault) -> [UInt8]? {
        guard bytes.count - start >= 5 else { return nil }
        if bytes[start] != 0 {
            throw Fault(status: .unimplemented, message: "compressed messages are not supported")
        }
        let length = bytes[start + 1..<start + 5].reduce(0) { $0 << 8 | Int($1) }
        guard length <= limit else {
            throw Fault(status: .resourceExhausted, message: "message of \(length) bytes is larger than \(limit)")
        }
        guard bytes.count - start >= 5 + length else { return nil }
        let message = Array(bytes[start + 5..<start + 5 + length])
        start += 5 + length
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: bytes.capacity <= 65536)
            start = 0
        } else if start > 65536 {
            bytes.removeFirst(start)
            start = 0
        }
        return message
    }

    package static func framed(_ message: [UInt8]) -> [UInt8] {
        let count = UInt32(message.count)
        return [0, UInt8(count >> 24), UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255)] + message
    }
}
