import Glibc
import NIOCore
import Transport
import Wire

/// One request to be sent, and what to do with its answer.
struct LoadRequest {
    var method = "GET"
    var path = "/"
    var body: [UInt8] = []
}

/// Where requests come from and answers go to.
protocol LoadSource: AnyObject {
    /// `nil` when there is nothing more to ask.
    func next() -> LoadRequest?
    func answered(status: Int, bytes: Int, nanoseconds: UInt64)
    /// A piece of an answer's body, as it comes.
    func received(_ bytes: ByteBufferView)
}

/// A client's HTTP/2 connection that asks one thing after the other, or a few that never end.
final class LoadConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let source: any LoadSource
    private let host: String
    /// How many requests are open at a time.
    private let width: Int
    private var context: ChannelHandlerContext?
    private var input = ByteBuffer()
    private var decoder = HeaderBlockDecoder()
    private let scratch = UnsafeMutablePointer<UInt8>.allocate(capacity: 65536)
    private var nextStream: UInt32 = 1
    private struct Open {
        var began: UInt64
        var status = 0
        var bytes = 0
    }
    private var open: [UInt32: Open] = [:]
    private var unacknowledged = 0
    private let ended: EventLoopPromise<Void>

    /// Between an answer and the next request.
    private let pause: TimeAmount?

    init(
        _ source: any LoadSource, host: String, width: Int = 1, pause: TimeAmount? = nil, ended: EventLoopPromise<Void>
    ) {
        self.source = source
        self.pause = pause
        self.host = host
        self.width = width
        self.ended = ended
    }

    deinit { scratch.deallocate() }

    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// Says hello and asks the first.
    func start() {
        guard let context else { return }
        var out = context.channel.allocator.buffer(capacity: 4096)
        out.writeBytes(FrameHeader.preface)
        let settings = Setting.payload([(Setting.initialWindow, 16 << 20), (Setting.enablePush, 0)])
        write(.settings, 0, 0, settings, to: &out)
        write(.windowUpdate, 0, 0, [0x3F, 0xFF, 0, 0], to: &out)
        for _ in 0..<width { ask(&out) }
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
    }

    private func write(
        _ kind: FrameKind, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8], to out: inout ByteBuffer
    ) {
        out.writeMultipleIntegers(
            UInt8(truncatingIfNeeded: payload.count >> 16), UInt16(truncatingIfNeeded: payload.count), kind.rawValue,
            flags, stream)
        out.writeBytes(payload)
    }

    /// Literal fields without indexing: the same bytes whatever was sent before.
    private func block(_ request: LoadRequest) -> [UInt8] {
        var block: [UInt8] = []
        func field(_ name: String, _ value: String) {
            block.append(0)
            for text in [name, value] {
                precondition(text.utf8.count < 16384)
                if text.utf8.count < 127 {
                    block.append(UInt8(text.utf8.count))
                } else {
                    var rest = text.utf8.count - 127
                    block.append(127)
                    while rest >= 128 {
                        block.append(UInt8(rest & 127) | 128)
                        rest >>= 7
                    }
                    block.append(UInt8(rest))
                }
                block += text.utf8
            }
        }
        field(":method", request.method)
        field(":scheme", "https")
        field(":path", request.path)
        field(":authority", host)
        field("user-agent", "apiserver-load/1")
        field("accept", "application/json")
        if !request.body.isEmpty {
            field("content-type", "application/json")
            field("content-length", String(request.body.count))
        }
        return block
    }

    private func ask(_ out: inout ByteBuffer) {
        guard let request = source.next() else {
            if open.isEmpty { context?.close(promise: nil) }
            return
        }
        let stream = nextStream
        nextStream += 2
        open[stream] = Open(began: Self.now())
        let isEmpty = request.body.isEmpty
        let flags = FrameFlag.endHeaders | (isEmpty ? FrameFlag.endStream : 0)
        write(.headers, flags, stream, block(request), to: &out)
        if !isEmpty { write(.data, FrameFlag.endStream, stream, request.body, to: &out) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        var out = ByteBuffer()
        while let header = nextHeader(), input.readableBytes >= FrameHeader.size + header.length {
            input.moveReaderIndex(forwardBy: FrameHeader.size)
            guard let payload = input.readSlice(length: header.length) else { break }
            take(header, payload, &out)
        }
        if out.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(out), promise: nil) }
    }

    /// Without an array for each: the client has to leave the server its share of the machine.
    private func nextHeader() -> FrameHeader? {
        input.withUnsafeReadableBytes { bytes -> FrameHeader? in
            guard bytes.count >= FrameHeader.size else { return nil }
            let first = bytes.loadUnaligned(as: UInt32.self).bigEndian
            var header = FrameHeader(length: Int(first >> 8), kind: .data, flags: bytes[4])
            header.kind = UInt8(truncatingIfNeeded: first)
            header.stream = bytes.loadUnaligned(fromByteOffset: 5, as: UInt32.self).bigEndian & 0x7FFF_FFFF
            return header
        }
    }

    private func take(_ header: FrameHeader, _ payload: ByteBuffer, _ out: inout ByteBuffer) {
        switch FrameKind(rawValue: header.kind) {
        case .settings:
            if header.flags & FrameFlag.acknowledged == 0 { write(.settings, FrameFlag.acknowledged, 0, [], to: &out) }
        case .headers:
            payload.withUnsafeReadableBytes { bytes in
                guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
                _ = try? decoder.decode(start, bytes.count, into: scratch, 65536)
            }
            if decoder.fieldCount > 0 {
                let place = decoder.fields[0]
                let value = UnsafeBufferPointer(start: scratch + Int(place.valueOffset), count: Int(place.valueLength))
                open[header.stream]?.status = Int(String(decoding: value, as: UTF8.self)) ?? 0
            }
        case .data:
            unacknowledged += header.length
            if unacknowledged > 4 << 20 {
                let count = UInt32(unacknowledged)
                let size = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> UInt32($0)) }
                write(.windowUpdate, 0, 0, size, to: &out)
                // A stream that never ends needs its own window too.
                if width > 1 || open.count == 1 {
                    for stream in open.keys { write(.windowUpdate, 0, stream, size, to: &out) }
                }
                unacknowledged = 0
            }
            open[header.stream]?.bytes += header.length
            source.received(payload.readableBytesView)
        case .resetStream:
            if let one = open.removeValue(forKey: header.stream) {
                source.answered(status: 0, bytes: one.bytes, nanoseconds: Self.now() - one.began)
            }
            ask(&out)
            return
        case .goAway: context?.close(promise: nil)
        default: break
        }
        let isEnd = header.kind == FrameKind.data.rawValue || header.kind == FrameKind.headers.rawValue
        guard isEnd, header.flags & FrameFlag.endStream != 0, let one = open.removeValue(forKey: header.stream) else {
            return
        }
        let took = Self.now() - one.began
        source.answered(status: one.status, bytes: one.bytes, nanoseconds: took)
        guard let pause, let context else { return ask(&out) }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: pause - .nanoseconds(Int64(min(took, UInt64(pause.nanoseconds))))) {
            bound.value.askNow()
        }
    }

    private func askNow() {
        var out = ByteBuffer()
        ask(&out)
        if out.readableBytes > 0 { context?.writeAndFlush(wrapOutboundOut(out), promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { ended.succeed() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        say("connection: \(error)")
        context.close(promise: nil)
    }
}
