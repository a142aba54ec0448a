import MeshControl
import ProxyResources
import Testing

/// The control plane's side of a proxy that asks for what it uses.
@Suite struct DemandStreamTests {
    private static func ask(
        _ kind: ProxyResource.Kind, subscribe: [String] = [], unsubscribe: [String] = [], held: [String: String] = [:],
        answering nonce: String = ""
    ) -> DeltaRequest {
        DeltaStreamTests.ask(kind, subscribe: subscribe, unsubscribe: unsubscribe, held: held, answering: nonce)
    }
    private static func destination(_ key: String, _ port: String) -> ProxyResource {
        .destination(Destination(key: key, servicePort: port))
    }

    /// Acknowledges responses and what follows them, and tells all that was sent.
    private static func settle(_ stream: inout DeltaStream, _ responses: [DeltaResponse]) -> [DeltaResponse] {
        var all = responses
        var place = 0
        while place < all.count {
            let kind = ProxyResource.Kind(rawValue: all[place].typeURL) ?? .backend
            all += stream.receive(ask(kind, answering: all[place].nonce))
            place += 1
        }
        return all
    }

    @Test(
        "nothing is said between a question and the snapshot made for it; then the answer comes after all it leads to")
    func question() throws {
        var stream = DeltaStream()
        let empty = Snapshot(generation: 1, [])
        _ = Self.settle(&stream, stream.update(empty))
        #expect(stream.demands == nil)
        #expect(stream.receive(Self.ask(.destination, subscribe: ["10.0.0.1:80", "10.0.0.9:80"])) == [])
        #expect(stream.needsSnapshot && stream.demands == ["10.0.0.1:80", "10.0.0.9:80"])
        #expect(stream.receive(Self.ask(.servicePort, subscribe: ["*"])) == [])
        #expect(stream.receive(Self.ask(.backend, subscribe: ["*"])) == [])
        let made = Snapshot(
            generation: 1,
            [
                DeltaStreamTests.backend("b"), DeltaStreamTests.port("s", "b"),
                Self.destination("10.0.0.1:80", "demo/s:80"),
            ])
        let answer = stream.update(made)
        #expect(DeltaStreamTests.names(answer) == [["b"], ["demo/s:80"], ["10.0.0.1:80"]])
        #expect(answer.last?.removed == ["10.0.0.9:80"], "a definite no")
        #expect(Self.settle(&stream, answer).count == 3)
        #expect(stream.answeredDemands.found == ["10.0.0.1:80"] && stream.answeredDemands.absent == ["10.0.0.9:80"])
        #expect(stream.acknowledgedGeneration == 1)
        // It comes into being: told without being asked again.
        let late = stream.update(
            Snapshot(
                generation: 2,
                [
                    DeltaStreamTests.backend("b"), DeltaStreamTests.port("s", "b"),
                    Self.destination("10.0.0.1:80", "demo/s:80"), Self.destination("10.0.0.9:80", "demo/s:80"),
                ]))
        #expect(DeltaStreamTests.names(late) == [["10.0.0.9:80"]])
    }

    @Test("an answer waits while what it leads to cannot be sent yet")
    func waits() {
        var stream = DeltaStream()
        for kind in [ProxyResource.Kind.destination, .servicePort, .backend] {
            _ = stream.receive(Self.ask(kind, subscribe: kind == .destination ? [] : ["*"]))
        }
        let first = stream.update(Snapshot(generation: 1, [DeltaStreamTests.backend("a")]))
        #expect(first.count == 3, "each kind is answered, with or without resources")
        _ = stream.receive(Self.ask(.servicePort, answering: first[1].nonce))
        _ = stream.receive(Self.ask(.destination, subscribe: ["x:1"], answering: first[2].nonce))
        let made = Snapshot(
            generation: 2,
            [DeltaStreamTests.backend("b"), DeltaStreamTests.port("s", "b"), Self.destination("x:1", "demo/s:80")])
        #expect(stream.update(made) == [], "the backends sent before are not acknowledged")
        let rest = Self.settle(&stream, stream.receive(Self.ask(.backend, answering: first[0].nonce)))
        #expect(DeltaStreamTests.names(rest).filter { !$0.isEmpty } == [["b"], ["demo/s:80"], ["x:1"]])
    }

    @Test("what is not asked for any more is not told of; a wildcard for destinations is none")
    func unsubscribe() {
        var stream = DeltaStream()
        _ = stream.receive(Self.ask(.destination, subscribe: ["*"]))
        #expect(stream.demands == [])
        let all = Snapshot(generation: 1, [Self.destination("x:1", "demo/s:80"), Self.destination("y:1", "demo/s:80")])
        #expect(DeltaStreamTests.names(stream.update(all)) == [[]])
        _ = Self.settle(&stream, stream.receive(Self.ask(.destination, subscribe: ["x:1", "y:1"], answering: "1")))
        #expect(DeltaStreamTests.names(Self.settle(&stream, stream.update(all))) == [["x:1", "y:1"]])
        #expect(stream.receive(Self.ask(.destination, unsubscribe: ["x:1"])) == [])
        #expect(stream.update(Snapshot(generation: 2, [Self.destination("y:1", "demo/s:80")])) == [])
        #expect(stream.demands == ["y:1"] && stream.answeredDemands.absent.isEmpty)
    }

    @Test("a proxy that comes back with what it holds is sent nothing of it again")
    func reconnect() {
        let resources = [
            DeltaStreamTests.backend("b"), DeltaStreamTests.port("s", "b"), Self.destination("x:1", "demo/s:80"),
        ]
        func held(_ kind: ProxyResource.Kind) -> [String: String] {
            var versions: [String: String] = [:]
            for resource in resources where resource.kind == kind {
                versions[resource.name] = VersionedResource(resource).version
            }
            return versions
        }
        var stream = DeltaStream()
        _ = stream.receive(Self.ask(.destination, subscribe: ["x:1", "new:1"], held: held(.destination)))
        for kind in [ProxyResource.Kind.servicePort, .backend] {
            _ = stream.receive(Self.ask(kind, subscribe: ["*"], held: held(kind)))
        }
        let answers = stream.update(Snapshot(generation: 9, resources))
        #expect(answers.allSatisfy { $0.resources.isEmpty })
        #expect(answers.flatMap(\.removed) == ["new:1"])
        _ = Self.settle(&stream, answers)
        #expect(stream.acknowledgedGeneration == 9)
    }
}
