import Glibc
import ProxyResources

@testable import Proxy

/// Runs a command to its end and gives what it wrote, and its status.
func output(of command: String) -> (text: String, status: Int32) {
    guard let pipe = popen("\(command) 2>&1", "r") else { return ("", -1) }
    var text: [UInt8] = []
    var space = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = fread(&space, 1, space.count, pipe)
        if count == 0 { break }
        text += space[..<count]
    }
    let status = pclose(pipe)
    return (String(decoding: text, as: UTF8.self), status >> 8 & 0xFF)
}

/// A gateway and a sidecar before an app of any kind, over mutual TLS, speaking HTTP/2 between them where they can.
struct TestHops {
    let gateway: TestGateway
    let sidecar: DataPlane

    init(
        app port: Int, speaks appProtocol: AppProtocol, multiplexing: Multiplexing = .byLoad,
        policies: [String] = []
    ) throws {
        let authority = try TestAuthority()
        let inbound = freePort()
        gateway = try TestGateway()
        sidecar = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(
                    side: .inbound, address: "127.0.0.1", port: inbound, destination: "127.0.0.1:\(port)")
            ], seed: 3)
        var own = workload("catalog") {
            $0.mutualTLS = .strict
            $0.inboundPorts = [
                InboundPort(port: port, appProtocol: appProtocol, service: "catalog.demo.svc.cluster.local")
            ]
        }
        own.security.policies = try policies.map { try policy($0) }
        try sidecar.apply(ProxyConfiguration(workload: own), identity: try authority.identity("catalog"))
        var destination = backend("catalog", [endpoint(inbound, principal: TestAuthority.principal("catalog"))])
        destination.appProtocol = appProtocol
        var configuration = gateway.configuration([rule([("catalog", 1)])], [destination])
        configuration.workload.multiplexing = multiplexing
        try gateway.plane.apply(configuration, identity: try authority.identity("frontend"))
        guard eventually({ gateway.plane.collect().allSatisfy { $0.counts.generation > 0 } }),
            eventually({ sidecar.collect().allSatisfy { $0.counts.generation > 0 } })
        else { throw ConfigurationFault("the loops did not take the configuration") }
    }

    func end() {
        gateway.plane.stop()
        sidecar.stop()
    }
}
