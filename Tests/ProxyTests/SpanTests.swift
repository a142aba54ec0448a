import CKernel
import Glibc
import Kernel
import ProxyResources
import Synchronization
import Testing
import Wire

@testable import Proxy

/// A collector of spans: keeps the bodies it is sent, and answers with statuses in turn.
private final class SpanSink: Sendable {
    var port: UInt16 { door.port }
    private let door = Door()
    private let state = Mutex((bodies: [[UInt8]](), heads: [String](), statuses: [String]()))

    init(statuses: [String] = []) {
        state.withLock { $0.statuses = statuses }
        door.open { [self] client in
            var reader = SocketReader(client)
            while let head = reader.head(), let body = reader.body(head) {
                let status = state.withLock { state -> String in
                    state.heads.append(head)
                    state.bodies.append(body)
                    return state.statuses.isEmpty ? "200 OK" : state.statuses.removeFirst()
                }
                _ = sendAll(client, Array("HTTP/1.1 \(status)\r\ncontent-length: 0\r\n\r\n".utf8))
            }
        }
    }

    var bodies: [[UInt8]] { state.withLock { $0.bodies } }
    var heads: [String] { state.withLock { $0.heads } }

    func end() { door.stop() }
}

@Suite struct SpanTests {
    static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    private func spans(_ body: [UInt8]) throws -> [JSON] {
        let path = "/tmp/weft-spans-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try SmallFile.replace(path, with: body)
        defer { unlink(path) }
        return try Reader.json("spans \(path)").array ?? []
    }

    @Test("a gateway's spans reach the collector, and OpenTelemetry's own classes read them")
    func exports() throws {
        let sink = SpanSink()
        let seen = try SeenGateway {
            $0.workload.telemetry.tracing = Tracing(
                samplePercent: 100, collector: "127.0.0.1:\(sink.port)",
                tags: [TraceTag(name: "colour", text: "none", header: "x-colour"), TraceTag(name: "zone", text: "z1")])
        }
        let visitor = Visitor(port: seen.gateway.port)
        let parent = "traceparent: 00-\(Self.trace)-00f067aa0ba902b7-01\r\n"
        #expect(visitor.get("/name?x=y", parent + "x-colour: red\r\nuser-agent: tester\r\n")?.status == 200)
        #expect(eventually { !sink.bodies.isEmpty })
        let found = try spans(sink.bodies[0])
        #expect(found.count == 2)
        let server = try #require(found.first { $0["kind"]?.int == 2 })
        let client = try #require(found.first { $0["kind"]?.int == 3 })
        #expect(server["trace"]?.string == Self.trace && client["trace"]?.string == Self.trace)
        #expect(server["parent"]?.string == "00f067aa0ba902b7")
        #expect(client["parent"]?.string == server["span"]?.string)
        // The origin saw the client's span as its parent.
        #expect(header("traceparent", seen.origin.lastHead) == "00-\(Self.trace)-\(client["span"]?.string ?? "")-01")
        #expect(server["name"]?.string == "GET HTTPRoute demo/all rule 0" && client["name"]?.string == "GET")
        let attributes = client["attributes"]
        let wanted = [
            "http.request.method": "GET", "url.path": "/name", "url.query": "x=y", "url.scheme": "http",
            "server.address": "test", "network.protocol.version": "1.1", "network.peer.address": "127.0.0.1",
            "http.response.status_code": "200", "user_agent.original": "tester", "colour": "red", "zone": "z1",
        ]
        for (key, value) in wanted { #expect(attributes?[key]?.text.filter { $0 != "\"" } == value, "\(key)") }
        #expect(server["resource"]?["service.name"]?["stringValue"]?.string == "frontend")
        let start = UInt64(server["start"]?.text ?? "") ?? 0
        let end = UInt64(server["end"]?.text ?? "") ?? 0
        let now = nanosecondsSince1970()
        #expect(start <= end && end <= now && now - start < 120_000_000_000)
        #expect(server["status"]?.int == 0)
        #expect(sink.heads[0].hasPrefix("POST /v1/traces HTTP/1.1"))
        #expect(header("content-type", sink.heads[0]) == "application/x-protobuf")
        #expect(eventually { seen.gateway.plane.desk.counts.spans.exported == 2 })
        visitor.end()
        seen.end()
        sink.end()
    }

    @Test("a request that is not sampled makes no span; a failed one says so")
    func decisions() throws {
        let sink = SpanSink()
        let seen = try SeenGateway {
            $0.workload.telemetry.tracing = Tracing(samplePercent: 0, collector: "127.0.0.1:\(sink.port)")
            $0.backends["origin"]?.endpoints = []
        }
        let visitor = Visitor(port: seen.gateway.port)
        #expect(visitor.get("/a")?.status == 503)
        #expect(visitor.get("/b", "traceparent: 00-\(Self.trace)-00f067aa0ba902b7-00\r\n")?.status == 503)
        #expect(visitor.get("/c", "traceparent: 00-\(Self.trace)-00f067aa0ba902b7-01\r\n")?.status == 503)
        #expect(eventually { !sink.bodies.isEmpty })
        let found = try spans(sink.bodies[0])
        #expect(found.allSatisfy { $0["attributes"]?["url.path"]?.string == "/c" && $0["status"]?.int == 2 })
        #expect(found.count == 2)
        visitor.end()
        seen.end()
        sink.end()
    }

    @Test("what a collector puts off is sent again; what it refuses is dropped and counted")
    func retries() throws {
        let sink = SpanSink(statuses: ["503 Busy", "400 Bad"])
        let seen = try SeenGateway {
            $0.workload.telemetry.tracing = Tracing(samplePercent: 100, collector: "127.0.0.1:\(sink.port)")
        }
        let visitor = Visitor(port: seen.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        #expect(eventually { seen.gateway.plane.desk.counts.spans.dropped == 2 })
        #expect(sink.bodies.count == 2 && sink.bodies[0] == sink.bodies[1])
        #expect(seen.gateway.plane.desk.counts.spans.failedSends == 2)
        #expect(visitor.get("/name")?.status == 200)
        #expect(eventually { seen.gateway.plane.desk.counts.spans.exported == 2 })
        visitor.end()
        seen.end()
        sink.end()
    }

    @Test("the queue to a collector that is not there is bounded")
    func bounded() {
        let exporter = SpanExporter()
        exporter.add([[1]])
        #expect(exporter.counts.dropped == 1, "nowhere to send it")
        exporter.configure(.init(collector: "127.0.0.1:1", path: "/", resource: []))
        for _ in 0..<5000 { exporter.add([[1], [2]]) }
        #expect(exporter.counts.dropped > 1000)
        exporter.end()
    }

    @Test(
        "an answer's meaning",
        arguments: [(200, "taken"), (202, "taken"), (400, "refused"), (429, "later"), (503, "later")])
    func meanings(status: Int, word: String) {
        let outcome = CollectorLink.meaning(status, "HTTP/1.1 x\r\nRetry-After: 7\r\n\r\n")
        let wanted: CollectorLink.Outcome = word == "taken" ? .taken : word == "refused" ? .refused : .later(7)
        #expect(outcome == wanted)
    }
}
