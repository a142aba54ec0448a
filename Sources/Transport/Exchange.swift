import NIOCore
import NIOHTTP1
import NIOWebSocket

/// What a connection does for one exchange. On its loop only.
protocol AnswerWire: AnyObject {
    /// The head, and with `isWhole` all there is of the answer.
    func send(_ exchange: Exchange, _ head: AnswerHead, _ body: [UInt8], isWhole: Bool)
    func send(_ exchange: Exchange, _ bytes: [UInt8])
    /// Where somebody else than the handler's task sends it from.
    func pushTarget(_ exchange: Exchange) -> (any PushTarget)?
    func end(_ exchange: Exchange)
    func invite(_ exchange: Exchange)
    /// Whether the client takes what is sent to it fast enough.
    func isWritable(_ exchange: Exchange) -> Bool
    /// More of the body may come.
    func wantsBody(_ exchange: Exchange, taken: Int)
    /// The handler has returned.
    func finish(_ exchange: Exchange)
    func becomeWebSocket(
        _ exchange: Exchange, _ head: AnswerHead, maxFrameSize: Int
    ) throws -> UpgradedConnection<WebSocketFrame>
    /// From the head on, the connection is bytes both ways.
    func becomeBytes(_ exchange: Exchange, _ head: AnswerHead) throws -> UpgradedConnection<ByteBuffer>
}

/// The client has stopped to take what it asked for.
package struct ClientTooSlow: Error, CustomStringConvertible {
    package var description: String { "the client takes nothing of what is sent to it" }
}

struct AnswerHead: Sendable {
    let status: HTTPResponseStatus
    let headers: HTTPHeaders
}

/// One request and its answer, between a connection and the handler's task.
///
/// `@unchecked Sendable`: everything is touched on the connection's loop only; what may be called from elsewhere goes there first.
final class Exchange: @unchecked Sendable {
    enum Phase { case waiting, streaming, ended, upgraded }

    let loop: any EventLoop
    /// HTTP/2's number of the stream.
    let number: UInt32
    let isHeadRequest: Bool
    private let bodyLimit: TimeAmount
    /// Gone with the connection or the stream.
    private var wire: (any AnswerWire)?
    var task: Task<Void, Never>?

    private(set) var phase = Phase.waiting
    private(set) var isFinished = false
    private(set) var received: [UInt8] = []
    private(set) var isBodyComplete = false
    /// What comes is counted and thrown away.
    private(set) var discarded = 0
    private var isDiscarding = false
    private var bodyFailure: (any Error)?
    private var bodyWaiter: UnsafeContinuation<Void, Never>?
    private var bodyTimer: Scheduled<Void>?
    private var writeWaiter: UnsafeContinuation<Void, Never>?
    /// A client that takes nothing for this long while something waits for it is given up.
    var stallLimit: TimeAmount?
    private var stallTimer: Scheduled<Void>?
    private var hasStalled = false

    init(_ wire: any AnswerWire, loop: any EventLoop, number: UInt32, isHeadRequest: Bool, bodyLimit: TimeAmount) {
        self.wire = wire
        self.loop = loop
        self.number = number
        self.isHeadRequest = isHeadRequest
        self.bodyLimit = bodyLimit
    }

    var isGone: Bool { wire == nil }

    // MARK: From the connection

    func receive(_ bytes: ByteBufferView) {
        if isDiscarding {
            discarded += bytes.count
            return
        }
        received.append(contentsOf: bytes)
        wakeReader()
    }

    func endBody() {
        isBodyComplete = true
        stopBodyTimer()
        wakeReader()
    }

    /// The whole body, when it came before the handler began.
    func takeWholeBody() -> [UInt8] {
        defer { received = [] }
        return received
    }

    /// The connection, or this stream of it, has ended.
    func leave(_ error: any Error = ChannelError.inputClosed) {
        guard wire != nil else { return }
        wire = nil
        if bodyFailure == nil, !isBodyComplete { bodyFailure = error }
        stopBodyTimer()
        task?.cancel()
        wakeReader()
        wakeWriter()
    }

    func failBody(_ error: any Error) {
        bodyFailure = error
        wakeReader()
    }

    func discardBody() {
        isDiscarding = true
        received = []
    }

    func wakeWriter() {
        guard let waiter = writeWaiter else { return }
        writeWaiter = nil
        stallTimer?.cancel()
        stallTimer = nil
        waiter.resume()
    }

    private func wakeReader() {
        guard let waiter = bodyWaiter else { return }
        bodyWaiter = nil
        waiter.resume()
    }

    private func stopBodyTimer() {
        bodyTimer?.cancel()
        bodyTimer = nil
    }

    // MARK: From the handler

    func bodyChunk() async throws -> [UInt8]? {
        while true {
            let step = await onLoop { self.takeBody() }
            switch step {
            case .success(let bytes?): return bytes
            case .success(nil): break
            case .failure(let end):
                guard let error = end.error else { return nil }
                throw error
            }
            await wait {
                self.bodyWaiter = $0
            } ready: {
                !self.received.isEmpty || self.isBodyComplete || self.bodyFailure != nil
            } cancel: {
                self.wakeReader()
            }
            try Task.checkCancellation()
        }
    }

    private struct BodyEnd: Error { let error: (any Error)? }

    private func takeBody() -> Result<[UInt8]?, BodyEnd> {
        if !received.isEmpty {
            let bytes = received
            received = []
            wire?.wantsBody(self, taken: bytes.count)
            return .success(bytes)
        }
        if let bodyFailure { return .failure(BodyEnd(error: bodyFailure)) }
        if isBodyComplete { return .failure(BodyEnd(error: nil)) }
        // From the first wait on: a handler that streams its answer may leave the body's end unread for hours.
        if bodyTimer == nil {
            let limit = bodyLimit
            bodyTimer = loop.scheduleTask(in: limit) { self.failBody(BodyTooSlow(limit: limit)) }
        }
        return .success(nil)
    }

    /// - Returns: `false` when there is nobody to answer, or the answer has begun already.
    func respond(_ head: AnswerHead, _ body: [UInt8]) -> Bool {
        guard phase == .waiting, let wire else { return false }
        phase = .ended
        wire.send(self, head, isHeadRequest ? [] : body, isWhole: true)
        return true
    }

    func start(_ head: AnswerHead) throws {
        guard phase == .waiting, let wire else { throw ChannelError.ioOnClosedChannel }
        phase = .streaming
        wire.send(self, head, [], isWhole: false)
    }

    func invite() { wire?.invite(self) }

    /// Sends a piece, and waits while the client reads more slowly than we write.
    func write(_ bytes: [UInt8]) async throws {
        let isWritable = try await onLoop { () throws(ChannelError) -> Bool in
            guard self.phase == .streaming, let wire = self.wire else { throw ChannelError.ioOnClosedChannel }
            if !self.isHeadRequest { wire.send(self, bytes) }
            return wire.isWritable(self)
        }
        if !isWritable { try await drain() }
    }

    /// On the loop only; `nil` when there is nobody to send to.
    var pushTarget: (any PushTarget)? { phase == .streaming && !isHeadRequest ? wire?.pushTarget(self) : nil }

    /// Waits until the connection takes more.
    func drain() async throws {
        await wait {
            self.writeWaiter = $0
            self.watchStall()
        } ready: {
            self.wire?.isWritable(self) ?? true
        } cancel: {
            self.wakeWriter()
        }
        try Task.checkCancellation()
        if await onLoop({ self.isGone }) { throw ChannelError.ioOnClosedChannel }
        if await onLoop({ self.hasStalled }) { throw ClientTooSlow() }
    }

    private func watchStall() {
        guard let stallLimit else { return }
        stallTimer = loop.scheduleTask(in: stallLimit) {
            self.hasStalled = true
            self.wakeWriter()
        }
    }

    func end() throws {
        guard phase == .streaming, let wire else { throw ChannelError.ioOnClosedChannel }
        phase = .ended
        wire.end(self)
    }

    func upgrade(_ head: AnswerHead, maxFrameSize: Int) throws -> UpgradedConnection<WebSocketFrame> {
        try leaveHTTP().becomeWebSocket(self, head, maxFrameSize: maxFrameSize)
    }

    func upgradeToBytes(_ head: AnswerHead) throws -> UpgradedConnection<ByteBuffer> {
        try leaveHTTP().becomeBytes(self, head)
    }

    private func leaveHTTP() throws -> any AnswerWire {
        guard phase == .waiting, let wire else { throw ChannelError.ioOnClosedChannel }
        phase = .upgraded
        return wire
    }

    func finish() {
        isFinished = true
        stopBodyTimer()
        wire?.finish(self)
    }

    // MARK: Getting to the loop

    func onLoop<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        if loop.inEventLoop { return try body() }
        let loop = loop
        let result = await withUnsafeContinuation { (answer: UnsafeContinuation<Result<Value, Failure>, Never>) in
            loop.execute {
                do throws(Failure) { answer.resume(returning: .success(try body())) } catch {
                    answer.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// Parks the task until it is woken, unless what it waits for is there.
    private func wait(
        _ park: @escaping @Sendable (UnsafeContinuation<Void, Never>) -> Void, ready: @escaping @Sendable () -> Bool,
        cancel: @escaping @Sendable () -> Void
    ) async {
        let loop = loop
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                let place: @Sendable () -> Void = {
                    if ready() || self.isGone { waiter.resume() } else { park(waiter) }
                }
                if loop.inEventLoop { place() } else { loop.execute(place) }
            }
        } onCancel: {
            loop.execute(cancel)
        }
    }
}
