import ProxyResources
import TLS

@testable import Proxy

/// Identities of one throw-away authority.
struct TestAuthority {
    let authority: CertificateAuthority
    init() throws { authority = try CertificateAuthority.create(commonName: "test root") }

    static func principal(_ account: String) -> String { "spiffe://cluster.local/ns/demo/sa/\(account)" }

    func identity(_ account: String) throws -> Identity {
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                subjectAlternativeNames: [.uri(Self.principal(account))], serverUse: true, clientUse: true,
                lifetime: .seconds(3600),
                publicKey: try key.publicKey()))
        return Identity(
            certificateChain: text(try certificate.pem()), privateKey: text(try key.pem()),
            trustRoots: text(try authority.certificate.pem()), expires: certificate.notAfter)
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

func workload(_ name: String, _ change: (inout Workload) -> Void = { _ in }) -> Workload {
    var workload = Workload(
        namespace: "demo", pod: "\(name)-x", name: name, app: name, version: "v1",
        principal: TestAuthority.principal(name))
    change(&workload)
    return workload
}

func backend(_ name: String, _ endpoints: [Endpoint]) -> Backend {
    Backend(name: name, service: "\(name).demo.svc.cluster.local", namespace: "demo", endpoints: endpoints)
}

func endpoint(_ port: Int, principal: String? = nil) -> Endpoint {
    Endpoint(address: "127.0.0.1", port: port, principal: principal, workload: "catalog", version: "v1", app: "catalog")
}

func rule(_ backends: [(String, Int)], _ change: (inout RouteRule) -> Void = { _ in }) -> RouteRule {
    var rule = RouteRule(name: "rule", backends: backends.map { WeightedBackend(backend: $0.0, weight: $0.1) })
    change(&rule)
    return rule
}

/// A gateway on a port of its own, all of whose traffic follows `rules`.
struct TestGateway {
    let port = freePort()
    let plane: DataPlane

    init(loops: Int = 1) throws { plane = try DataPlane(loops: loops, listeners: [], seed: 7) }

    func configuration(_ rules: [RouteRule], _ backends: [Backend], hosts: [String] = ["*"]) -> ProxyConfiguration {
        let listener = GatewayListener(name: "http", port: port, routes: [VirtualHost(hosts: hosts, rules: rules)])
        return ProxyConfiguration(
            workload: workload("frontend") { $0.gatewayListeners = [listener] },
            backends: Dictionary(backends.map { ($0.name, $0) }) { $1 })
    }

    func apply(_ rules: [RouteRule], _ backends: [Backend], identity: Identity? = nil, hosts: [String] = ["*"]) throws {
        let generation = try plane.apply(configuration(rules, backends, hosts: hosts), identity: identity)
        guard eventually({ plane.collect().allSatisfy { $0.counts.generation == generation } }) else {
            throw ConfigurationFault("the loops did not take generation \(generation)")
        }
    }

    /// Sends everything to plain origins.
    static func plain(_ origins: Origin..., loops: Int = 1) throws -> TestGateway {
        let gateway = try TestGateway(loops: loops)
        try gateway.apply([rule([("origin", 1)])], [backend("origin", origins.map { endpoint(Int($0.port)) })])
        return gateway
    }
}

/// A client's gateway and a server's sidecar before an origin, over mutual TLS.
struct TestPair {
    let origin = Origin()
    let gateway: TestGateway
    let server: DataPlane
    let inboundPort = freePort()
    let authority: TestAuthority

    init(mode: MutualTLS = .strict, expecting: String = "catalog", loops: Int = 1) throws {
        authority = try TestAuthority()
        gateway = try TestGateway(loops: loops)
        server = try DataPlane(
            loops: loops,
            listeners: [
                ListenerOption(
                    side: .inbound, address: "127.0.0.1", port: inboundPort, destination: "127.0.0.1:\(origin.port)")
            ], seed: 9)
        try server.apply(serverConfiguration(mode), identity: try authority.identity("catalog"))
        try gateway.apply(
            [rule([("catalog", 1)])],
            [backend("catalog", [endpoint(inboundPort, principal: TestAuthority.principal(expecting))])],
            identity: try authority.identity("frontend"))
    }

    func serverConfiguration(_ mode: MutualTLS) -> ProxyConfiguration {
        ProxyConfiguration(
            workload: workload("catalog") {
                $0.mutualTLS = mode
                $0.inboundPorts = [
                    InboundPort(
                        port: Int(origin.port), appProtocol: .unknown, service: "catalog.demo.svc.cluster.local")
                ]
            })
    }

    func end() {
        gateway.plane.stop()
        server.stop()
        origin.stop()
    }
}
