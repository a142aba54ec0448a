import Glibc
import Kernel
import KubeTypes
import NodeAgent
import TestSupport
import Testing
import Wire

@Suite struct ProbeTests {
    private static let start = PodFixture.start

    private func description(_ json: JSON) -> ProbeDescription { ProbeDescription(json, container: [:]) }

    @Test("liveness is believed until it has failed often enough, and a success wipes failures")
    func liveness() {
        var state = ProbeState(
            .liveness, description(["tcpSocket": ["port": 1], "periodSeconds": 1, "failureThreshold": 3]))
        var now = Self.start
        func fail() { state.record(.failure("x"), at: now) }
        for _ in 0..<2 {
            fail()
            now = now + .seconds(1)
        }
        #expect(state.isPassing)
        state.record(.success, at: now)
        for _ in 0..<3 {
            #expect(state.isPassing)
            now = now + .seconds(1)
            fail()
        }
        #expect(!state.isPassing)
        #expect(state.hasFailed)
    }

    @Test("readiness needs as many successes in a row as the manifest says")
    func successThreshold() {
        var state = ProbeState(.readiness, description(["tcpSocket": ["port": 1], "successThreshold": 2]))
        #expect(!state.isPassing)
        state.record(.success, at: Self.start)
        #expect(!state.isPassing)
        state.record(.success, at: Self.start)
        #expect(state.isPassing)
    }

    @Test("until the first success attempts come quickly, but failures count once a period only")
    func quickStart() {
        var state = ProbeState(
            .startup, description(["tcpSocket": ["port": 1], "periodSeconds": 10, "failureThreshold": 2]))
        var now = Self.start
        var attempts = 0
        while now < Self.start + .seconds(10) {
            let counted = state.record(.failure("not yet"), at: now)
            #expect(!counted)
            now = now + state.pause
            attempts += 1
        }
        #expect(attempts > 8)
        #expect(!state.hasFailed)
        for second in [10, 20] {
            let counted = state.record(.failure("not yet"), at: Self.start + .seconds(second))
            #expect(counted)
        }
        #expect(state.hasFailed)
    }

    @Test("after a success the pace is the manifest's")
    func steadyPace() {
        var state = ProbeState(.readiness, description(["tcpSocket": ["port": 1], "periodSeconds": 5]))
        #expect(state.pause < .seconds(1))
        state.record(.success, at: Self.start)
        #expect(state.pause == .seconds(5))
    }

    @Test("a startup probe holds readiness back, and its failure ends the container")
    func startup() {
        let container: JSON = [
            "name": "app", "startupProbe": ["tcpSocket": ["port": 1], "periodSeconds": 1, "failureThreshold": 1],
            "readinessProbe": ["tcpSocket": ["port": 1]],
        ]
        var json: JSON = PodFixture("app").json
        json["spec"]?["containers"] = [container]
        let described = PodDescription(KubeObject(json)).containers[0]
        var probes = RunProbes(described)
        #expect(probes.verdict == ProbeVerdict(isStarted: false, isReady: false))
        probes.record(.startup, .success, at: Self.start)
        probes.record(.readiness, .success, at: Self.start)
        #expect(probes.verdict == ProbeVerdict(isStarted: true, isReady: true))
        var failing = RunProbes(described)
        for second in 0..<3 { failing.record(.startup, .failure("refused"), at: Self.start + .seconds(second)) }
        #expect(failing.verdict.mustRestart == "startup probe failed: refused")
    }

    @Test("an unknown outcome counts for nothing")
    func unknown() {
        var state = ProbeState(.liveness, description(["grpc": ["port": 1], "failureThreshold": 1]))
        state.record(.unknown("no grpc"), at: Self.start)
        #expect(state.isPassing && !state.hasFailed)
    }

    @Test(
        "HTTP probes ask the pod's address and go by the status",
        arguments: [(200, true), (302, true), (404, false), (503, false)])
    func http(status: Int, isReady: Bool) async throws {
        let address = IPv4Address(127, 0, 1, 1)
        let listener = try NamespaceSocket.listen(address, port: 0, inNamespace: nil)
        let port = Int(NamespaceSocket.localPort(of: listener))
        let number = listener.number
        let server = Task {
            while !Task.isCancelled {
                try await Task.sleep(for: .milliseconds(2))
                guard let connection = try NamespaceSocket.accept(OwnedDescriptorCopy(number).descriptor) else {
                    continue
                }
                var space = [UInt8](repeating: 0, count: 4096)
                while recv(connection.number, &space, 4096, 0) < 0 { try await Task.sleep(for: .milliseconds(2)) }
                let answer = Array("HTTP/1.1 \(status) Whatever\r\nContent-Length: 0\r\n\r\n".utf8)
                send(connection.number, answer, answer.count, CInt(MSG_NOSIGNAL))
            }
        }
        let node = TestNode()
        try await node.withAgent { _ in
            try await node.createPod {
                let probe: JSON = [
                    "httpGet": ["port": .int(Int64(port)), "path": "/readyz"], "periodSeconds": 1,
                    "failureThreshold": 1,
                ]
                $0["spec"]?["containers"] = [["name": "app", "image": "demo:v1", "readinessProbe": probe]]
            }
            if isReady {
                #expect(await eventually { await node.isReady() })
            } else {
                #expect(
                    await eventually {
                        await node.events("Unhealthy").contains { $0.contains("statuscode: \(status)") }
                    })
                #expect(await !node.isReady())
            }
        }
        server.cancel()
        _ = await server.result
        _ = listener.number
    }
}

/// The same socket under another number: a test's server may end after its listener.
private struct OwnedDescriptorCopy: ~Copyable {
    let descriptor: OwnedDescriptor
    init(_ number: CInt) { descriptor = OwnedDescriptor(taking: dup(number)) }
}
