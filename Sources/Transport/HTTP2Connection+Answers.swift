import NIOCore
import NIOHTTP1
import NIOWebSocket
import Wire

extension HTTP2Connection: AnswerWire {
    /// No more is gathered before it is sent: the same buffers serve the next connection while they are in the caches.
    private static let largeWrite = 128 << 10
    /// What nearly all heads need.
    private static let mostOfHead = 512

    func isWritable(_ exchange: Exchange) -> Bool {
        guard let stream = streams[exchange.number] else { return true }
        return stream.waiting < HTTP2Stream.mostWaiting && takesMore
    }

    func wantsBody(_ exchange: Exchange, taken: Int) {
        if let stream = streams[exchange.number] { giveBack(exchange.number, stream, taken) }
    }

    func invite(_ exchange: Exchange) {
        writeBlock(exchange.number, AnswerHead(status: .continue, headers: [:]), endsStream: false)
        planFlush()
    }

    func send(_ exchange: Exchange, _ head: AnswerHead, _ body: [UInt8], isWhole: Bool) {
        guard let stream = streams[exchange.number] else { return }
        let endsNow = isWhole && body.isEmpty
        makeRoom(min(body.count, Self.frameSize) + Self.mostOfHead)
        writeBlock(exchange.number, head, endsStream: endsNow)
        planFlush()
        if endsNow {
            stream.isOurEndSaid = true
            stream.isOurDone = true
            return
        }
        if isWhole, stream.waiting == 0, body.count <= min(peerFrameSize, stream.sendWindow, sendWindow), takesMore {
            // What can go at once need not wait in line first.
            writeHeader(body.count, .data, FrameFlag.endStream, exchange.number)
            out.writeBytes(body)
            stream.sendWindow -= body.count
            sendWindow -= body.count
            stream.isOurEndSaid = true
            return done(exchange.number, stream)
        }
        stream.enqueue(body)
        stream.isOurEndSaid = isWhole
        pump(exchange.number, stream)
    }

    func send(_ exchange: Exchange, _ bytes: [UInt8]) {
        guard let stream = streams[exchange.number] else { return }
        stream.enqueue(bytes)
        pump(exchange.number, stream)
    }

    func pushTarget(_ exchange: Exchange) -> (any PushTarget)? { streams[exchange.number] }

    /// Whether so little waits on the stream that there may be more at once, even if the connection is busy.
    func push(_ stream: HTTP2Stream, _ bytes: [UInt8]) -> Bool {
        let count = bytes.count
        // Whether the socket takes more changes with a flush, not between pushes.
        let isOpen = out.readableBytes > 0 ? out.readableBytes < Self.largeWrite : takesMore
        guard isOpen, stream.waiting == 0, count <= min(peerFrameSize, stream.sendWindow, sendWindow) else {
            stream.enqueue(bytes)
            pump(stream.number, stream)
            return stream.waiting < HTTP2Stream.roomyWaiting
        }
        // What can go at once need not wait in line first.
        writeHeader(count, .data, 0, stream.number)
        out.writeBytes(bytes)
        stream.sendWindow -= count
        sendWindow -= count
        if out.readableBytes >= Self.largeWrite { flush() }
        return true
    }

    func end(_ exchange: Exchange) {
        guard let stream = streams[exchange.number] else { return }
        stream.isOurEndSaid = true
        pump(exchange.number, stream)
    }

    func finish(_ exchange: Exchange) {
        guard let stream = streams[exchange.number] else { return }
        guard exchange.phase == .ended else { return reset(exchange.number, .internal) }
        exchange.discardBody()
        if stream.isOurDone { close(exchange.number, stream) }
    }

    /// A client that still sends its body is told to stop (RFC 9113 §8.1).
    private func close(_ number: UInt32, _ stream: HTTP2Stream) {
        if stream.isPeerDone {
            stream.leave()
            ended(number)
        } else {
            reset(number, .none)
        }
    }

    func becomeWebSocket(
        _ exchange: Exchange, _ head: AnswerHead, maxFrameSize: Int
    ) throws -> UpgradedConnection<WebSocketFrame> {
        throw WebSocketFault(message: "a WebSocket needs HTTP/1.1")
    }

    func becomeBytes(_ exchange: Exchange, _ head: AnswerHead) throws -> UpgradedConnection<ByteBuffer> {
        throw WebSocketFault(message: "a connection that is to be upgraded must be HTTP/1.1")
    }

    /// Sends what may be sent on a stream.
    func pump(_ number: UInt32, _ stream: HTTP2Stream) {
        if stream.isOurDone { return }
        while stream.waiting > 0, takesMore {
            let count = min(peerFrameSize, stream.waiting, stream.sendWindow, sendWindow)
            if count <= 0 { return }
            let isLast = stream.isOurEndSaid && count == stream.waiting
            writeHeader(count, .data, isLast ? FrameFlag.endStream : 0, number)
            stream.move(count, to: &out)
            stream.sendWindow -= count
            sendWindow -= count
            planFlush()
            if isLast { return done(number, stream) }
        }
        if stream.waiting == 0, stream.isOurEndSaid {
            writeHeader(0, .data, FrameFlag.endStream, number)
            planFlush()
            return done(number, stream)
        }
        if stream.waiting < HTTP2Stream.mostWaiting { stream.exchange.wakeWriter() }
    }

    private func done(_ number: UInt32, _ stream: HTTP2Stream) {
        stream.isOurDone = true
        // The handler may have returned before the last bytes could go.
        if stream.exchange.isFinished { close(number, stream) }
    }

    func pumpAll() {
        for (number, stream) in streams where stream.waiting > 0 || stream.isOurEndSaid { pump(number, stream) }
        for stream in streams.values where stream.waiting < HTTP2Stream.mostWaiting { stream.exchange.wakeWriter() }
    }

    private func writeBlock(_ number: UInt32, _ head: AnswerHead, endsStream: Bool) {
        var room = HeaderBlockEncoder.mostBytesOfBegin + HeaderBlockEncoder.mostBytes(7, 3)
        for (name, value) in head.headers {
            room += HeaderBlockEncoder.mostBytes(name.utf8.count, value.utf8.count)
        }
        if room <= LoopExecutor.Scratch.capacity {
            let scratch = executor.scratch.bytes
            writeBlock(
                number, UnsafeBufferPointer(start: scratch, count: encode(head, scratch)), endsStream: endsStream)
        } else {
            let block = [UInt8](unsafeUninitializedCapacity: room) { space, count in
                if let start = space.baseAddress { count = encode(head, start) }
            }
            block.withUnsafeBufferPointer { writeBlock(number, $0, endsStream: endsStream) }
        }
    }

    /// In as many frames as it takes.
    private func writeBlock(_ number: UInt32, _ block: UnsafeBufferPointer<UInt8>, endsStream: Bool) {
        var place = 0
        repeat {
            let count = min(peerFrameSize, block.count - place)
            let isLast = place + count == block.count
            let flags = (isLast ? FrameFlag.endHeaders : 0) | (endsStream && place == 0 ? FrameFlag.endStream : 0)
            writeHeader(count, place == 0 ? .headers : .continuation, flags, number)
            out.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(block)[place..<place + count]))
            place += count
        } while place < block.count
    }

    /// - Returns: how many bytes the head took; there must be room for the most it may take.
    private func encode(_ head: AnswerHead, _ out: UnsafeMutablePointer<UInt8>) -> Int {
        var at = 0
        encoder.begin(out, &at)
        append(":status", String(head.status.code), out, &at)
        for (name, value) in head.headers where name != "connection" { append(name, value, out, &at) }
        return at
    }

    private func append(_ name: String, _ value: String, _ out: UnsafeMutablePointer<UInt8>, _ at: inout Int) {
        var (name, value) = (name, value)
        let isLower = name.withUTF8 { name in
            for byte in name where byte &- 0x41 < 26 { return false }
            return true
        }
        if !isLower { name = name.lowercased() }
        name.withUTF8 { name in
            value.withUTF8 { value in
                let nothing = UnsafePointer(out)
                encoder.append(
                    name.baseAddress ?? nothing, name.count, value.baseAddress ?? nothing, value.count, out, &at)
            }
        }
    }
}
