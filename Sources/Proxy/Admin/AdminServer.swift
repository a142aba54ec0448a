import CKernel
import Glibc
import Kernel
import Loop
import Wire

/// Serves health, metrics and admin pages from one thread of its own, so that no reader disturbs traffic.
struct AdminServer: ~Copyable {
    private struct Visitor {
        var descriptor: CInt
        var door: AdminPages.Door
        var input: [UInt8] = []
        var output: [UInt8] = []
        var written = 0
        var closes = false
        var since: UInt64
        /// A stream of records being sent, and until when.
        var tap: Tap?
        var tapsUntil: UInt64 = 0
        var isChunked = false
    }

    private static let mostVisitors = 256
    private static let patience: UInt64 = 60_000_000_000
    private var doors: [(descriptor: CInt, door: AdminPages.Door)]
    private let pages: AdminPages
    /// Readable when another process has the doors.
    private var farewell: CInt
    private var visitors: [Visitor] = []
    private var parser = HeadParser()
    /// Rung by taps that have something.
    private let bell = weft_eventfd()

    /// Opens the listeners; a port of 0 leaves one out. The admin page is for loopback only.
    ///
    /// - Parameter handed: sockets of the process before this one, by name.
    /// - Returns: the listening sockets, named for the next.
    @discardableResult
    static func start(
        state: ProgramState, options: ProgramOptions, handed: [String: CInt] = [:]
    ) throws(SystemCallFailed) -> [(name: String, descriptor: CInt)] {
        var doors: [(descriptor: CInt, door: AdminPages.Door)] = []
        var named: [(name: String, descriptor: CInt)] = []
        let wanted: [(IPv4, Int, AdminPages.Door)] = [
            (.any, options.healthPort, .health), (.any, options.metricsPort, .metrics),
            (.loopback, options.adminPort, .admin),
        ]
        for (address, port, door) in wanted where port > 0 {
            let name = HandedSockets.key("\(door)", "\(address)", port)
            let descriptor = handed[name] ?? weft_listen_ipv4(address.value, UInt16(clamping: port), 0, 64)
            if descriptor < 0 { throw SystemCallFailed("listen", code: -descriptor, on: "\(address):\(port)") }
            named.append((name, descriptor))
            doors.append((descriptor, door))
        }
        if doors.isEmpty { return [] }
        let pages = AdminPages(state: state)
        let opened = doors
        _ = Thread.start("admin") {
            var server = AdminServer(doors: opened, pages: pages)
            server.run()
        }
        return named
    }

    private init(doors: [(descriptor: CInt, door: AdminPages.Door)], pages: AdminPages) {
        self.doors = doors
        self.pages = pages
        farewell = pages.state.farewell
    }

    private mutating func run() {
        while true {
            var waiting = doors.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            for visitor in visitors {
                let events = visitor.output.isEmpty ? POLLIN : POLLOUT
                waiting.append(pollfd(fd: visitor.descriptor, events: Int16(events), revents: 0))
            }
            waiting.append(pollfd(fd: bell, events: Int16(POLLIN), revents: 0))
            waiting.append(pollfd(fd: farewell, events: Int16(POLLIN), revents: 0))
            let patience: CInt = visitors.contains { $0.tap != nil } ? 250 : 5000
            if poll(&waiting, nfds_t(waiting.count), patience) < 0 { continue }
            let now = Clock.monotonic
            if waiting[waiting.count - 2].revents != 0 {
                var count: UInt64 = 0
                _ = read(bell, &count, 8)
            }
            for place in visitors.indices.reversed() {
                let isReady = waiting[doors.count + place].revents != 0
                var visitor = visitors[place]
                visitors[place].input = []
                visitors[place].output = []
                var goesOn = isReady ? serve(&visitor, now) : now < visitor.since + Self.patience
                if goesOn && visitor.tap != nil { goesOn = stream(&visitor, now) }
                if !goesOn { visitor.tap?.end() }
                visitors[place] = visitor
                if goesOn { continue }
                close(visitors[place].descriptor)
                visitors.remove(at: place)
            }
            if waiting[waiting.count - 1].revents != 0 { leave() }
            for (place, entry) in doors.enumerated() where waiting[place].revents != 0 {
                var address: UInt32 = 0
                var port: UInt16 = 0
                let descriptor = weft_tcp_accept(entry.descriptor, &address, &port)
                if descriptor < 0 { continue }
                if visitors.count >= Self.mostVisitors {
                    close(descriptor)
                } else {
                    visitors.append(Visitor(descriptor: descriptor, door: entry.door, since: now))
                }
            }
        }
    }

    /// The next process answers from now on, but for the visitors who are here.
    private mutating func leave() {
        for entry in doors { close(entry.descriptor) }
        doors.removeAll()
        farewell = -1
    }

    /// False when the visitor is to be let go.
    private mutating func serve(_ visitor: inout Visitor, _ now: UInt64) -> Bool {
        visitor.since = now
        if !visitor.output.isEmpty { return write(&visitor) }
        var space = [UInt8](repeating: 0, count: 8192)
        let count = space.withUnsafeMutableBytes { weft_tcp_receive(visitor.descriptor, $0.baseAddress, $0.count) }
        if count == -Int(EAGAIN) { return true }
        if count <= 0 { return false }
        // Who watches has nothing more to say.
        if visitor.tap != nil { return true }
        visitor.input += space[..<count]
        if visitor.input.count > 16384 { return false }
        let outcome = visitor.input.withUnsafeBufferPointer { bytes in
            bytes.baseAddress.map { parser.request($0, bytes.count) } ?? .incomplete
        }
        switch outcome {
        case .incomplete: return true
        case .refused(let fault):
            respond(&visitor, .text("\(fault.word)\n", status: fault.status), closes: true, isHead: false)
        case .complete:
            let head = parser.head
            let request = AdminRequest(parser, visitor.input)
            visitor.input.removeFirst(head.length)
            let hasBody = head.contentLength > 0 || head.isChunked
            let closes = head.saysClose || (head.minorVersion == 0 && !head.saysKeepAlive) || hasBody
            if visitor.door == .admin && request.path == "/tap" && request.method == "GET" {
                beginStream(&visitor, request, closes: closes)
            } else {
                let page = pages.page(visitor.door, request)
                respond(&visitor, page, closes: closes, isHead: head.isHead, takesGzip: request.takesGzip)
            }
        }
        return write(&visitor)
    }

    private func beginStream(_ visitor: inout Visitor, _ request: AdminRequest, closes: Bool) {
        switch RecordPages(state: pages.state).tap(request, bell: bell) {
        case .failure(let refusal): respond(&visitor, refusal.page, closes: closes, isHead: false)
        case .success(let found):
            visitor.tap = found.tap
            visitor.tapsUntil = found.until
            visitor.isChunked = !request.isHTTP10
            visitor.closes = closes || request.isHTTP10
            var head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncache-control: no-store\r\n"
            head += visitor.isChunked ? "transfer-encoding: chunked\r\n" : ""
            head += visitor.closes ? "connection: close\r\n" : ""
            visitor.output = Array((head + "\r\n").utf8)
            visitor.written = 0
        }
    }

    /// Sends on what a tap has; false when the visitor is to be let go.
    private func stream(_ visitor: inout Visitor, _ now: UInt64) -> Bool {
        visitor.since = now
        guard visitor.output.isEmpty, let tap = visitor.tap else { return true }
        var (lines, isOver) = tap.take()
        if now >= visitor.tapsUntil { isOver = true }
        if lines.isEmpty && !isOver { return true }
        if visitor.isChunked && !lines.isEmpty {
            lines = Array("\(String(lines.count, radix: 16))\r\n".utf8) + lines + [13, 10]
        }
        if isOver {
            tap.end()
            visitor.tap = nil
            if visitor.isChunked { lines += Array("0\r\n\r\n".utf8) }
        }
        visitor.output = lines
        visitor.written = 0
        return write(&visitor)
    }

    private func respond(
        _ visitor: inout Visitor, _ page: AdminPages.Page, closes: Bool, isHead: Bool, takesGzip: Bool = false
    ) {
        var page = page
        var head = "HTTP/1.1 \(page.status) \(reasonPhrase(page.status))\r\ncontent-type: \(page.type)\r\n"
        if takesGzip && page.body.count >= 1024 {
            page.body = Gzip.packed(page.body)
            head += "content-encoding: gzip\r\n"
        }
        head += "vary: accept, accept-encoding\r\ncontent-length: \(page.body.count)\r\ncache-control: no-store\r\n"
        if closes { head += "connection: close\r\n" }
        visitor.output = Array((head + "\r\n").utf8) + (isHead ? [] : page.body)
        visitor.written = 0
        visitor.closes = closes
    }

    private func write(_ visitor: inout Visitor) -> Bool {
        while visitor.written < visitor.output.count {
            let rest = visitor.output.count - visitor.written
            let count = visitor.output.withUnsafeBytes {
                weft_tcp_send(visitor.descriptor, $0.baseAddress?.advanced(by: visitor.written), rest)
            }
            if count == -Int(EAGAIN) { return true }
            if count < 0 { return false }
            visitor.written += count
        }
        visitor.output = []
        return !visitor.closes || visitor.tap != nil
    }
}
