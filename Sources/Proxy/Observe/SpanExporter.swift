import CKernel
import Glibc
import Loop
import ProxyResources
import Synchronization
import Wire

/// Sends spans to a collector over HTTP, from a thread of its own. The queue is bounded; what does not fit, or cannot be
/// delivered in a few tries, is dropped and counted.
final class SpanExporter: Sendable {
    struct Counts: Sendable {
        var exported: UInt64 = 0
        var dropped: UInt64 = 0
        var failedSends: UInt64 = 0
    }

    /// Where to, and as whom.
    struct Destination: Sendable, Equatable {
        var collector: String
        var path: String
        var resource: [UInt8]
    }

    private static let mostWaiting = 4096
    private static let batch = 512
    private static let tries = 5

    private struct State: ~Copyable {
        var waiting: [[UInt8]] = []
        var destination: Destination?
        var counts = Counts()
        var isEnding = false
        var isRunning = false
    }
    private let state = Mutex(State())
    private let bell = weft_eventfd()

    deinit { close(bell) }

    var counts: Counts { state.withLock { $0.counts } }

    func configure(_ destination: Destination?) { state.withLock { $0.destination = destination } }

    func add(_ spans: [[UInt8]]) {
        let (starts, rings) = state.withLock { state -> (Bool, Bool) in
            if state.destination == nil || state.waiting.count + spans.count > Self.mostWaiting {
                state.counts.dropped += UInt64(spans.count)
                return (false, false)
            }
            state.waiting += spans
            let starts = !state.isRunning
            state.isRunning = true
            return (starts, state.waiting.count >= Self.batch)
        }
        if starts { _ = Thread.start("otlp") { [self] in run() } }
        if rings { ring() }
    }

    /// Lets the thread go, after one more attempt to deliver what waits.
    func end() {
        state.withLock { $0.isEnding = true }
        ring()
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    /// Sends once a second, or when a batch is full.
    private func run() {
        var chance = Chance(seed: Clock.monotonic)
        var link = CollectorLink()
        while true {
            pause(milliseconds: 1000)
            while true {
                let (batch, destination, isEnding) = state.withLock { state in
                    let taken = Array(state.waiting.prefix(Self.batch))
                    state.waiting.removeFirst(taken.count)
                    return (taken, state.destination, state.isEnding)
                }
                guard !batch.isEmpty, let destination else {
                    if isEnding { return }
                    break
                }
                deliver(batch, destination, &link, &chance)
            }
        }
    }

    private func deliver(
        _ batch: [[UInt8]], _ destination: Destination, _ link: inout CollectorLink, _ chance: inout Chance
    ) {
        let body = SpanWriter.request(batch, resource: destination.resource)
        for attempt in 0..<Self.tries {
            switch link.post(body, to: destination) {
            case .taken:
                state.withLock { $0.counts.exported += UInt64(batch.count) }
                return
            case .refused:
                state.withLock {
                    $0.counts.failedSends += 1
                    $0.counts.dropped += UInt64(batch.count)
                }
                return
            case .later(let seconds):
                let isEnding = state.withLock { state in
                    state.counts.failedSends += 1
                    return state.isEnding
                }
                if isEnding || attempt == Self.tries - 1 { break }
                // 0.5 s, 1 s, 2 s, 4 s, each up to half longer; or what the collector asks for, 30 s at most.
                let base = UInt32(500 << attempt)
                let wanted = seconds.map { UInt32(clamping: $0) &* 1000 } ?? base
                pause(milliseconds: Int32(min(wanted, 30_000) + chance.below(base / 2)), untilEnd: true)
                continue
            }
            break
        }
        state.withLock { $0.counts.dropped += UInt64(batch.count) }
    }

    /// Waits for the time, or for the bell; with `untilEnd` a full batch does not end it.
    private func pause(milliseconds: Int32, untilEnd: Bool = false) {
        let limit = Clock.monotonic + UInt64(milliseconds) * 1_000_000
        while true {
            let now = Clock.monotonic
            if now >= limit || state.withLock({ $0.isEnding }) { return }
            var door = pollfd(fd: bell, events: Int16(POLLIN), revents: 0)
            let rang = poll(&door, 1, Int32((limit - now) / 1_000_000) + 1) > 0
            if !rang { return }
            var count: UInt64 = 0
            _ = read(bell, &count, 8)
            if !untilEnd { return }
        }
    }
}

/// A kept connection to a collector.
struct CollectorLink: ~Copyable {
    enum Outcome: Equatable {
        case taken
        case refused
        /// Worth trying again, after so many seconds when it says so.
        case later(Int?)
    }

    private static let patience: Int32 = 5000
    private var descriptor: CInt = -1
    private var collector = ""

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    mutating func post(_ body: [UInt8], to destination: SpanExporter.Destination) -> Outcome {
        let head =
            "POST \(destination.path) HTTP/1.1\r\nhost: \(destination.collector)\r\n"
            + "content-type: application/x-protobuf\r\nuser-agent: weft-meshproxy\r\ncontent-length: \(body.count)\r\n\r\n"
        let bytes = Array(head.utf8) + body
        let wasOpen = descriptor >= 0 && collector == destination.collector
        if let outcome = attempt(bytes, destination.collector) { return outcome }
        // A kept connection may have been closed meanwhile.
        if wasOpen, let outcome = attempt(bytes, destination.collector) { return outcome }
        return .later(nil)
    }

    private mutating func attempt(_ bytes: [UInt8], _ collector: String) -> Outcome? {
        if !connect(collector) { return nil }
        guard send(bytes), let outcome = answer() else {
            close()
            return nil
        }
        return outcome
    }

    private mutating func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    private mutating func connect(_ wanted: String) -> Bool {
        if descriptor >= 0 && wanted == collector { return true }
        close()
        guard let target = SocketAddress(wanted) else { return false }
        descriptor = weft_connect_ipv4(target.address.value, target.port)
        if descriptor < 0 || !ready(POLLOUT) || weft_socket_error(descriptor) != 0 {
            close()
            return false
        }
        collector = wanted
        return true
    }

    private func ready(_ events: Int32) -> Bool {
        var door = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return poll(&door, 1, Self.patience) > 0
    }

    private func send(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let start = done
            let count = bytes.withUnsafeBytes {
                weft_tcp_send(descriptor, $0.baseAddress?.advanced(by: start), bytes.count - start)
            }
            if count == -Int(EAGAIN) {
                if !ready(POLLOUT) { return false }
                continue
            }
            if count <= 0 { return false }
            done += count
        }
        return true
    }

    /// Reads one response; nil when the connection ends before it has begun to make sense.
    private mutating func answer() -> Outcome? {
        var parser = HeadParser()
        var bytes: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 8192)
        while bytes.count < 1 << 16 {
            let count = space.withUnsafeMutableBytes { weft_tcp_receive(descriptor, $0.baseAddress, $0.count) }
            if count == -Int(EAGAIN) {
                if !ready(POLLIN) { return nil }
                continue
            }
            if count <= 0 { return nil }
            bytes += space[..<count]
            let outcome = bytes.withUnsafeBufferPointer { buffer in
                buffer.baseAddress.map { parser.response($0, buffer.count) } ?? .incomplete
            }
            switch outcome {
            case .incomplete: continue
            case .refused: return nil
            case .complete: break
            }
            let head = parser.head
            let text = String(decoding: bytes[..<head.length], as: UTF8.self)
            // A body of known length is read to its end, so that the connection can be kept; otherwise it is closed.
            let missing = head.contentLength < 0 ? -1 : head.contentLength - (bytes.count - head.length)
            if missing != 0 || head.saysClose { close() }
            return Self.meaning(head.status, text)
        }
        return nil
    }

    /// OTLP: 429, 502, 503 and 504 may be tried again; other failures may not.
    static func meaning(_ status: Int, _ head: String) -> Outcome {
        switch status {
        case 200..<300: return .taken
        case 429, 502, 503, 504:
            for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix("retry-after:") {
                return .later(Int(line.dropFirst(12).filter { $0.isNumber }))
            }
            return .later(nil)
        default: return .refused
        }
    }
}
