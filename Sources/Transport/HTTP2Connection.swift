import NIOCore
import NIOHTTP1
import Wire

/// Why a connection or one of its streams ends (RFC 9113 §7).
enum HTTP2Fault: UInt32 {
    case none = 0, `protocol` = 1, `internal` = 2, flowControl = 3, streamClosed = 5, frameSize = 6, refused = 7,
        cancel = 8, compression = 9, calm = 11
}

/// One client's HTTP/2 connection. What its streams say in one turn of the loop goes out in one write.
final class HTTP2Connection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    static let mostStreams = 250
    static let frameSize = 16384
    /// What a client may send on a stream before its handler takes it.
    static let streamWindow = 256 << 10
    static let connectionWindow = 4 << 20
    /// Streams a client may begin and take back before we end the connection.
    private static let mostResets = 500
    private static let longestBlock = 64 << 10
    /// Written before the socket has taken what was there; more waits on the streams.
    private static let mostUnsent = 1 << 20

    let settings: ConnectionSettings
    let info: ConnectionInfo
    let loop: any EventLoop
    let channel: any Channel
    let executor: LoopExecutor
    private(set) var context: ChannelHandlerContext?

    private var input = HTTP2Input(largestFrame: frameSize)
    var decoder = HeaderBlockDecoder(longestList: 48 << 10)
    /// Answers go a short way, where Huffman's code costs more than it saves.
    var encoder = HeaderBlockEncoder(usesHuffman: false)
    /// A header block that came in more than one frame.
    private var block: [UInt8] = []
    private var blockStream: UInt32 = 0
    private var blockEndsStream = false

    var streams: [UInt32: HTTP2Stream] = [:]
    private var lastStream: UInt32 = 0
    /// Heads that came in this read and whose bodies may have come with them.
    private var fresh: [UInt32] = []
    var sendWindow = 65535
    private var receiveWindow = connectionWindow
    private var peerInitialWindow = 65535
    var peerFrameSize = 16384
    private var resets = 0
    private var controlFrames = 0
    private var isGoingAway = false
    private var isClosed = false

    var out = ByteBuffer()
    /// What was sent last at once; as much is made room for the next time, since what has to grow is copied.
    private var lastFlushed = 0
    private var isFlushPlanned = false
    private var lastUse = NIODeadline.now()
    private var idleTimer: Scheduled<Void>?

    init(_ settings: ConnectionSettings, _ info: ConnectionInfo, _ channel: any Channel) {
        self.settings = settings
        self.info = info
        self.channel = channel
        loop = channel.eventLoop
        executor = LoopExecutor.of(channel.eventLoop)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let ours: [(UInt16, UInt32)] = [
            (Setting.concurrentStreams, UInt32(Self.mostStreams)), (Setting.initialWindow, UInt32(Self.streamWindow)),
            (Setting.headerListSize, 48 << 10),
        ]
        frame(.settings, payload: Setting.payload(ours))
        windowUpdate(0, Self.connectionWindow - 65535)
        flush()
        watchIdleness(settings.idleLimit)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        idleTimer?.cancel()
        leaveAll()
    }

    func channelInactive(context: ChannelHandlerContext) {
        leaveAll()
        context.fireChannelInactive()
    }

    private func leaveAll() {
        isClosed = true
        let left = streams
        streams = [:]
        for stream in left.values { stream.leave() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        input.take(unwrapInboundIn(data))
        while !isClosed {
            switch input.next() {
            case .frame(let header, let payload): take(header, payload)
            case .more: return
            case .tooLarge: return fail(.frameSize)
            case .notHTTP2:
                channel.close(promise: nil)
                isClosed = true
            }
        }
    }

    private func take(_ header: FrameHeader, _ payload: ByteBuffer) {
        // A header block's frames follow each other without anything between (RFC 9113 §6.10).
        if blockStream != 0, header.kind != FrameKind.continuation.rawValue || header.stream != blockStream {
            return fail(.protocol)
        }
        switch FrameKind(rawValue: header.kind) {
        case .data: data(header, payload)
        case .headers: headers(header, payload)
        case .continuation: continuation(header, payload)
        case .priority, nil: break
        case .resetStream:
            guard header.length == 4 else { return fail(.frameSize) }
            guard header.stream != 0, header.stream <= lastStream else { return fail(.protocol) }
            resets += 1
            if resets > Self.mostResets { return fail(.calm) }
            streams.removeValue(forKey: header.stream)?.leave()
        case .settings: peerSettings(header, payload)
        case .pushPromise: fail(.protocol)
        case .ping:
            guard header.length == 8, header.stream == 0 else { return fail(.frameSize) }
            guard header.flags & FrameFlag.acknowledged == 0, countControl() else { return }
            frame(.ping, flags: FrameFlag.acknowledged, payload: Array(payload.readableBytesView))
            planFlush()
        case .goAway: isGoingAway = true
        case .windowUpdate: windowOpened(header, payload)
        }
    }

    /// Frames that make work and carry no request, in one turn between flushes.
    private func countControl() -> Bool {
        controlFrames += 1
        if controlFrames > 1000 { fail(.calm) }
        return !isClosed
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        let begun = fresh
        fresh = []
        for number in begun { if let stream = streams[number] { run(number, stream) } }
        if out.readableBytes > 0 { flush() }
        context.fireChannelReadComplete()
    }

    // MARK: Requests

    private func headers(_ header: FrameHeader, _ payload: ByteBuffer) {
        guard header.stream & 1 == 1 else { return fail(.protocol) }
        guard let body = header.content(of: payload, mayHavePriority: true) else { return fail(.protocol) }
        let endsStream = header.flags & FrameFlag.endStream != 0
        if header.flags & FrameFlag.endHeaders != 0 {
            body.withUnsafeReadableBytes { headBlock(header.stream, $0, endsStream: endsStream) }
            return
        }
        block = Array(body.readableBytesView)
        blockStream = header.stream
        blockEndsStream = endsStream
    }

    private func continuation(_ header: FrameHeader, _ payload: ByteBuffer) {
        guard blockStream != 0 else { return fail(.protocol) }
        block += payload.readableBytesView
        guard block.count <= Self.longestBlock else { return fail(.calm) }
        guard header.flags & FrameFlag.endHeaders != 0 else {
            // Empty frames would go on for ever.
            if header.length == 0 { _ = countControl() }
            return
        }
        let (whole, number) = (block, blockStream)
        block = []
        blockStream = 0
        whole.withUnsafeBytes { headBlock(number, $0, endsStream: blockEndsStream) }
    }

    private func headBlock(_ number: UInt32, _ bytes: UnsafeRawBufferPointer, endsStream: Bool) {
        var request = HTTP2Request()
        let scratch = executor.scratch.bytes
        let empty: [UInt8] = [0]
        let outcome = empty.withUnsafeBufferPointer { nothing -> HeaderBlockDecoder.Outcome? in
            let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? nothing.baseAddress
            guard let start else { return nil }
            return try? decoder.decode(start, bytes.count, into: scratch, LoopExecutor.Scratch.capacity)
        }
        guard let outcome else { return fail(.compression) }
        for index in 0..<decoder.fieldCount {
            let place = decoder.fields[index]
            request.add(
                name: UnsafeBufferPointer(start: scratch + Int(place.nameOffset), count: Int(place.nameLength)),
                value: UnsafeBufferPointer(start: scratch + Int(place.valueOffset), count: Int(place.valueLength)))
        }
        if let stream = streams[number] {
            // Trailers: only their end counts.
            guard endsStream, !stream.isPeerDone else { return reset(number, .protocol) }
            end(number, stream)
            return
        }
        guard number > lastStream else {
            // A stream that has ended: what was on its way before the peer knew.
            if endsStream { return }
            return fail(.streamClosed)
        }
        lastStream = number
        if isGoingAway || streams.count >= Self.mostStreams { return reset(number, .refused) }
        begin(number, request, outcome, endsStream: endsStream)
    }

    private func begin(
        _ number: UInt32, _ request: HTTP2Request, _ outcome: HeaderBlockDecoder.Outcome, endsStream: Bool
    ) {
        let exchange = Exchange(
            self, loop: loop, number: number, isHeadRequest: request.method == "HEAD", bodyLimit: settings.bodyLimit)
        let stream = HTTP2Stream(
            self, exchange, request, sendWindow: peerInitialWindow, receiveWindow: Self.streamWindow)
        stream.announced = request.length
        streams[number] = stream
        if outcome == .tooLarge {
            stream.isPeerDone = endsStream
            stream.isRunning = true
            refuse(exchange, .requestHeaderFieldsTooLarge, "the request has too many headers, or one that is too large")
            return
        }
        guard request.isWhole else { return reset(number, .protocol) }
        if endsStream { end(number, stream) } else { fresh.append(number) }
    }

    private func refuse(_ exchange: Exchange, _ status: HTTPResponseStatus, _ why: String) {
        let text =
            #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":""# + why
            + #"","reason":"BadRequest","code":"# + "\(status.code)}"
        let headers: HTTPHeaders = ["content-type": "application/json", "content-length": "\(text.utf8.count)"]
        _ = exchange.respond(AnswerHead(status: status, headers: headers), Array(text.utf8))
        exchange.finish()
    }

    private func end(_ number: UInt32, _ stream: HTTP2Stream) {
        if stream.announced > 0 { return reset(number, .protocol) }
        stream.isPeerDone = true
        stream.exchange.endBody()
        run(number, stream)
        if stream.isOurDone { streams[number] = nil }
    }

    private func run(_ number: UInt32, _ stream: HTTP2Stream) {
        if stream.isRunning { return }
        stream.isRunning = true
        let exchange = stream.exchange
        let body = exchange.isBodyComplete ? HTTPBody(exchange.takeWholeBody()) : HTTPBody(exchange)
        let request = HTTPRequest(
            method: HTTPMethod(rawValue: stream.request.method), target: stream.request.target,
            headers: stream.request.headers, body: body, connection: info)
        let responder = HTTPResponder(exchange, request)
        let handler = settings.handler
        exchange.task = Task(executorPreference: executor) {
            await handler(request, responder)
            await exchange.onLoop { exchange.finish() }
        }
    }

    private func data(_ header: FrameHeader, _ payload: ByteBuffer) {
        guard header.stream != 0, header.stream <= lastStream else { return fail(.protocol) }
        receiveWindow -= header.length
        guard receiveWindow >= 0 else { return fail(.flowControl) }
        if receiveWindow < Self.connectionWindow / 2 {
            windowUpdate(0, Self.connectionWindow - receiveWindow)
            receiveWindow = Self.connectionWindow
            planFlush()
        }
        guard let body = header.content(of: payload, mayHavePriority: false) else { return fail(.protocol) }
        guard let stream = streams[header.stream] else { return }
        guard !stream.isPeerDone else { return reset(header.stream, .streamClosed) }
        stream.receiveWindow -= header.length
        guard stream.receiveWindow >= 0 else { return reset(header.stream, .flowControl) }
        if stream.announced >= 0 {
            guard body.readableBytes <= stream.announced else { return reset(header.stream, .protocol) }
            stream.announced -= body.readableBytes
        }
        // Padding is given back at once, and so is what nobody will take.
        let padding = header.length - body.readableBytes
        if padding > 0 { giveBack(header.stream, stream, padding) }
        if header.length == 0, header.flags & FrameFlag.endStream == 0, !countControl() { return }
        stream.exchange.receive(body.readableBytesView)
        if header.flags & FrameFlag.endStream != 0 { end(header.stream, stream) }
    }

    func giveBack(_ number: UInt32, _ stream: HTTP2Stream, _ count: Int) {
        stream.taken += count
        guard stream.taken >= Self.streamWindow / 2, !stream.isPeerDone else { return }
        windowUpdate(number, stream.taken)
        stream.receiveWindow += stream.taken
        stream.taken = 0
        planFlush()
    }

    // MARK: The peer's settings

    private func peerSettings(_ header: FrameHeader, _ payload: ByteBuffer) {
        guard header.stream == 0, header.length % 6 == 0 else { return fail(.frameSize) }
        if header.flags & FrameFlag.acknowledged != 0 { return }
        guard countControl() else { return }
        let all = Array(payload.readableBytesView)
        for (key, value) in Setting.read(all[...]) {
            switch key {
            case Setting.headerTableSize: encoder.setPeerLimit(Int(min(value, 65536)))
            case Setting.initialWindow:
                guard value <= 0x7FFF_FFFF else { return fail(.flowControl) }
                let change = Int(value) - peerInitialWindow
                peerInitialWindow = Int(value)
                for stream in streams.values { stream.sendWindow += change }
            case Setting.frameSize:
                guard (16384...16_777_215).contains(value) else { return fail(.protocol) }
                peerFrameSize = Int(value)
            default: break
            }
        }
        frame(.settings, flags: FrameFlag.acknowledged)
        pumpAll()
        planFlush()
    }

    private func windowOpened(_ header: FrameHeader, _ payload: ByteBuffer) {
        guard header.length == 4 else { return fail(.frameSize) }
        let bytes = Array(payload.readableBytesView)
        let more = Int(bytes[0] & 0x7F) << 24 | Int(bytes[1]) << 16 | Int(bytes[2]) << 8 | Int(bytes[3])
        guard more > 0 else { return header.stream == 0 ? fail(.protocol) : reset(header.stream, .protocol) }
        if header.stream == 0 {
            sendWindow += more
            guard sendWindow <= 0x7FFF_FFFF else { return fail(.flowControl) }
            pumpAll()
            return
        }
        guard header.stream <= lastStream else { return fail(.protocol) }
        guard let stream = streams[header.stream] else { return }
        stream.sendWindow += more
        guard stream.sendWindow <= 0x7FFF_FFFF else { return reset(header.stream, .flowControl) }
        pump(header.stream, stream)
    }

    // MARK: Writing

    func frame(_ kind: FrameKind, flags: UInt8 = 0, stream: UInt32 = 0, payload: [UInt8] = []) {
        writeHeader(payload.count, kind, flags, stream)
        out.writeBytes(payload)
    }

    func writeHeader(_ length: Int, _ kind: FrameKind, _ flags: UInt8, _ stream: UInt32) {
        makeRoom(length + FrameHeader.size)
        out.writeMultipleIntegers(
            UInt8(truncatingIfNeeded: length >> 16), UInt16(truncatingIfNeeded: length), kind.rawValue, flags, stream)
    }

    func makeRoom(_ count: Int) {
        if out.readableBytes == 0 { out = executor.buffers.take(max(512, count + 64, min(lastFlushed, 256 << 10))) }
    }

    private func windowUpdate(_ stream: UInt32, _ count: Int) {
        writeHeader(4, .windowUpdate, 0, stream)
        out.writeInteger(UInt32(count))
    }

    /// Ends one stream.
    func reset(_ number: UInt32, _ fault: HTTP2Fault) {
        writeHeader(4, .resetStream, 0, number)
        out.writeInteger(fault.rawValue)
        planFlush()
        streams.removeValue(forKey: number)?.leave()
    }

    /// Ends the connection.
    private func fail(_ fault: HTTP2Fault) {
        if isClosed { return }
        goAway(fault)
        flush()
        leaveAll()
        channel.close(promise: nil)
    }

    private func goAway(_ fault: HTTP2Fault) {
        writeHeader(8, .goAway, 0, 0)
        out.writeMultipleIntegers(lastStream, fault.rawValue)
    }

    /// Sends what all streams of this turn of the loop have said.
    func planFlush() {
        if isFlushPlanned { return }
        isFlushPlanned = true
        let bound = NIOLoopBound(self, eventLoop: loop)
        loop.execute { bound.value.flush() }
    }

    func flush() {
        isFlushPlanned = false
        controlFrames = 0
        guard out.readableBytes > 0, let context else { return }
        let bytes = out
        out = ByteBuffer()
        lastFlushed = bytes.readableBytes
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        executor.buffers.give(bytes)
    }

    var takesMore: Bool { out.readableBytes < Self.mostUnsent && channel.isWritable }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { pumpAll() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Ending

    func ended(_ number: UInt32) {
        streams[number] = nil
        lastUse = .now()
        if resets > 0 { resets -= 1 }
        if isGoingAway, streams.isEmpty { closeSoon() }
    }

    private func closeSoon() {
        let bound = NIOLoopBound(self, eventLoop: loop)
        loop.execute {
            bound.value.flush()
            bound.value.channel.close(promise: nil)
        }
    }

    private func watchIdleness(_ time: TimeAmount) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        idleTimer = loop.scheduleTask(in: time) {
            let connection = bound.value
            if connection.isClosed { return }
            let unused = NIODeadline.now() - connection.lastUse
            let limit = connection.settings.idleLimit
            if connection.streams.isEmpty, unused >= limit {
                connection.fail(.none)
            } else {
                connection.watchIdleness(connection.streams.isEmpty ? limit - unused : limit)
            }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is DrainRequest else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        if !isGoingAway {
            isGoingAway = true
            goAway(.none)
            planFlush()
        }
        if streams.isEmpty { closeSoon() }
    }
}
