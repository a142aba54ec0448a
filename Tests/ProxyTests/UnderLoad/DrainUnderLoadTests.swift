import Glibc
import ProxyResources
import TestSupport
import Testing

@testable import Proxy

@Suite struct DrainUnderLoadTests {
    @Test(
        "sidecars drain and end one after the other while requests for them go on, and none fails",
        arguments: [Multiplexing.off, .on])
    func sidecars(multiplexing: Multiplexing) throws {
        let fleet = try TestFleet(2)
        fleet.multiplexing = multiplexing
        // Nobody tells the gateway: it learns from GOAWAY, `Connection: close`, and refused connections. So a request may cross the
        // end of its connection, and is sent again when all of it is still here; a long body would not be. Pods end otherwise: every
        // proxy has left them before (see `ChangesUnderLoadTests.endpointsEnd`).
        try fleet.direct(to: [0, 1])
        let load = AllKindsOfLoad(fleet.gateway.port, largest: 3_500)
        #expect(load.waitUntilServed())
        for round in 0..<10 {
            #expect(fleet.servers[round % 2].plane.drainToTheEnd(), "round \(round)")
            try fleet.restart(round % 2)
            // Only then the other: the gateway avoids for a second what refused it.
            #expect(load.waitUntilServed(), "round \(round)")
            let plane = fleet.servers[round % 2].plane
            #expect(eventually { plane.counts()[0].handshakes > 0 }, "round \(round)")
        }
        let result = load.finish()
        #expect(result.failed == 0, "\(result)")
        fleet.end()
    }

    @Test("programs drain and end in turn; clients that leave when they are told, and come to the other, see no fault")
    func programs() throws {
        let origin = Origin()
        let proxies = try (0..<2).map { _ in try RunningProxy(before: origin, drainSeconds: 1) }
        defer { for proxy in proxies { proxy.remove() } }
        for proxy in proxies { #expect(eventually { proxy.answering == Int(proxy.pid) }) }
        let kept = Load(port: proxies[0].port, connections: 6)
        // One that says little, as people's browsers do.
        let slow = Load(port: proxies[0].port, connections: 2, pause: 100_000)
        let large = Load(port: proxies[0].port, connections: 2, body: noise(300_000))
        let streams = PeerProgram("h2_load.py", "\(proxies[0].port)", "2", "4")
        #expect(streams.line() == "going")
        func streamsServed(_ said: String = "count") -> Int {
            streams.say(said)
            return Int(streams.line()?.split(separator: " ").first ?? "") ?? 0
        }
        for round in 0..<4 {
            let before = (kept.served, slow.served, large.served, streamsServed())
            #expect(
                eventually {
                    kept.served > before.0 + 20 && slow.served > before.1 && large.served > before.2 + 2
                        && streamsServed() > before.3 + 20
                }, "round \(round)")
            let (leaving, staying) = (proxies[round % 2], proxies[(round + 1) % 2])
            for load in [kept, slow, large] { load.move(to: staying.port) }
            _ = streamsServed("move \(staying.port)")
            kill(leaving.pid, SIGTERM)
            var status: CInt? = nil
            #expect(
                eventually {
                    status = status ?? leaving.status()
                    return status != nil
                })
            #expect(status == 0)
            try leaving.start()
            #expect(eventually { leaving.answering == Int(leaving.pid) })
        }
        let result = [kept, slow, large].map { $0.finish() }.reduce(LoadResult(), +)
        #expect(result.failed == 0, "\(result)")
        streams.say("stop")
        let told = streams.line() ?? ""
        #expect(told.split(separator: " ").count == 3, "\(told)")
        #expect(streams.status() == 0)
        streams.end()
        origin.stop()
    }

    @Test("an answer that is still being taken is not cut off by the end of a drain")
    func slowReader() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        let visitor = Visitor(port: proxy.port)
        var small: CInt = 4096
        setsockopt(visitor.descriptor, SOL_SOCKET, SO_RCVBUF, &small, socklen_t(MemoryLayout<CInt>.size))
        let body = noise(200_000)
        let head = "POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: \(body.count)\r\n\r\n"
        #expect(visitor.send(Array(head.utf8) + body))
        // The origin has answered all of it, which lies in the proxy and in the sockets.
        #expect(eventually { origin.requests == 1 })
        kill(proxy.pid, SIGTERM)
        usleep(700_000)
        expectBody(visitor.response()?.body, body)
        visitor.end()
        var status: CInt? = nil
        #expect(
            eventually {
                status = status ?? proxy.status()
                return status != nil
            })
        #expect(status == 0)
        origin.stop()
    }
}
