import CKernel
import Glibc
import ProxyResources
import Synchronization

@testable import Proxy

/// An HTTP/1.1 server on loopback that answers each request as a script says, and remembers what came.
final class ScriptedOrigin: Sendable {
    struct Request: Sendable {
        var number: Int  // from 1
        var head: String
        var body: [UInt8]
        var path: String { String(head.split(separator: " ")[1]) }
        func header(_ name: String) -> String? { ProxyTests.header(name, head) }
    }

    enum Reply: Sendable {
        case status(Int, String = "")  // and header lines
        /// Ends the connection without an answer.
        case end
        /// Answers 200 once `release` has been called that often.
        case held
        /// Answers nothing, until the other side ends.
        case silence
    }

    private struct State {
        var requests: [Request] = []
        var connections = 0
        var working = 0
        var mostWorking = 0
        var open = 0
        var mostOpen = 0
        var released = 0
    }

    var port: UInt16 { door.port }
    private let door = Door()
    private let state = Mutex(State())
    private let script: @Sendable (Request) -> Reply

    var requests: [Request] { state.withLock { $0.requests } }
    var count: Int { state.withLock { $0.requests.count } }
    var connections: Int { state.withLock { $0.connections } }
    var working: Int { state.withLock { $0.working } }
    /// The most requests, and connections, there were at once.
    var mostWorking: Int { state.withLock { $0.mostWorking } }
    var mostOpen: Int { state.withLock { $0.mostOpen } }

    /// Lets `count` more held requests go, in the order they came.
    func release(_ count: Int = 1) { state.withLock { $0.released += count } }

    init(_ script: @escaping @Sendable (Request) -> Reply) {
        self.script = script
        door.open { [self] client in
            state.withLock {
                $0.connections += 1
                $0.open += 1
                $0.mostOpen = max($0.mostOpen, $0.open)
            }
            serve(client)
            // Counted before the other side can see the end.
            state.withLock { $0.open -= 1 }
        }
    }

    func stop() {
        state.withLock { $0.released = .max / 2 }
        door.stop()
    }

    private func serve(_ client: CInt) {
        var reader = SocketReader(client)
        while let head = reader.head(), let body = reader.body(head) {
            let request = state.withLock { state in
                let request = Request(number: state.requests.count + 1, head: head, body: body)
                state.requests.append(request)
                state.working += 1
                state.mostWorking = max(state.mostWorking, state.working)
                return request
            }
            let goesOn = answer(client, request, &reader)
            if !goesOn { return }
        }
    }

    private func answer(_ client: CInt, _ request: Request, _ reader: inout SocketReader) -> Bool {
        switch script(request) {
        case .status(let status, let lines):
            state.withLock { $0.working -= 1 }
            return send(client, status, lines)
        case .end:
            state.withLock { $0.working -= 1 }
            return false
        case .held:
            while !state.withLock({ $0.released > 0 }) { usleep(1000) }
            state.withLock {
                $0.released -= 1
                $0.working -= 1
            }
            return send(client, 200, "")
        case .silence:
            _ = reader.some()
            state.withLock { $0.working -= 1 }
            return false
        }
    }

    private func send(_ client: CInt, _ status: Int, _ lines: String) -> Bool {
        let body = "answer\n"
        return sendAll(
            client, Array("HTTP/1.1 \(status) Any\r\ncontent-length: \(body.utf8.count)\r\n\(lines)\r\n\(body)".utf8))
    }
}

extension TestGateway {
    /// Sends everything to one backend of scripted origins.
    static func before(
        _ origins: [ScriptedOrigin], loops: Int = 1, _ route: RouteResilience = .none,
        _ guards: BackendResilience = .none, change: (inout RouteRule) -> Void = { _ in }
    ) throws -> TestGateway {
        let gateway = try TestGateway(loops: loops)
        var only = rule([("o", 1)], change)
        only.resilience = route
        var behind = backend("o", origins.map { endpoint(Int($0.port)) })
        behind.resilience = guards
        try gateway.apply([only], [behind])
        return gateway
    }

    /// What all loops have counted, together.
    var idleCounts: (exchanges: Int, clients: Int, upstreams: Int) {
        let all = plane.collect().map(\.counts)
        return (all.map(\.exchanges).reduce(0, +), all.map(\.clients).reduce(0, +), all.map(\.upstreams).reduce(0, +))
    }

    func gauge(_ name: String) -> GateGauge? { plane.limits.gates.first { $0.name.contains(name) } }
}
