import Wire

/// Bytes both ways, in whatever pieces: what a SPDY session runs in.
package protocol ByteTunnel: Sendable {
    /// `nil` at the end.
    func receive() async throws -> [UInt8]?
    func send(_ bytes: [UInt8]) async throws
    func close() async
}

/// The bytes of a WebSocket's messages, one after the other.
package struct WebSocketTunnel: ByteTunnel {
    private let socket: WebSocket
    package init(_ socket: WebSocket) { self.socket = socket }

    package func receive() async throws -> [UInt8]? {
        switch try await socket.receive() {
        case .binary(let bytes): bytes
        case .text(let text): Array(text.utf8)
        case nil: nil
        }
    }
    package func send(_ bytes: [UInt8]) async throws { try await socket.send(bytes) }
    package func close() async { await socket.close() }
}

/// The server's end of a SPDY/3.1 session, as Kubernetes' clients use it for port forwarding: streams that the client opens.
///
/// Neither end of that protocol keeps windows: a stream whose reader is slow holds up the session, not memory.
package actor SPDYSession {
    /// Streams open at once, and bytes that wait for a stream's reader.
    private static let mostStreams = 256
    private static let mostWaiting = 1 << 20

    private let tunnel: any ByteTunnel
    private let compression: SPDYCompression
    private var streams: [UInt32: SPDYStream] = [:]
    private var lastStream: UInt32 = 0
    /// The last write: writes go out in the order they were asked for.
    private var lastWrite: Task<Void, any Error>?

    package init(_ tunnel: any ByteTunnel) throws {
        self.tunnel = tunnel
        compression = try SPDYCompression()
    }

    /// Reads until the client leaves, or sends what is no SPDY; each new stream is served in a task of its own.
    package func run(_ serve: @escaping @Sendable (SPDYStream) async -> Void) async throws {
        defer {
            for stream in streams.values { stream.inbox.end() }
            streams = [:]
        }
        try await withThrowingDiscardingTaskGroup { group in
            var reader = SPDYFrameReader()
            while let bytes = try await tunnel.receive() {
                reader.add(bytes)
                while let frame = try reader.next() {
                    guard let stream = try await take(frame) else { continue }
                    group.addTask { await serve(stream) }
                }
            }
            group.cancelAll()
        }
    }

    /// - Returns: a stream that is new.
    private func take(_ frame: SPDYFrame) async throws -> SPDYStream? {
        switch frame {
        case .synStream(let id, let isLast, let block):
            // Read even when it is refused: blocks after it build on it.
            let headers = try SPDYHeaders.decode(compression.decompress(block))
            guard id % 2 == 1, id > lastStream else { throw SPDYFault("stream \(id) does not follow \(lastStream)") }
            lastStream = id
            if streams.count >= Self.mostStreams {
                try await write(.reset(stream: id, status: SPDYFrame.refusedStream))
                return nil
            }
            let stream = SPDYStream(id: id, headers: headers, session: self)
            if isLast { stream.inbox.end() }
            streams[id] = stream
            return stream
        case .data(let id, let isLast, let bytes):
            guard let stream = streams[id] else { return nil }
            if !bytes.isEmpty { await stream.inbox.add(bytes, most: Self.mostWaiting) }
            if isLast { stream.inbox.end() }
        case .headers(_, _, let block), .synReply(_, _, let block): _ = try compression.decompress(block)
        case .reset(let id, _): streams.removeValue(forKey: id)?.inbox.end(isReset: true)
        case .ping(let number) where number % 2 == 1: try await write(.ping(number))
        case .ping, .goAway, .other: break
        }
        return nil
    }

    func reply(_ id: UInt32) async throws {
        let block = compression.compress(SPDYHeaders.encode([]))
        try await write(.synReply(stream: id, isLast: false, block: block))
    }

    func write(_ frame: SPDYFrame) async throws {
        let (before, tunnel, bytes) = (lastWrite, tunnel, frame.bytes)
        let mine = Task {
            try await before?.value
            try await tunnel.send(bytes)
        }
        lastWrite = mine
        try await mine.value
    }

    /// Nothing more goes either way on the stream.
    func forget(_ id: UInt32) { streams.removeValue(forKey: id)?.inbox.end() }
}

/// One stream of a session, opened by the client.
package final class SPDYStream: Sendable {
    let id: UInt32
    package let headers: [String: String]
    let inbox = StreamInbox()
    private let session: SPDYSession

    init(id: UInt32, headers: [String: String], session: SPDYSession) {
        self.id = id
        self.headers = headers
        self.session = session
    }

    /// Accepts the stream; before that nothing may be sent on it.
    package func accept() async throws { try await session.reply(id) }

    /// The client wants no more of the stream, either way.
    package var wasReset: Bool { inbox.wasReset }

    /// `nil` when the client sends no more.
    package func receive() async -> [UInt8]? { await inbox.next() }

    package func send(_ bytes: [UInt8]) async throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            try await session.write(.data(stream: id, isLast: false, bytes: Array(rest.prefix(64 << 10))))
            rest = rest.dropFirst(64 << 10)
        }
    }

    /// Says that no more comes; the client may go on sending.
    package func finish() async { try? await session.write(.data(stream: id, isLast: true, bytes: [])) }

    package func refuse() async {
        try? await session.write(.reset(stream: id, status: SPDYFrame.refusedStream))
        await session.forget(id)
    }

    /// Forgets the stream, once both ends are through with it.
    package func close() async { await session.forget(id) }
}
