import CKernel
import Glibc
import Synchronization
import Testing

/// A small HTTP/1.1 server on loopback with a thread a connection: `/echo` gives the body back, `/chunked` answers in chunks, `/close`
/// ends by closing, `/drop-second` closes without an answer when a connection brings a second request, `/name` says who it is.
final class Origin: Sendable {
    var port: UInt16 { door.port }
    let name: String
    private let door = Door()
    private let state = Mutex((connections: 0, requests: 0, heads: [String]()))
    private let mood = Mutex(Mood())

    /// How requests are answered from now on, whatever their path.
    struct Mood: Sendable {
        var status = 200
        var delay: UInt32 = 0  // microseconds
        var headers = ""
    }
    func set(_ mood: Mood) { self.mood.withLock { $0 = mood } }
    func fail(_ status: Int, _ headers: String = "") { set(Mood(status: status, headers: headers)) }
    func recover() { set(Mood()) }

    var connections: Int { state.withLock { $0.connections } }
    var requests: Int { state.withLock { $0.requests } }
    var lastHead: String { state.withLock { $0.heads.last ?? "" } }

    init(name: String = "origin") {
        self.name = name
        door.open { [self] client in
            state.withLock { $0.connections += 1 }
            serve(client)
        }
    }

    func stop() { door.stop() }

    private func serve(_ client: CInt) {
        var reader = SocketReader(client)
        var count = 0
        while let head = reader.head() {
            count += 1
            state.withLock {
                $0.requests += 1
                $0.heads.append(head)
                if $0.heads.count > 16 { $0.heads.removeFirst() }
            }
            let path = head.split(separator: " ")[1]
            if path.hasPrefix("/drop-second"), count == 2 { return }
            if header("expect", head) != nil { _ = sendAll(client, Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)) }
            guard let body = reader.body(head) else { return }
            if path.hasPrefix("/upgrade") {
                _ = sendAll(
                    client,
                    Array("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".utf8))
                while let bytes = reader.some() { if !sendAll(client, bytes) { return } }
                return
            }
            let isHead = head.hasPrefix("HEAD ")
            let mood = mood.withLock { $0 }
            if mood.delay > 0 { usleep(mood.delay) }
            if mood.status != 200 {
                let text = "HTTP/1.1 \(mood.status) Mood\r\n\(mood.headers)content-length: 0\r\n\r\n"
                if !sendAll(client, Array(text.utf8)) { return }
                continue
            }
            var answer: [UInt8]
            if path.hasPrefix("/chunked") {
                answer = Array("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
                var rest = body.isEmpty ? Array("one two three".utf8)[...] : body[...]
                while !rest.isEmpty {
                    let part = rest.prefix(70_000)
                    answer += Array("\(String(part.count, radix: 16))\r\n".utf8) + part + Array("\r\n".utf8)
                    rest = rest.dropFirst(part.count)
                }
                answer += Array("0\r\n\r\n".utf8)
            } else if path.hasPrefix("/close") {
                answer = Array("HTTP/1.1 200 OK\r\n\r\nuntil the end".utf8)
            } else if path.hasPrefix("/slow") {
                usleep(300_000)
                answer = Array("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".utf8)
            } else {
                let content = path.hasPrefix("/echo") ? body : Array(name.utf8)
                answer = Array(
                    "HTTP/1.1 200 OK\r\ncontent-length: \(content.count)\r\nx-origin: \(name)\r\nx-weft-reason: connect_failure\r\n\r\n"
                        .utf8)
                if !isHead { answer += content }
            }
            if !sendAll(client, answer) || path.hasPrefix("/close") { return }
        }
    }
}

func header(_ name: String, _ head: String) -> String? {
    for line in head.split(separator: "\r\n").dropFirst() {
        guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name else { continue }
        return String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    return nil
}

func blocking(_ descriptor: CInt) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
}

func sendAll(_ descriptor: CInt, _ bytes: [UInt8]) -> Bool {
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes {
            weft_tcp_send(descriptor, $0.baseAddress?.advanced(by: done), bytes.count - done)
        }
        if count <= 0 { return false }
        done += count
    }
    return true
}

/// Runs on a thread of its own, detached.
func spawn(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    pthread_create(
        &thread, nil,
        { argument in
            if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, box.toOpaque())
    pthread_detach(thread)
}

/// Reads HTTP messages from a blocking socket.
struct SocketReader {
    let descriptor: CInt
    private var buffer: [UInt8] = []
    private var start = 0

    init(_ descriptor: CInt) { self.descriptor = descriptor }

    private mutating func fill() -> Bool {
        var space = [UInt8](repeating: 0, count: 262_144)
        let count = space.withUnsafeMutableBytes { weft_tcp_receive(descriptor, $0.baseAddress, $0.count) }
        if count <= 0 { return false }
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += space[..<count]
        return true
    }

    mutating func some() -> [UInt8]? {
        if start == buffer.count && !fill() { return nil }
        let bytes = Array(buffer[start...])
        start = buffer.count
        return bytes
    }

    mutating func head() -> String? {
        var looked = start
        while true {
            var place = max(looked, start)
            while place + 3 < buffer.count {
                if buffer[place] == 13, buffer[place + 1] == 10, buffer[place + 2] == 13, buffer[place + 3] == 10 {
                    let text = String(decoding: buffer[start..<place + 4], as: UTF8.self)
                    start = place + 4
                    return text
                }
                place += 1
            }
            let shift = start
            looked = max(0, buffer.count - 3 - shift)
            if !fill() { return nil }
        }
    }

    mutating func take(_ count: Int) -> [UInt8]? {
        while buffer.count - start < count { if !fill() { return nil } }
        let bytes = Array(buffer[start..<start + count])
        start += count
        return bytes
    }

    mutating func line() -> String? {
        var bytes: [UInt8] = []
        while let byte = take(1) {
            bytes += byte
            if bytes.suffix(2) == [13, 10] { return String(decoding: bytes.dropLast(2), as: UTF8.self) }
        }
        return nil
    }

    mutating func rest() -> [UInt8] {
        while fill() {}
        let bytes = Array(buffer[start...])
        start = buffer.count
        return bytes
    }

    /// The body of a message with this head; nil when the connection ends too early.
    mutating func body(_ head: String, isResponse: Bool = false) -> [UInt8]? {
        if header("transfer-encoding", head) == "chunked" {
            var all: [UInt8] = []
            while let size = line(), let count = Int(size, radix: 16) {
                if count == 0 { return line() == "" ? all : nil }
                guard let part = take(count), line() == "" else { return nil }
                all += part
            }
            return nil
        }
        if let length = header("content-length", head).flatMap({ Int($0) }) { return length == 0 ? [] : take(length) }
        return isResponse ? rest() : []
    }
}

/// A client of one connection.
final class Visitor {
    struct Response {
        var status: Int
        var head: String
        var body: [UInt8]
        var text: String { String(decoding: body, as: UTF8.self) }
        var reason: String? { header("x-weft-reason", head) }
    }

    let descriptor: CInt
    private var hasEnded = false
    private var reader: SocketReader

    init(port: Int) {
        descriptor = weft_connect_ipv4(0x7F00_0001, UInt16(port))
        blocking(descriptor)
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&waiting, 1, 5000)
        reader = SocketReader(descriptor)
    }

    func end() {
        if hasEnded { return }
        hasEnded = true
        close(descriptor)
    }

    func send(_ text: String) -> Bool { sendAll(descriptor, Array(text.utf8)) }
    func send(_ bytes: [UInt8]) -> Bool { sendAll(descriptor, bytes) }
    func some() -> [UInt8]? { reader.some() }
    func rest() -> [UInt8] { reader.rest() }

    func response(toHead: Bool = false) -> Response? {
        guard let head = reader.head(), let status = Int(head.split(separator: " ")[1]) else { return nil }
        if toHead || status < 200 || status == 204 || status == 304 {
            return Response(status: status, head: head, body: [])
        }
        guard let body = reader.body(head, isResponse: true) else { return nil }
        return Response(status: status, head: head, body: body)
    }

    func get(_ path: String, _ headers: String = "", method: String = "GET") -> Response? {
        guard send("\(method) \(path) HTTP/1.1\r\nhost: test\r\n\(headers)\r\n") else { return nil }
        return response(toHead: method == "HEAD")
    }

    func post(_ path: String, _ body: [UInt8]) -> Response? {
        guard send(Array("POST \(path) HTTP/1.1\r\nhost: test\r\ncontent-length: \(body.count)\r\n\r\n".utf8) + body)
        else { return nil }
        return response()
    }
}

/// As in the program: a peer that left is an error of the call, not the end of the process.
private let ignoresBrokenPipes: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

/// A port nobody uses right now.
func freePort() -> Int {
    ignoresBrokenPipes
    while true {
        let port =
            12_000 + Int((UInt32(getpid()) &* 97 &+ nextPort.wrappingAdd(1, ordering: .relaxed).newValue) % 18_000)
        let door = weft_listen_ipv4(0x7F00_0001, UInt16(port), 0, 1)
        if door < 0 { continue }
        close(door)
        return port
    }
}

/// Below the range from which the kernel takes the ports of outgoing connections: none of those can come in between.
private let nextPort = Atomic<UInt32>(0)

/// Waits for a condition, 60 s at most.
func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<6_000 {
        if condition() { return true }
        usleep(10_000)
    }
    return condition()
}

/// Compares without the list of differences `#expect` makes, which takes minutes for long arrays.
func expectBody(_ found: [UInt8]?, _ wanted: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
    let isSame = found == wanted
    let seen = found.map { "\($0.count) bytes" } ?? "no answer"
    #expect(isSame, "\(seen) instead of \(wanted.count) bytes", sourceLocation: sourceLocation)
}
