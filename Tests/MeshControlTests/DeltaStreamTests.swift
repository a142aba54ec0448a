import MeshControl
import ProxyResources
import Testing
import Transport

@Suite struct DeltaStreamTests {
    static func backend(_ name: String, _ port: Int = 1) -> ProxyResource {
        .backend(Backend(name: name, endpoints: [Endpoint(address: "10.0.0.1", port: port)]))
    }
    static func port(_ service: String, _ backend: String) -> ProxyResource {
        .servicePort(
            ServicePort(
                namespace: "demo", service: service, port: 80,
                routes: [RouteRule(name: "r", backends: [WeightedBackend(backend: backend)])],
                defaultBackend: backend))
    }
    static func ask(
        _ kind: ProxyResource.Kind, subscribe: [String] = [], unsubscribe: [String] = [], held: [String: String] = [:],
        answering nonce: String = "", error: String? = nil
    ) -> DeltaRequest {
        var request = DeltaRequest()
        request.node = "demo/pod"
        request.typeURL = kind.rawValue
        request.subscribe = subscribe
        request.unsubscribe = unsubscribe
        request.initialVersions = held
        request.responseNonce = nonce
        request.errorDetail = error.map { DeltaError(code: 3, message: $0) }
        return request
    }
    static func names(_ responses: [DeltaResponse]) -> [[String]] { responses.map { $0.resources.map(\.name) } }

    @Test("a wildcard gets all, then only what changed, then what was removed")
    func wildcard() throws {
        var stream = DeltaStream()
        #expect(stream.receive(Self.ask(.backend)) == [], "there is no model yet")
        let first = stream.update(Snapshot(generation: 1, [Self.backend("a"), Self.backend("b")]))
        #expect(Self.names(first) == [["a", "b"]])
        #expect(stream.acknowledgedGeneration == 0)
        #expect(stream.receive(Self.ask(.backend, answering: first[0].nonce)) == [])
        #expect(stream.acknowledgedGeneration == 1)

        let second = stream.update(
            Snapshot(generation: 2, [Self.backend("a"), Self.backend("b", 2), Self.backend("c")]))
        #expect(Self.names(second) == [["b", "c"]])
        _ = stream.receive(Self.ask(.backend, answering: second[0].nonce))
        let third = stream.update(Snapshot(generation: 3, [Self.backend("a")]))
        #expect(third.map(\.removed) == [["b", "c"]])
        #expect(third[0].resources.isEmpty)
        _ = stream.receive(Self.ask(.backend, answering: third[0].nonce))
        #expect(stream.update(Snapshot(generation: 4, [Self.backend("a")])) == [], "nothing changed")
        #expect(stream.acknowledgedGeneration == 4)
    }

    @Test("a proxy that comes back with its versions gets only what differs, and one answer even if nothing does")
    func reconnect() {
        let a = VersionedResource(Self.backend("a"))
        let b = VersionedResource(Self.backend("b"))
        var stream = DeltaStream()
        _ = stream.update(Snapshot(generation: 7, [Self.backend("a"), Self.backend("b", 9)]))
        let answer = stream.receive(Self.ask(.backend, held: ["a": a.version, "b": b.version, "gone": "1"]))
        #expect(Self.names(answer) == [["b"]])
        #expect(answer.map(\.removed) == [["gone"]])

        var same = DeltaStream()
        _ = same.update(Snapshot(generation: 7, [Self.backend("a")]))
        let nothing = same.receive(Self.ask(.backend, held: ["a": a.version]))
        #expect(nothing.count == 1)
        #expect(nothing[0].resources.isEmpty && nothing[0].removed.isEmpty)
        _ = same.receive(Self.ask(.backend, answering: nothing[0].nonce))
        #expect(same.acknowledgedGeneration == 7)
    }

    @Test("only names subscribed to are sent; one that does not exist is answered as removed; unsubscribing ends it")
    func byName() {
        var stream = DeltaStream()
        _ = stream.update(Snapshot(generation: 1, [Self.backend("a"), Self.backend("b")]))
        let first = stream.receive(Self.ask(.backend, subscribe: ["a", "x"]))
        #expect(Self.names(first) == [["a"]])
        #expect(first.map(\.removed) == [["x"]])
        _ = stream.receive(Self.ask(.backend, answering: first[0].nonce))
        let again = stream.receive(Self.ask(.backend, subscribe: ["a"]))
        #expect(Self.names(again) == [["a"]], "asked for again, it is sent again")
        _ = stream.receive(Self.ask(.backend, answering: again[0].nonce))
        let late = stream.update(Snapshot(generation: 2, [Self.backend("a"), Self.backend("b", 4), Self.backend("x")]))
        #expect(Self.names(late) == [["x"]])
        _ = stream.receive(Self.ask(.backend, unsubscribe: ["a"], answering: late[0].nonce))
        #expect(stream.update(Snapshot(generation: 3, [Self.backend("a", 5), Self.backend("x")])) == [])
    }

    @Test("what is refused is not sent again until something changes, and then all of it")
    func refused() throws {
        var stream = DeltaStream()
        _ = stream.receive(Self.ask(.backend))
        let first = stream.update(Snapshot(generation: 1, [Self.backend("a"), Self.backend("b")]))
        #expect(stream.receive(Self.ask(.backend, answering: first[0].nonce, error: "b is bad")) == [])
        let status = try #require(stream.status.first)
        #expect(status.lastRejection == .init(generation: 1, nonce: first[0].nonce, message: "b is bad"))
        #expect(status.acknowledgedGeneration == 0)
        #expect(stream.update(Snapshot(generation: 2, [Self.backend("a"), Self.backend("b")])) == [])
        #expect(stream.acknowledgedGeneration == 0, "an unchanged refusal is not consent")
        let repaired = stream.update(Snapshot(generation: 3, [Self.backend("a"), Self.backend("b", 2)]))
        #expect(Self.names(repaired) == [["a", "b"]], "a was in the answer refused, so the proxy may not hold it")
        _ = stream.receive(Self.ask(.backend, answering: repaired[0].nonce))
        #expect(stream.acknowledgedGeneration == 3)
    }

    @Test("one response of a type is on its way; a burst meanwhile becomes one")
    func oneInFlight() {
        var stream = DeltaStream()
        _ = stream.receive(Self.ask(.backend))
        let first = stream.update(Snapshot(generation: 1, [Self.backend("a")]))
        for generation in 2...50 {
            #expect(stream.update(Snapshot(generation: generation, [Self.backend("a", generation)])) == [])
        }
        #expect(stream.receive(Self.ask(.backend, answering: "not one of ours")) == [])
        let next = stream.receive(Self.ask(.backend, answering: first[0].nonce))
        #expect(next.count == 1)
        #expect(next.first?.systemVersion == "50")
    }

    @Test("a route comes after its backend, and a backend goes after its route")
    func order() throws {
        var stream = DeltaStream()
        for kind in ProxyResource.Kind.allCases { _ = stream.receive(Self.ask(kind)) }
        let first = stream.update(Snapshot(generation: 1, [Self.port("s", "old"), Self.backend("old")]))
        let kinds = first.compactMap { ProxyResource.Kind(rawValue: $0.typeURL) }
        let backendPlace = try #require(kinds.firstIndex(of: .backend))
        #expect(backendPlace < kinds.firstIndex(of: .servicePort) ?? -1)
        for response in first {
            let kind = try #require(ProxyResource.Kind(rawValue: response.typeURL))
            _ = stream.receive(Self.ask(kind, answering: response.nonce))
        }
        let second = stream.update(Snapshot(generation: 2, [Self.port("s", "new"), Self.backend("new")]))
        #expect(Self.names(second) == [["new"], ["demo/s:80"]])
        #expect(second.allSatisfy { $0.removed.isEmpty })
        let third = stream.receive(Self.ask(.backend, answering: second[0].nonce))
        #expect(third.map(\.removed) == [["old"]])
        #expect(stream.receive(Self.ask(.servicePort, answering: second[1].nonce)) == [])
        #expect(stream.acknowledgedGeneration == 1, "the removal is not acknowledged yet")
        _ = stream.receive(Self.ask(.backend, answering: third[0].nonce))
        #expect(stream.acknowledgedGeneration == 2)
    }

    @Test("the same content has the same version, and messages read back as written")
    func messages() throws {
        #expect(VersionedResource(Self.backend("a")).version == VersionedResource(Self.backend("a")).version)
        #expect(VersionedResource(Self.backend("a")).version != VersionedResource(Self.backend("a", 2)).version)
        var request = Self.ask(
            .backend, subscribe: ["a", "b"], unsubscribe: ["c"], held: ["d": "1", "e": ""], answering: "7", error: "no")
        request.node = "demo/x"
        #expect(try DeltaRequest(protobuf: request.protobuf) == request)
        var response = DeltaResponse()
        response.systemVersion = "3"
        response.typeURL = ProxyResource.Kind.backend.rawValue
        response.nonce = "9"
        response.resources = [VersionedResource(Self.backend("a"))]
        response.removed = ["b"]
        #expect(try DeltaResponse(protobuf: response.protobuf) == response)
    }

    @Test("gRPC messages are cut at any boundary; compressed and oversized ones end the call")
    func frames() throws {
        let bytes = GRPCFrames.framed([1, 2, 3]) + GRPCFrames.framed([]) + GRPCFrames.framed([4])
        for size in 1...bytes.count {
            var frames = GRPCFrames()
            var found: [[UInt8]] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                frames.append(bytes[start..<min(start + size, bytes.count)])
                while let message = try frames.next() { found.append(message) }
            }
            #expect(found == [[1, 2, 3], [], [4]])
        }
        var compressed = GRPCFrames()
        compressed.append([1, 0, 0, 0, 0])
        #expect(throws: GRPCFrames.Fault(status: .unimplemented, message: "compressed messages are not supported")) {
            try compressed.next()
        }
        var large = GRPCFrames(limit: 10)
        large.append([0, 0, 0, 0, 11])
        #expect(throws: GRPCFrames.Fault.self) { try large.next() }
    }
}
