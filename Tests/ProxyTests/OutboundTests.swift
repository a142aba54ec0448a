import CKernel
import Glibc
import ProxyResources
import Testing

@testable import Proxy

@Suite struct OutboundTests {
    /// A proxy whose outbound listener takes everything for one address.
    private func proxy(_ destination: String, _ configuration: ProxyConfiguration) throws -> (
        plane: DataPlane, port: Int
    ) {
        let port = freePort()
        let plane = try DataPlane(
            loops: 1,
            listeners: [ListenerOption(side: .outbound, address: "127.0.0.1", port: port, destination: destination)],
            seed: 3)
        let generation = try plane.apply(configuration, identity: nil)
        #expect(eventually { plane.collect()[0].counts.generation == generation })
        return (plane, port)
    }

    private func service(_ proto: AppProtocol, _ origin: Origin) -> ProxyConfiguration {
        let port = ServicePort(
            namespace: "demo", service: "catalog", port: 8080, addresses: ["10.96.0.77"],
            hosts: ["catalog.demo.svc.cluster.local"],
            appProtocol: proto, routes: [], defaultBackend: "demo/catalog:8080")
        var backend = backend("demo/catalog:8080", [endpoint(Int(origin.port))])
        backend.service = "catalog.demo.svc.cluster.local"
        return ProxyConfiguration(
            workload: workload("frontend"), servicePorts: [port.resourceName: port], backends: [backend.name: backend])
    }

    @Test(
        "a call to a service's address reaches an endpoint, declared HTTP or found to be",
        arguments: [AppProtocol.http, .unknown])
    func service(proto: AppProtocol) throws {
        let origin = Origin()
        let (plane, port) = try proxy("10.96.0.77:8080", service(proto, origin))
        let visitor = Visitor(port: port)
        for _ in 0..<3 { #expect(visitor.get("/name")?.text == "origin") }
        visitor.end()
        let text = String(
            decoding: MetricsText.render(plane.collect(), labels: plane.labels, workload: workload("frontend")),
            as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix("istio_requests_total") } ?? ""
        #expect(line.contains("destination_service=\"catalog.demo.svc.cluster.local\""))
        #expect(line.contains("reporter=\"source\"") && line.hasSuffix(" 3"))
        plane.stop()
        origin.stop()
    }

    @Test("where the server speaks first its words arrive, and each side may end its half")
    func serverFirst() throws {
        let door = Door()
        door.open { client in
            _ = sendAll(client, Array("220 ready\r\n".utf8))
            var reader = SocketReader(client)
            let all = reader.rest()
            _ = sendAll(client, Array("\(all.count) bytes".utf8))
        }
        let fake = Origin()
        var configuration = service(.unknown, fake)
        configuration.backends["demo/catalog:8080"]?.endpoints = [endpoint(Int(door.port))]
        let (plane, port) = try proxy("10.96.0.77:8080", configuration)
        let visitor = Visitor(port: port)
        #expect(visitor.some() == Array("220 ready\r\n".utf8))
        let bytes = [UInt8](repeating: 7, count: 300_000)
        #expect(visitor.send(bytes))
        shutdown(visitor.descriptor, Int32(SHUT_WR))
        #expect(visitor.rest() == Array("300000 bytes".utf8))
        visitor.end()
        #expect(eventually { plane.collect()[0].counts.exchanges == 0 })
        plane.stop()
        fake.stop()
        door.stop()
    }

    @Test("an unknown destination is passed through as it is")
    func passThrough() throws {
        let origin = Origin()
        let (plane, port) = try proxy("127.0.0.1:\(origin.port)", ProxyConfiguration(workload: workload("frontend")))
        let visitor = Visitor(port: port)
        #expect(visitor.get("/name", "x-forwarded-client-cert: kept\r\n")?.text == "origin")
        #expect(header("x-forwarded-client-cert", origin.lastHead) == "kept")
        visitor.end()
        plane.stop()
        origin.stop()
    }
}
