package import NIOCore
package import TLS

/// TLS over a connection: ciphertext towards the socket, plain bytes towards the rest of the pipeline.
package final class TLSHandler: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private static let mostAtOnce = 64 << 10

    private let session: TLSSession
    /// Answered when the handshake is over, with the peer's certificate if it gave one.
    private let established: EventLoopPromise<Certificate?>
    private let timeLimit: TimeAmount
    private var timer: Scheduled<Void>?
    private var isOver = false
    private var isDone = false
    /// Plain bytes written before the handshake was over.
    private var waiting: [(ByteBuffer, EventLoopPromise<Void>?)] = []
    private var buffers: BufferReserve?

    package init(
        _ session: TLSSession, established: EventLoopPromise<Certificate?>, timeLimit: TimeAmount = .seconds(10)
    ) {
        self.session = session
        self.established = established
        self.timeLimit = timeLimit
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        buffers = LoopExecutor.of(context.eventLoop).buffers
        if context.channel.isActive { start(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    private func start(_ context: ChannelHandlerContext) {
        guard timer == nil else { return }
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: timeLimit) {
            let (handler, context) = loopBound.value
            handler.fail(TLSFailure("TLS handshake: the peer did not finish it in time"), context)
        }
        advance(context)
    }

    private func advance(_ context: ChannelHandlerContext) {
        do throws(TLSFailure) {
            if !isDone, try session.handshake() {
                isDone = true
                timer?.cancel()
                established.succeed(session.peerCertificate)
                for (bytes, promise) in waiting { encrypt(bytes, promise, context) }
                // With them goes what the handshake itself had left to say.
                if !waiting.isEmpty { context.flush() }
                waiting = []
            }
            send(nil, context)
            guard isDone else { return }
            try deliver(context)
            // Reading may have made an answer of the session's own, as to new keys.
            send(nil, context)
        } catch {
            send(nil, context)  // The alert that tells the peer why.
            fail(error, context)
        }
    }

    /// What both ends agreed to speak (ALPN), once the handshake is over.
    var applicationProtocol: String? { session.applicationProtocol }

    /// Hands on what has come. One read of the socket is one read further on, up to a bound.
    private func deliver(_ context: ChannelHandlerContext) throws(TLSFailure) {
        guard let buffers else { return }
        while !isOver, session.waitingInput > 0 {
            var plain = buffers.take(min(Self.mostAtOnce, session.waitingInput))
            var outcome = Result<TLSSession.ReadOutcome, TLSFailure>.success(.needsInput)
            repeat {
                // More comes out than is waiting when a record had begun before.
                if plain.writableBytes == 0 { plain.reserveCapacity(minimumWritableBytes: session.waitingInput) }
                outcome = plain.writeWithTLS(session)
            } while outcome.isBytes && session.waitingInput > 0 && plain.readableBytes < Self.mostAtOnce
            if plain.readableBytes > 0 {
                context.fireChannelRead(wrapInboundOut(plain))
                buffers.give(plain)
            }
            switch try outcome.get() {
            case .bytes: break
            case .needsInput: return
            case .ended:
                isOver = true
                context.close(promise: nil)
            }
        }
    }

    private func fail(_ failure: TLSFailure, _ context: ChannelHandlerContext) {
        if isOver { return }
        isOver = true
        timer?.cancel()
        established.fail(failure)
        for (_, promise) in waiting { promise?.fail(failure) }
        waiting = []
        context.fireErrorCaught(failure)
        context.close(promise: nil)
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isOver { return }
        let bytes = unwrapInboundIn(data)
        bytes.withUnsafeReadableBytes { session.receive($0) { advance(context) } }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// Comes even where the connection ended before it was ever active.
    package func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func end() {
        timer?.cancel()
        isOver = true
        if isDone { return }
        let failure = TLSFailure("TLS handshake: the peer closed the connection")
        established.fail(failure)
        for (_, promise) in waiting { promise?.fail(failure) }
        waiting = []
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = unwrapOutboundIn(data)
        if !isDone {
            waiting.append((bytes, promise))
            return
        }
        encrypt(bytes, promise, context)
    }

    private func encrypt(_ bytes: ByteBuffer, _ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
        guard let buffers else { return }
        // What the session itself had to say goes first.
        if session.pendingOutput > 0 { context.write(wrapOutboundOut(takeOutput(context)), promise: nil) }
        var cipher = buffers.take(TLSSession.mostCiphertext(of: bytes.readableBytes))
        if let failure = cipher.write(bytes, encryptedBy: session) {
            promise?.fail(failure)
            fail(failure, context)
            return
        }
        let hasMore = session.pendingOutput > 0
        context.write(wrapOutboundOut(cipher), promise: hasMore ? nil : promise)
        buffers.give(cipher)
        if hasMore { context.write(wrapOutboundOut(takeOutput(context)), promise: promise) }
    }

    private func takeOutput(_ context: ChannelHandlerContext) -> ByteBuffer {
        let count = session.pendingOutput
        var cipher = context.channel.allocator.buffer(capacity: count)
        cipher.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { session.takeOutput(into: $0) }
        return cipher
    }

    /// Sends what the session itself has to say.
    private func send(_ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
        if session.pendingOutput > 0 { context.writeAndFlush(wrapOutboundOut(takeOutput(context)), promise: promise) }
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input, isDone {
            session.shutDown()
            send(nil, context)
        }
        context.close(mode: mode, promise: promise)
    }
}

extension ByteBuffer {
    /// Appends what the session has decrypted, as far as there is room.
    fileprivate mutating func writeWithTLS(_ session: TLSSession) -> Result<TLSSession.ReadOutcome, TLSFailure> {
        let outcome = withUnsafeMutableWritableBytes { space -> Result<TLSSession.ReadOutcome, TLSFailure> in
            do throws(TLSFailure) { return .success(try session.read(into: space)) } catch { return .failure(error) }
        }
        if case .success(.bytes(let count)) = outcome { moveWriterIndex(forwardBy: count) }
        return outcome
    }

    /// Appends the ciphertext of `plain`, as far as there is room.
    fileprivate mutating func write(_ plain: ByteBuffer, encryptedBy session: TLSSession) -> TLSFailure? {
        var failure: TLSFailure?
        plain.withUnsafeReadableBytes { plain -> Void in
            _ = writeWithUnsafeMutableBytes(minimumWritableBytes: 0) { space -> Int in
                do throws(TLSFailure) { return try session.write(plain, into: space) } catch {
                    failure = error
                    return 0
                }
            }
        }
        return failure
    }
}

extension Result<TLSSession.ReadOutcome, TLSFailure> {
    fileprivate var isBytes: Bool {
        if case .success(.bytes) = self { return true }
        return false
    }
}
