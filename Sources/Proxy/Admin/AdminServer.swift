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
    }

    private static let mostVisitors = 256
    private static let patience: UInt64 = 60_000_000_000
    private let doors: [(descriptor: CInt, door: AdminPages.Door)]
    private let pages: AdminPages
    private var visitors: [Visitor] = []
    private var parser = HeadParser()

    /// Opens the listeners; a port of 0 leaves one out. The admin page is for loopback only.
    static func start(state: ProgramState, options: ProgramOptions) throws(SystemCallFailed) {
        var doors: [(descriptor: CInt, door: AdminPages.Door)] = []
        let wanted: [(IPv4, Int, AdminPages.Door)] = [
            (.any, options.healthPort, .health), (.any, options.metricsPort, .metrics),
            (.loopback, options.adminPort, .admin),
        ]
        for (address, port, door) in wanted where port > 0 {
            let descriptor = weft_listen_ipv4(address.value, UInt16(clamping: port), 0, 64)
            if descriptor < 0 { throw SystemCallFailed("listen", code: -descriptor, on: "\(address):\(port)") }
            doors.append((descriptor, door))
        }
        if doors.isEmpty { return }
        let pages = AdminPages(state: state)
        let opened = doors
        _ = Thread.start("admin") {
            var server = AdminServer(doors: opened, pages: pages)
            server.run()
        }
    }

    private init(doors: [(descriptor: CInt, door: AdminPages.Door)], pages: AdminPages) {
        self.doors = doors
        self.pages = pages
    }

    private mutating func run() {
        while true {
            var waiting = doors.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            for visitor in visitors {
                let events = visitor.output.isEmpty ? POLLIN : POLLOUT
                waiting.append(pollfd(fd: visitor.descriptor, events: Int16(events), revents: 0))
            }
            if poll(&waiting, nfds_t(waiting.count), 5000) < 0 { continue }
            let now = Clock.monotonic
            for place in visitors.indices.reversed() {
                let isReady = waiting[doors.count + place].revents != 0
                var visitor = visitors[place]
                visitors[place].input = []
                visitors[place].output = []
                let goesOn = isReady ? serve(&visitor, now) : now < visitor.since + Self.patience
                visitors[place] = visitor
                if goesOn { continue }
                close(visitors[place].descriptor)
                visitors.remove(at: place)
            }
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

    /// False when the visitor is to be let go.
    private mutating func serve(_ visitor: inout Visitor, _ now: UInt64) -> Bool {
        visitor.since = now
        if !visitor.output.isEmpty { return write(&visitor) }
        var space = [UInt8](repeating: 0, count: 8192)
        let count = space.withUnsafeMutableBytes { weft_tcp_receive(visitor.descriptor, $0.baseAddress, $0.count) }
        if count == -Int(EAGAIN) { return true }
        if count <= 0 { return false }
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
            let method = String(decoding: visitor.input[..<head.methodLength], as: UTF8.self)
            let target = String(
                decoding: visitor.input[head.pathOffset..<head.pathOffset + head.pathLength], as: UTF8.self)
            let path = String(target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)[0])
            visitor.input.removeFirst(head.length)
            let hasBody = head.contentLength > 0 || head.isChunked
            let closes = head.saysClose || (head.minorVersion == 0 && !head.saysKeepAlive) || hasBody
            respond(&visitor, pages.page(visitor.door, method, path), closes: closes, isHead: head.isHead)
        }
        return write(&visitor)
    }

    private func respond(_ visitor: inout Visitor, _ page: AdminPages.Page, closes: Bool, isHead: Bool) {
        var head = "HTTP/1.1 \(page.status) \(reasonPhrase(page.status))\r\ncontent-type: \(page.type)\r\n"
        head += "content-length: \(page.body.count)\r\ncache-control: no-store\r\n"
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
        return !visitor.closes
    }
}
