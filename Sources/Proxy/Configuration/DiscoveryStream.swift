import Wire

/// The HTTP/2 and gRPC side of one stream to the control plane: bytes in, messages and bytes out. No socket inside.
///
/// - Source: RFC 9113; the gRPC protocol over HTTP/2.
struct DiscoveryStream: ~Copyable {
    enum Fault: Error, CustomStringConvertible {
        case connection(String)
        case ended(String)

        var description: String {
            switch self {
            case .connection(let what): "the control plane broke HTTP/2: \(what)"
            case .ended(let why): "the control plane ended the stream: \(why)"
            }
        }
    }

    private static let window: UInt32 = 16 << 20
    private static let largestMessage = 64 << 20
    private static let longestBlock = 65536

    /// To be written to the socket.
    private(set) var output: [UInt8] = []
    private var input: [UInt8] = []
    private var body: [UInt8] = []
    private var headers = HeaderBlockDecoder(longestList: longestBlock)
    private var names = HeaderBlockEncoder()
    /// What the decoder writes to.
    private var text = [UInt8](repeating: 0, count: longestBlock)
    private var block: [UInt8] = []
    private var blockEnds = false
    private var inBlock = false
    private var frameSize = 16384
    private var connectionWindow = 65535
    private var streamWindow = 65535
    private var initialWindow = 65535
    private var received = 0
    private var pending: [UInt8] = []

    static let deltaPath: StaticString =
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

    /// - Parameter path: the gRPC call.
    init(path: StaticString = deltaPath) {
        output = FrameHeader.preface
        frame(.settings, Setting.payload([(Setting.enablePush, 0), (Setting.initialWindow, Self.window)]), stream: 0)
        windowUpdate(stream: 0, Self.window - 65535)
        let fields: [(StaticString, StaticString)] = [
            (":method", "POST"), (":scheme", "http"),
            (":path", path), (":authority", "mesh"), ("te", "trailers"), ("content-type", "application/grpc"),
            ("user-agent", "meshproxy"),
        ]
        frame(.headers, encoded(fields), flags: FrameFlag.endHeaders)
    }

    private mutating func encoded(_ fields: [(StaticString, StaticString)]) -> [UInt8] {
        var most = HeaderBlockEncoder.mostBytesOfBegin
        for (name, value) in fields {
            most += HeaderBlockEncoder.mostBytes(name.utf8CodeUnitCount, value.utf8CodeUnitCount)
        }
        return [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
            guard let out = buffer.baseAddress else { return }
            names.begin(out, &count)
            for (name, value) in fields {
                names.append(
                    name.utf8Start, name.utf8CodeUnitCount, value.utf8Start, value.utf8CodeUnitCount, out, &count)
            }
        }
    }

    mutating func takeOutput() -> [UInt8] {
        let bytes = output
        output = []
        return bytes
    }

    /// Sends one message, as the peer's windows allow.
    mutating func send(_ message: [UInt8]) {
        pending.append(0)
        for shift in stride(from: 24, through: 0, by: -8) {
            pending.append(UInt8(truncatingIfNeeded: message.count >> shift))
        }
        pending += message
        flush()
    }

    private mutating func flush() {
        while !pending.isEmpty {
            let count = min(pending.count, frameSize, connectionWindow, streamWindow)
            if count <= 0 { return }
            frame(.data, Array(pending[..<count]))
            pending.removeFirst(count)
            connectionWindow -= count
            streamWindow -= count
        }
    }

    private mutating func frame(_ kind: FrameKind, _ payload: [UInt8], flags: UInt8 = 0, stream: UInt32 = 1) {
        FrameHeader(length: payload.count, kind: kind, flags: flags, stream: stream).write(to: &output)
        output += payload
    }

    private mutating func windowUpdate(stream: UInt32, _ increment: UInt32) {
        var payload: [UInt8] = []
        for shift in stride(from: UInt32(24), through: 0, by: -8) {
            payload.append(UInt8(truncatingIfNeeded: increment >> shift))
        }
        frame(.windowUpdate, payload, stream: stream)
    }

    /// Takes bytes from the socket and gives the whole messages among them.
    mutating func receive(_ bytes: ArraySlice<UInt8>) throws(Fault) -> [[UInt8]] {
        input += bytes
        var place = 0
        var messages: [[UInt8]] = []
        while let header = FrameHeader(input, at: place) {
            if header.length > 16384 { throw .connection("a frame of \(header.length) bytes") }
            guard input.count - place >= FrameHeader.size + header.length else { break }
            let start = place + FrameHeader.size
            try take(header, input[start..<start + header.length], &messages)
            place = start + header.length
        }
        if place > 0 { input.removeFirst(place) }
        return messages
    }

    private mutating func take(_ header: FrameHeader, _ payload: ArraySlice<UInt8>, _ messages: inout [[UInt8]])
        throws(Fault)
    {
        if inBlock && header.kind != FrameKind.continuation.rawValue { throw .connection("a header block cut off") }
        switch FrameKind(rawValue: header.kind) {
        case .data:
            let data = try unpadded(payload, header.flags)
            received += header.length
            if received >= 1 << 20 {
                windowUpdate(stream: 0, UInt32(received))
                windowUpdate(stream: 1, UInt32(received))
                received = 0
            }
            try message(data, &messages)
            if header.flags & FrameFlag.endStream != 0 { throw .ended("without trailers") }
        case .headers:
            var data = try unpadded(payload, header.flags)
            if header.flags & FrameFlag.priority != 0 { data = data.dropFirst(5) }
            block = Array(data)
            blockEnds = header.flags & FrameFlag.endStream != 0
            inBlock = true
            if header.flags & FrameFlag.endHeaders != 0 { try endBlock() }
        case .continuation:
            if !inBlock { throw .connection("a continuation of nothing") }
            block += payload
            if block.count > 65536 { throw .connection("a header block of more than 64 KiB") }
            if header.flags & FrameFlag.endHeaders != 0 { try endBlock() }
        case .settings:
            if header.flags & FrameFlag.acknowledged != 0 { return }
            for (key, value) in Setting.read(payload) {
                if key == Setting.initialWindow {
                    streamWindow += Int(value) - initialWindow
                    initialWindow = Int(value)
                }
                if key == Setting.frameSize { frameSize = min(Int(value), 16384) }
            }
            frame(.settings, [], flags: FrameFlag.acknowledged, stream: 0)
            flush()
        case .ping:
            if header.flags & FrameFlag.acknowledged == 0 {
                frame(.ping, Array(payload), flags: FrameFlag.acknowledged, stream: 0)
            }
        case .windowUpdate:
            guard payload.count == 4 else { throw .connection("a window update of \(payload.count) bytes") }
            let increment = Int(payload.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7FFF_FFFF)
            if header.stream == 0 { connectionWindow += increment } else { streamWindow += increment }
            flush()
        case .resetStream: throw .ended("reset")
        case .goAway: throw .ended("it goes away")
        case .priority, .pushPromise, nil: break
        }
    }

    private func unpadded(_ payload: ArraySlice<UInt8>, _ flags: UInt8) throws(Fault) -> ArraySlice<UInt8> {
        if flags & FrameFlag.padded == 0 { return payload }
        guard let padding = payload.first, Int(padding) < payload.count else {
            throw .connection("padding longer than its frame")
        }
        return payload.dropFirst().dropLast(Int(padding))
    }

    private mutating func endBlock() throws(Fault) {
        inBlock = false
        let fields = try decoded()
        func value(_ name: String) -> String? { fields.first { $0.name == name }?.value }
        if let status = value(":status"), status != "200" { throw .ended("HTTP status \(status)") }
        if let status = value("grpc-status"), status != "0" {
            throw .ended("gRPC status \(status) \(value("grpc-message") ?? "")")
        }
        if blockEnds { throw .ended("finished") }
    }

    private mutating func decoded() throws(Fault) -> [(name: String, value: String)] {
        var fault: HPACKFault?
        var outcome = HeaderBlockDecoder.Outcome.complete
        var fields: [(name: String, value: String)] = []
        block.withUnsafeBufferPointer { block in
            text.withUnsafeMutableBufferPointer { text in
                guard let start = block.baseAddress, let out = text.baseAddress else { return }
                do throws(HPACKFault) { outcome = try headers.decode(start, block.count, into: out, text.count) } catch
                {
                    fault = error
                    return
                }
                for place in 0..<headers.fieldCount {
                    let field = headers.fields[place]
                    let name = text[Int(field.nameOffset)..<Int(field.nameOffset + field.nameLength)]
                    let value = text[Int(field.valueOffset)..<Int(field.valueOffset + field.valueLength)]
                    fields.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
                }
            }
        }
        if let fault { throw .connection("a header block that cannot be read (\(fault))") }
        if outcome == .tooLarge { throw .connection("a header block of too many fields") }
        return fields
    }

    private mutating func message(_ data: ArraySlice<UInt8>, _ messages: inout [[UInt8]]) throws(Fault) {
        body += data
        var place = 0
        while body.count - place >= 5 {
            let length = body[place + 1..<place + 5].reduce(0) { $0 << 8 | Int($1) }
            if body[place] != 0 { throw .connection("a compressed message") }
            if length > Self.largestMessage { throw .connection("a message of \(length) bytes") }
            guard body.count - place - 5 >= length else { break }
            messages.append(Array(body[place + 5..<place + 5 + length]))
            place += 5 + length
        }
        if place > 0 { body.removeFirst(place) }
    }
}
