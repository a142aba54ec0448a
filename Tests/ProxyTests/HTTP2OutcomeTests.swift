import Glibc
import ProxyResources
import TestSupport
import Testing

@testable import Proxy

/// What comes of requests on streams, and who counts it.
@Suite struct HTTP2OutcomeTests {
    private func gateway(
        before ports: [Int], speaks: AppProtocol = .grpc, _ route: RouteResilience = .none,
        change: (inout Backend) -> Void = { _ in }
    ) throws -> TestGateway {
        let gateway = try TestGateway()
        var only = rule([("origin", 1)])
        only.resilience = route
        var origin = backend("origin", ports.map { endpoint($0) })
        origin.appProtocol = speaks
        change(&origin)
        try gateway.apply([only], [origin])
        return gateway
    }

    private func retry(_ conditions: [RetryCondition], attempts: Int) -> RouteResilience {
        RouteResilience(retry: RetryPolicy(attempts: attempts, conditions: conditions, backoffBaseMilliseconds: 0))
    }

    /// A call, and its head and trailers.
    private func call(_ gateway: TestGateway, _ path: String) -> String {
        output(
            of:
                "curl -s --max-time 30 --http2-prior-knowledge -o /dev/null -D - -H 'content-type: application/grpc' -H 'te: trailers' --data-binary x http://127.0.0.1:\(gateway.port)\(path)"
        ).text
    }

    @Test("refused streams do not count as attempts, and have a bound of their own")
    func refused() throws {
        let origin = PeerProgram("h2_origin.py")
        let free = try gateway(before: [origin.port()], speaks: .http2)
        let url = "http://127.0.0.1:\(free.port)/refuse"
        let found = output(of: "curl -s --max-time 30 -w '%{http_code}' \(url)/\(Limits.refusals)")
        #expect(found.text == "h2 origin200", "\(found.text)")
        let never = output(of: "curl -s --max-time 30 -w '%{http_code}' \(url)/1000")
        #expect(never.text.hasSuffix("503"), "\(never.text)")
        // Each was sent eight times for nothing, and as often as any request.
        #expect(free.plane.collect()[0].counts.retries == UInt64(Limits.refusals) * 2 + UInt64(Limits.attempts) - 1)
        free.plane.stop()
        origin.end()
    }

    @Test("a configured retry still has its attempts after refused streams")
    func refusedThenFailed() throws {
        let origin = PeerProgram("h2_origin.py")
        let free = try gateway(before: [origin.port()], speaks: .http2, retry([.refusedStream], attempts: 2))
        // Two more than those that are free and those any request has.
        let count = Int(Limits.refusals) + Int(Limits.attempts) - 1 + 2
        let url = "http://127.0.0.1:\(free.port)/refuse/\(count)"
        let found = output(of: "curl -s --max-time 30 -w '%{http_code}' \(url)")
        #expect(found.text == "h2 origin200", "\(found.text)")
        free.plane.stop()
        origin.end()
    }

    @Test(
        "an endpoint whose calls fail by their trailers is ejected, wherever the code stands",
        arguments: ["only", "late"])
    func ejected(kind: String) throws {
        let (bad, good) = (PeerProgram("h2_origin.py"), PeerProgram("h2_origin.py"))
        let ports = [bad.port(), good.port()]
        let both = try gateway(before: ports) {
            $0.balance.algorithm = .roundRobin
            $0.outlier = OutlierPolicy(
                consecutiveErrors: 3, ejectionMilliseconds: 600_000, longestEjectionMilliseconds: 600_000,
                mostEjectedPercent: 50)
        }
        func member(_ place: Int) -> BackendSurvey.Member? {
            BackendSurvey.merge(both.plane.survey()).first?.members.first { Int($0.port) == ports[place] }
        }
        // Codes that are the caller's doing eject nobody.
        for _ in 0..<10 { #expect(call(both, "/grpc/5/\(kind)/1000").contains("grpc-status: 5")) }
        #expect(member(0)?.away == 0 && member(1)?.away == 0)
        for _ in 0..<8 { _ = call(both, "/grpc/14/\(kind)/1000") }
        #expect([member(0), member(1)].count { $0?.away ?? 0 > 0 } == 1)
        #expect([member(0), member(1)].contains { $0?.cause == .consecutiveErrors })
        both.plane.stop()
        bad.end()
        good.end()
    }

    @Test(
        "a call that fails in trailers only is repeated when the route asks for that",
        arguments: zip(
            [1, 4, 13, 8, 14],
            [
                RetryCondition.grpcCancelled, .grpcDeadlineExceeded, .grpcInternal, .grpcResourceExhausted,
                .grpcUnavailable,
            ]))
    func repeated(code: Int, condition: RetryCondition) throws {
        let origin = PeerProgram("h2_origin.py")
        let asked = try gateway(before: [origin.port()], retry([condition], attempts: 2))
        let found = call(asked, "/grpc/\(code)/only/2")
        #expect(found.contains("grpc-status: 0"), "\(found)")
        #expect(asked.plane.collect()[0].counts.retries == 2)
        let other = call(asked, "/grpc/2/only/1000")
        #expect(other.contains("grpc-status: 2") && asked.plane.collect()[0].counts.retries == 2, "\(other)")
        let metrics = String(
            decoding: MetricsText.render(asked.plane.collect(), labels: asked.plane.labels, workload: workload("w")),
            as: UTF8.self)
        let lines = metrics.split(separator: "\n").filter { $0.hasPrefix("istio_requests_total") }
        #expect(lines.contains { $0.contains("grpc_response_status=\"0\"") && $0.hasSuffix(" 1") }, "\(lines)")
        #expect(lines.contains { $0.contains("grpc_response_status=\"2\"") && $0.hasSuffix(" 1") }, "\(lines)")
        asked.plane.stop()
        origin.end()
    }

    @Test("a call that fails after a message has been passed on is not repeated")
    func late() throws {
        let origin = PeerProgram("h2_origin.py")
        let asked = try gateway(before: [origin.port()], retry([.grpcUnavailable], attempts: 2))
        let found = call(asked, "/grpc/14/late/1")
        #expect(found.contains("grpc-status: 14"), "\(found)")
        #expect(asked.plane.collect()[0].counts.retries == 0)
        asked.plane.stop()
        origin.end()
    }
}

/// Sessions that take room and do nothing.
@Suite struct HTTP2IdleTests {
    private func gateway(_ origin: Origin, _ change: (inout ClientLimits) -> Void) throws -> TestGateway {
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        change(&configuration.workload.limits)
        try gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { gateway.plane.collect()[0].counts.generation > 0 })
        return gateway
    }

    @Test("a stream nobody reads ends after its window, and the upstream's request with it")
    func slowReader() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.progressWindowMilliseconds = 200 }
        let stuck = PeerProgram("h2_stuck.py", "\(gateway.port)", "2", "600000")
        #expect(stuck.line() == "sent")
        #expect(eventually { origin.requests == 2 })
        #expect(eventually { gateway.plane.collect()[0].counts.exchanges == 0 })
        #expect(gateway.plane.collect()[0].counts.clients == 1, "the session goes on")
        stuck.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a frame that is begun and not ended has as long as a head")
    func partial() throws {
        let origin = Origin()
        let gateway = try gateway(origin) { $0.headTimeoutMilliseconds = 300 }
        let client = PeerProgram("h2_frames.py", "\(gateway.port)", "partial")
        #expect(client.line() == "there")
        #expect(client.line() == "\(SessionFault.slowFrame.code.rawValue)")
        #expect(gateway.plane.collect()[0].counts.sessionFaults[Int(SessionFault.slowFrame.rawValue)] == 1)
        client.end()
        gateway.plane.stop()
        origin.stop()
    }

    @Test("a process without free descriptors lets idle sessions go, with GOAWAY, for those who come")
    func shed() throws {
        let origin = Origin()
        let port = freePort()
        let scratch = Scratch()
        let file = scratch.write(
            "proxy.yaml",
            """
            listeners: [{address: 127.0.0.1, port: \(port), routes: [{to: origin}]}]
            clusters: [{name: origin, endpoints: ["127.0.0.1:\(origin.port)"]}]
            """)
        let program = try BuiltProgram.path("meshproxy")
        let words = [
            "sh", "-c", "ulimit -n 80; exec \(program) run --config \(file) --concurrency 1 --drain-seconds 0",
        ]
        let arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        #expect(posix_spawnp(&pid, "sh", nil, nil, arguments, environ) == 0)
        defer {
            kill(pid, SIGKILL)
            var status: CInt = 0
            waitpid(pid, &status, 0)
        }
        func isServed() -> Bool {
            let visitor = Visitor(port: port)
            defer { visitor.end() }
            return visitor.get("/name")?.text == "origin"
        }
        #expect(eventually(isServed))
        let idle = PeerProgram("h2_frames.py", "\(port)", "idle", "100")
        // More sessions than there are descriptors: the first had to go for the last.
        #expect(idle.line() == "there")
        #expect(idle.line() == "0")
        #expect(eventually(isServed))
        idle.end()
        origin.stop()
    }
}
