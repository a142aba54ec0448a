import Glibc
import Synchronization
import Wire

/// Answers each connection on a thread of its own, until SIGTERM: then nothing new, what is under way to its end, exit 0.
final class Server: Sendable {
    private static let mostConnections = 2048
    /// What is under way may take this long after SIGTERM.
    private static let drainSeconds = 25

    private let options: Options
    private let roles: Roles
    /// Whether a request is under way, by connection.
    private let connections = Mutex<[CInt: Bool]>([:])
    private let isDraining = Atomic<Bool>(false)

    init(_ options: Options) {
        self.options = options
        roles = Roles(options)
    }

    /// - Returns: the exit code.
    func run() -> CInt {
        let listener: CInt
        switch Socket.listen(port: options.port) {
        case .success(let socket): listener = socket
        case .failure(let fault):
            say("demo-service: cannot listen on port \(options.port): \(HTTPFault.words(fault))", to: 2)
            return 1
        }
        let bell = Shutdown.bell()
        say("\(options.role.rawValue) \(options.version) listens on port \(options.port)")
        while !isDraining.load(ordering: .relaxed) {
            var waits = [
                pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
                pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waits, 2, -1) > 0 else { continue }
            if waits[1].revents != 0 { isDraining.store(true, ordering: .relaxed) }
            if waits[0].revents != 0 { serve(accept(listener, nil, nil)) }
        }
        // Who has connected already is answered.
        _ = fcntl(listener, F_SETFL, O_NONBLOCK)
        while true {
            let last = accept(listener, nil, nil)
            if last < 0 { break }
            serve(last)
        }
        close(listener)
        return drain()
    }

    private func drain() -> CInt {
        say("stopping: finishing what is under way")
        for tick in 0..<(Self.drainSeconds * 20) {
            let open = connections.withLock { connections in
                // Ends the wait for a next request; bytes that have come are still read.
                for (socket, isBusy) in connections where !isBusy { shutdown(socket, CInt(SHUT_RD)) }
                return connections.count
            }
            if open == 0 { break }
            if tick == Self.drainSeconds * 20 - 1 { say("stopping with \(open) connections open") }
            usleep(50_000)
        }
        return 0
    }

    private func serve(_ socket: CInt) {
        guard socket >= 0 else {
            // Out of descriptors: the waiting connection stays until one is free.
            if errno == EMFILE || errno == ENFILE { usleep(10_000) }
            return
        }
        let isFull = connections.withLock { connections in
            if connections.count >= Self.mostConnections { return true }
            connections[socket] = false
            return false
        }
        let started =
            !isFull
            && Thread.start { [self] in
                converse(socket)
                connections.withLock { connections in
                    connections[socket] = nil
                    close(socket)
                }
            }
        if !started {
            connections.withLock { connections in
                if !isFull { connections[socket] = nil }
                close(socket)
            }
        }
    }

    private func converse(_ socket: CInt) {
        Socket.set(socket, CInt(IPPROTO_TCP), TCP_NODELAY)
        Socket.limit(socket, seconds: 300)
        var reader = HTTPReader(socket)
        while true {
            do throws(HTTPFault) {
                let request = try reader.next { connections.withLock { $0[socket] = true } }
                let answer = answer(request)
                let isLast = !request.keepsAlive || isDraining.load(ordering: .relaxed)
                try Socket.write(socket, bytes(answer, to: request, isLast: isLast))
                if isLast { return }
                connections.withLock { $0[socket] = false }
            } catch {
                refuse(error, on: socket)
                return
            }
        }
    }

    private func answer(_ request: HTTPMessage) -> Answer {
        switch request.path {
        case "/healthz": return Answer(body: ["status": "ok"])
        case "/readyz":
            if isDraining.load(ordering: .relaxed) {
                return Answer(status: 503, reason: "Service Unavailable", body: ["status": "stopping"])
            }
            return Answer(body: ["status": "ok"])
        default: return roles.answer(request)
        }
    }

    private func refuse(_ fault: HTTPFault, on socket: CInt) {
        let answer: Answer
        switch fault {
        case .malformed(let what):
            answer = Answer(status: 400, reason: "Bad Request", body: ["error": .string("not HTTP: \(what)")])
        case .tooLarge(let what):
            answer = Answer(status: 413, reason: "Content Too Large", body: ["error": .string("too large: \(what)")])
        case .ended, .timedOut, .socket: return
        }
        try? Socket.write(socket, bytes(answer, to: nil, isLast: true))
    }

    private func bytes(_ answer: Answer, to request: HTTPMessage?, isLast: Bool) -> [UInt8] {
        let body = answer.body.bytes + [10]
        var head =
            "HTTP/1.1 \(answer.status) \(answer.reason)\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n"
        for header in answer.headers { head += "\(header.name): \(header.value)\r\n" }
        if isLast { head += "Connection: close\r\n" }
        let bytes = Array((head + "\r\n").utf8)
        return request?.method == "HEAD" ? bytes : bytes + body
    }
}
