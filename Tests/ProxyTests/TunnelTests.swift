import CKernel
import Glibc
import ProxyResources
import Synchronization
import Testing

@testable import Proxy

/// Opaque bytes on loopback: says a greeting first, if it has one, and gives back what it is sent.
final class Echo: Sendable {
    var port: UInt16 { door.port }
    private let door = Door()

    init(greeting: String = "") {
        let words = Array(greeting.utf8)
        door.open { client in
            var reader = SocketReader(client)
            if !words.isEmpty { _ = sendAll(client, words) }
            while let bytes = reader.some() { if !sendAll(client, bytes) { break } }
        }
    }

    func stop() { door.stop() }
}

/// A proxy that takes calls to a service as a sidecar takes its pod's.
private struct TestOutbound {
    static let address = "10.99.0.7"
    let port = freePort()
    let plane: DataPlane

    init(to echo: Echo, _ appProtocol: AppProtocol, loops: Int = 1) throws {
        plane = try DataPlane(
            loops: loops,
            listeners: [
                ListenerOption(side: .outbound, address: "127.0.0.1", port: port, destination: "\(Self.address):99")
            ], seed: 7)
        let service = ServicePort(
            namespace: "demo", service: "echo", port: 99, addresses: [Self.address], appProtocol: appProtocol,
            defaultBackend: "echo")
        let generation = try plane.apply(
            ProxyConfiguration(
                workload: workload("client"), servicePorts: [service.resourceName: service],
                backends: ["echo": backend("echo", [endpoint(Int(echo.port))])]), identity: nil)
        guard eventually({ plane.collect().allSatisfy { $0.counts.generation == generation } }) else {
            throw ConfigurationFault("the loops did not take generation \(generation)")
        }
    }

    var counts: [LoopCounts] { plane.collect().map(\.counts) }
    var isKnown: Bool { plane.commons.memory.serverBegins(.outbound, 0x0A63_0007, 99) }
}

@Suite struct TunnelTests {
    /// splice has no MSG_NOSIGNAL; the program ignores the signal too.
    init() { signal(SIGPIPE, SIG_IGN) }

    @Test("a long plain tunnel goes through the kernel's pipes, both ways and to the last byte")
    func splice() throws {
        let echo = Echo()
        let proxy = try TestOutbound(to: echo, .tcp)
        let visitors = (0..<3).map { _ in Visitor(port: proxy.port) }
        let block = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let received = Mutex([Int](repeating: 0, count: visitors.count))
        let wrong = Mutex(0)
        for (number, visitor) in visitors.enumerated() {
            let descriptor = visitor.descriptor
            spawn { for _ in 0..<16 { if !sendAll(descriptor, block) { return } } }
            spawn {
                var reader = SocketReader(descriptor)
                var place = 0
                while place < 16 << 20, let bytes = reader.some() {
                    for byte in bytes {
                        if byte != block[place & (1 << 20 - 1)] { wrong.withLock { $0 += 1 } }
                        place += 1
                    }
                }
                let got = place
                received.withLock { $0[number] = got }
            }
        }
        #expect(eventually { received.withLock { $0.allSatisfy { $0 == 16 << 20 } } }, "\(received.withLock { $0 })")
        #expect(wrong.withLock { $0 } == 0)
        #expect(proxy.counts.allSatisfy { $0.spliced > 64 << 20 })
        for visitor in visitors { visitor.end() }
        #expect(eventually { proxy.counts.allSatisfy { $0.clients == 0 && $0.upstreams == 0 } })
        // A tunnel that comes after finds the pipes empty.
        let last = Visitor(port: proxy.port)
        #expect(last.send("short") && last.some() == Array("short".utf8))
        last.end()
        proxy.plane.stop()
        echo.stop()
    }

    @Test("a tunnel cut in the middle leaves no bytes to the next one")
    func cut() throws {
        let echo = Echo()
        let proxy = try TestOutbound(to: echo, .tcp)
        for _ in 0..<4 {
            let visitor = Visitor(port: proxy.port)
            let descriptor = visitor.descriptor
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            let block = [UInt8](repeating: 1, count: 1 << 20)
            // Nobody reads the answers: both pipes fill, until nothing more is taken.
            var refusals = 0
            while refusals < 20 {
                let count = block.withUnsafeBytes { weft_tcp_send(descriptor, $0.baseAddress, $0.count) }
                if count == -Int(EAGAIN) {
                    refusals += 1
                    usleep(5000)
                } else if count < 0 {
                    break
                }
            }
            #expect(proxy.counts.contains { $0.spliced > 0 })
            weft_reset_on_close(descriptor)
            visitor.end()
            #expect(eventually { proxy.counts.allSatisfy { $0.clients == 0 } })
            let next = Visitor(port: proxy.port)
            let other = [UInt8](repeating: 2, count: 3 << 20)
            let nextDescriptor = next.descriptor
            spawn { _ = sendAll(nextDescriptor, other) }
            var reader = SocketReader(nextDescriptor)
            #expect(reader.take(other.count) == other)
            next.end()
        }
        proxy.plane.stop()
        echo.stop()
    }

    @Test("a port where the server begins is learned from its first connection: the next ones do not wait")
    func learned() throws {
        let echo = Echo(greeting: "220 hello\n")
        let proxy = try TestOutbound(to: echo, .unknown, loops: 2)
        for round in 0..<6 {
            let visitor = Visitor(port: proxy.port)
            #expect(visitor.some() == Array("220 hello\n".utf8), "round \(round)")
            #expect(visitor.send("QUIT") && visitor.some() == Array("QUIT".utf8))
            visitor.end()
            #expect(proxy.isKnown)
        }
        #expect(proxy.counts.map(\.silences).reduce(0, +) == 1)
        proxy.plane.stop()
        echo.stop()
    }

    @Test("what was learned is forgotten when a client begins after all")
    func forgotten() throws {
        let echo = Echo()
        let proxy = try TestOutbound(to: echo, .unknown)
        proxy.plane.commons.memory.learn(.outbound, 0x0A63_0007, 99)
        let visitor = Visitor(port: proxy.port)
        #expect(visitor.send("\u{1}binary") && visitor.some() == Array("\u{1}binary".utf8))
        visitor.end()
        #expect(eventually { !proxy.isKnown })
        proxy.plane.stop()
        echo.stop()
    }

    @Test("a silent client of a server that waits teaches nothing")
    func silence() throws {
        let echo = Echo()
        let proxy = try TestOutbound(to: echo, .unknown)
        let visitor = Visitor(port: proxy.port)
        #expect(eventually { proxy.counts.map(\.silences).reduce(0, +) == 1 })
        #expect(visitor.send("late") && visitor.some() == Array("late".utf8))
        #expect(!proxy.isKnown)
        visitor.end()
        proxy.plane.stop()
        echo.stop()
    }

    @Test("few long connections are spread evenly over the loops, whatever the kernel's chance gives")
    func spread() throws {
        let origin = Origin()
        let gateway = try TestGateway.plain(origin, loops: 2)
        var visitors: [Visitor] = []
        for count in 1...12 {
            let visitor = Visitor(port: gateway.port)
            #expect(visitor.get("/name")?.status == 200)
            visitors.append(visitor)
            let clients = gateway.plane.collect().map(\.counts.clients)
            #expect(clients.reduce(0, +) == count)
            #expect(abs(clients[0] - clients[1]) <= 2, "\(clients)")
        }
        for visitor in visitors { #expect(visitor.get("/name")?.status == 200) }
        for visitor in visitors { visitor.end() }
        gateway.plane.stop()
        origin.stop()
    }
}
