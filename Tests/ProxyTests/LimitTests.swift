import Glibc
import ProxyResources
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// Sends a request on a connection of its own and gives what came, when it comes.
private final class Caller: Sendable {
    private let state = Mutex<(visitor: CInt, answer: (status: Int, reason: String)?)>((-1, nil))
    var answer: (status: Int, reason: String)? { state.withLock { $0.answer } }

    init(_ port: Int, _ path: String = "/", _ headers: String = "") {
        spawn { [self] in
            let visitor = Visitor(port: port)
            state.withLock { $0.visitor = visitor.descriptor }
            let response = visitor.get(path, headers)
            state.withLock { $0.answer = (response?.status ?? 0, response?.reason ?? "") }
            visitor.end()
        }
    }
}

@Suite struct LimitTests {
    private func limits(_ change: (inout CircuitLimits) -> Void) -> CircuitLimits {
        var limits = CircuitLimits()
        change(&limits)
        return limits
    }

    @Test("a limit of one request is one over two loops, whoever asks", arguments: [true, false])
    func exact(ofRoute: Bool) throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let one = limits { $0.maxRequests = 1 }
        let gateway = try TestGateway.before(
            [origin], loops: 2, RouteResilience(limits: ofRoute ? one : nil),
            BackendResilience(limits: ofRoute ? nil : one))
        let callers = (0..<24).map { _ in Many(gateway.port, 25) }
        #expect(eventually { callers.allSatisfy(\.isDone) })
        #expect(callers.map(\.good).reduce(0, +) == 24 * 25)
        #expect(origin.mostWorking == 1)
        #expect(eventually { gateway.gauge("requests")?.held == 0 })
        #expect(gateway.gauge("requests")?.waiting == 0)
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a limit of one connection is one over two loops, and nobody is left waiting for an idle one")
    func exactConnections() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try TestGateway.before(
            [origin], loops: 2, .none, BackendResilience(limits: limits { $0.maxConnections = 1 }))
        let callers = (0..<16).map { _ in Many(gateway.port, 10) }
        #expect(eventually { callers.allSatisfy(\.isDone) })
        #expect(callers.map(\.good).reduce(0, +) == 160)
        #expect(origin.mostWorking == 1)
        #expect(gateway.idleCounts.upstreams <= 1)
        #expect(gateway.gauge("connections")?.waiting == 0)
        gateway.plane.stop()
        origin.stop()
    }

    @Test("requests wait in the order they came")
    func order() throws {
        let origin = ScriptedOrigin { _ in .held }
        let gateway = try TestGateway.before(
            [origin], .none, BackendResilience(limits: limits { $0.maxRequests = 1 }))
        var callers = [Caller(gateway.port, "/0")]
        #expect(eventually { origin.count == 1 })
        for number in 1...6 {
            callers.append(Caller(gateway.port, "/\(number)"))
            #expect(eventually { gateway.gauge("requests")?.waiting == number })
        }
        for number in 0...6 {
            #expect(eventually { origin.count == number + 1 })
            origin.release()
        }
        #expect(eventually { callers.allSatisfy { $0.answer?.status == 200 } })
        #expect(origin.requests.map(\.path) == (0...6).map { "/\($0)" })
        gateway.plane.stop()
        origin.stop()
    }

    @Test("beyond the queue the answer is 503 and says which limit; a place that comes free is the next one's")
    func overflow() throws {
        let origin = ScriptedOrigin { _ in .held }
        let tight = limits {
            $0.maxRequests = 1
            $0.maxPending = 1
        }
        let gateway = try TestGateway.before([origin], .none, BackendResilience(limits: tight))
        let first = Caller(gateway.port)
        #expect(eventually { origin.count == 1 })
        let second = Caller(gateway.port)
        #expect(eventually { gateway.gauge("requests")?.waiting == 1 })
        let third = Visitor(port: gateway.port)
        let refused = third.get("/")
        #expect(refused?.status == 503)
        #expect(refused?.reason == "backend_pending_limit")
        origin.release(2)
        #expect(eventually { first.answer?.status == 200 && second.answer?.status == 200 })
        third.end()
        gateway.plane.stop()

        let none = limits {
            $0.maxRequests = 1
            $0.maxPending = 0
        }
        let strict = try TestGateway.before([origin], RouteResilience(limits: none))
        let held = Caller(strict.port)
        #expect(eventually { origin.count == 3 })
        let other = Visitor(port: strict.port)
        #expect(other.get("/")?.reason == "route_requests_limit")
        #expect(strict.plane.records(most: 1) { $0.flag == .overflow }.first?.limit == .tooManyRequests)
        origin.release()
        #expect(eventually { held.answer?.status == 200 })
        other.end()
        strict.plane.stop()
        origin.stop()
    }

    @Test("nobody waits longer than the limit's time, nor than the route's")
    func waitingTime() throws {
        let origin = ScriptedOrigin { _ in .held }
        let short = limits {
            $0.maxRequests = 1
            $0.pendingTimeoutMilliseconds = 100
        }
        let gateway = try TestGateway.before([origin], .none, BackendResilience(limits: short))
        let first = Caller(gateway.port)
        #expect(eventually { origin.count == 1 })
        let waiting = Visitor(port: gateway.port)
        let late = waiting.get("/")
        #expect(late?.status == 503)
        #expect(late?.reason == "pending_timeout")
        let deadline = waiting.get("/", "x-request-deadline: 40\r\n")
        #expect(deadline?.status == 504)
        #expect(deadline?.reason == "deadline_exceeded")
        origin.release(2)
        #expect(eventually { first.answer?.status == 200 })
        #expect(waiting.get("/")?.status == 200, "the connection goes on")
        #expect(eventually { gateway.gauge("requests")?.held == 0 })
        waiting.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("waiting requests whose clients go away leave nothing behind", .timeLimit(.minutes(3)))
    func cancelled() throws {
        let origin = ScriptedOrigin { _ in .held }
        let wide = limits {
            $0.maxRequests = 1
            $0.maxPending = 20_000
            $0.pendingTimeoutMilliseconds = 600_000
        }
        let gateway = try TestGateway.before([origin], loops: 2, .none, BackendResilience(limits: wide))
        let first = Caller(gateway.port)
        #expect(eventually { origin.count == 1 })
        let request = "GET / HTTP/1.1\r\nhost: t\r\n\r\n"
        var gone = 0
        // A thousand at once, ten times: each waits, and each goes without an answer.
        while gone < 10_000 {
            let visitors = (0..<500).map { _ in Visitor(port: gateway.port) }
            for visitor in visitors { #expect(visitor.send(request)) }
            #expect(eventually { gateway.gauge("requests")?.waiting == visitors.count })
            for visitor in visitors { visitor.end() }
            #expect(eventually { gateway.gauge("requests")?.waiting == 0 })
            gone += visitors.count
        }
        #expect(origin.count == 1, "none of them was sent")
        origin.release()
        #expect(eventually { first.answer?.status == 200 })
        #expect(eventually { gateway.idleCounts.exchanges == 0 && gateway.idleCounts.clients == 0 })
        #expect(eventually { gateway.gauge("requests")?.held == 0 })
        gateway.plane.stop()
        origin.stop()
    }

    @Test("limits may change while requests wait: the new one holds at once")
    func changed() throws {
        let origin = ScriptedOrigin { _ in .held }
        let gateway = try TestGateway()
        func apply(_ most: Int) throws {
            var behind = backend("o", [endpoint(Int(origin.port))])
            behind.resilience.limits = limits { $0.maxRequests = most }
            try gateway.apply([rule([("o", 1)])], [behind])
        }
        try apply(1)
        let callers = (0..<4).map { _ in Caller(gateway.port) }
        #expect(eventually { gateway.gauge("requests")?.waiting == 3 })
        try apply(3)
        #expect(eventually { origin.working == 3 })
        origin.release(4)
        #expect(eventually { callers.allSatisfy { $0.answer?.status == 200 } })
        gateway.plane.stop()
        origin.stop()
    }

    @Test("repetitions have a limit of their own, and are not waited for")
    func retries() throws {
        let origin = ScriptedOrigin { $0.number == 1 ? .status(503) : $0.number == 2 ? .held : .status(503) }
        let policy = RetryPolicy(attempts: 1, conditions: [.serverError], backoffBaseMilliseconds: 0)
        let gateway = try TestGateway.before(
            [origin], RouteResilience(retry: policy), BackendResilience(limits: limits { $0.maxRetries = 1 }))
        let first = Caller(gateway.port)
        #expect(eventually { origin.count == 2 })
        let second = Visitor(port: gateway.port)
        let refused = second.get("/")
        #expect(refused?.status == 503)
        #expect(header("x-weft-retry-refused", refused?.head ?? "") == "limit")
        #expect(origin.count == 3)
        origin.release()
        #expect(eventually { first.answer?.status == 200 })
        #expect(eventually { gateway.gauge("retries")?.held == 0 })
        second.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("what limits hold, refuse and shed is in the metrics while it happens")
    func metrics() throws {
        let origin = ScriptedOrigin { _ in .held }
        let route = RouteResilience(rateLimits: [RateLimit(name: "all", requests: 5, perMilliseconds: 3_600_000)])
        let guards = BackendResilience(
            limits: limits { $0.maxRequests = 1 }, adaptiveConcurrency: AdaptiveConcurrency(minLimit: 3))
        let gateway = try TestGateway.before([origin], route, guards)
        let callers = (0..<2).map { _ in Caller(gateway.port) }
        #expect(eventually { origin.working == 1 && gateway.gauge("requests")?.waiting == 1 })
        let snapshot = MetricsSnapshot(loops: gateway.plane.collect(), limits: gateway.plane.limits.gauges)
        let text = String(decoding: MetricsText.render(snapshot, .prometheus), as: UTF8.self)
        for line in [
            "weft_limit_capacity{limit=\"backend o requests\"} 1", "weft_limit_used{limit=\"backend o requests\"} 1",
            "weft_limit_waiting{limit=\"backend o requests\"} 1",
            "weft_adaptive_limit{backend=\"o\",loop=\"0\"} 3", "weft_adaptive_active{backend=\"o\",loop=\"0\"} 1",
        ] {
            #expect(text.contains(line + "\n"), "\(line)")
        }
        #expect(text.contains("weft_rate_admitted_total{limit=") && text.contains(" all\"} 2\n"))
        origin.release(2)
        #expect(eventually { callers.allSatisfy { $0.answer?.status == 200 } })
        gateway.plane.stop()
        origin.stop()
    }

    @Test("streams wait for room on the connections there may be, and have it as soon as there is")
    func streams() throws {
        let origin = PeerProgram("h2_origin.py", "5")
        let gateway = try TestGateway()
        var behind = backend("o", [endpoint(origin.port())])
        behind.appProtocol = .http2
        behind.resilience.limits = limits { $0.maxConnections = 1 }
        try gateway.apply([rule([("o", 1)])], [behind])
        let found = output(of: "h2load -n 60 -c 3 -m 10 http://127.0.0.1:\(gateway.port)/slow")
        #expect(found.text.contains("60 succeeded, 0 failed, 0 errored"), "\(found.text)")
        #expect(gateway.gauge("connections")?.held == 1)
        #expect(gateway.gauge("connections")?.waiting == 0)
        origin.end()
        gateway.plane.stop()
    }

    @Test("a connection serves so many requests and is then replaced")
    func requestsPerConnection() throws {
        let origin = ScriptedOrigin { _ in .status(200) }
        let gateway = try TestGateway.before(
            [origin], .none, BackendResilience(limits: limits { $0.maxRequestsPerConnection = 3 }))
        let visitor = Visitor(port: gateway.port)
        for _ in 0..<9 { #expect(visitor.get("/")?.status == 200) }
        #expect(origin.connections == 3)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a backend that slows down is given less: the rest is shed")
    func adaptive() throws {
        let origin = ScriptedOrigin { request in
            usleep(2000)
            return request.path == "/held" ? .held : .status(200)
        }
        let adaptive = AdaptiveConcurrency(minLimit: 2, maxLimit: 4, calmRequests: 1_000)
        let gateway = try TestGateway.before([origin], .none, BackendResilience(adaptiveConcurrency: adaptive))
        let held = (0..<2).map { _ in Caller(gateway.port, "/held") }
        #expect(eventually { origin.working == 2 })
        let visitor = Visitor(port: gateway.port)
        let shed = visitor.get("/")
        #expect(shed?.status == 503)
        #expect(shed?.reason == "concurrency_limit")
        origin.release(2)
        #expect(eventually { held.allSatisfy { $0.answer?.status == 200 } })
        #expect(visitor.get("/")?.status == 200)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
    }
}

/// Asks one after the other on one connection.
private final class Many: Sendable {
    private let state = Mutex((good: 0, isDone: false))
    var good: Int { state.withLock { $0.good } }
    var isDone: Bool { state.withLock { $0.isDone } }

    init(_ port: Int, _ count: Int) {
        spawn { [self] in
            let visitor = Visitor(port: port)
            for _ in 0..<count where visitor.get("/")?.status == 200 { state.withLock { $0.good += 1 } }
            state.withLock { $0.isDone = true }
            visitor.end()
        }
    }
}
