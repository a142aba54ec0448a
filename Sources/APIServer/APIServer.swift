import KubeClient
package import KubeTypes
import Logging
import Store
import TLS
import Transport
import Wire

/// The API of one cluster: its store, its rules, and the sockets it is served on.
package final class APIServer: Sendable {
    let registry: Registry
    private let access: AccessControl
    private let http: HTTPServer
    private let extensions: ExtensionList
    private let kinds: KindServices
    private let lifecycle: ServerLifecycle
    private let admission: ClusterAdmission
    private let duties: ServerDuties
    /// The certificate clients check this server's by, PEM.
    package let rootCertificate: String

    private init(
        _ registry: Registry, _ access: AccessControl, _ admission: ClusterAdmission, _ http: HTTPServer,
        _ extensions: ExtensionList, _ kinds: KindServices, _ lifecycle: ServerLifecycle, _ duties: ServerDuties,
        rootCertificate: String
    ) {
        self.duties = duties
        self.registry = registry
        self.access = access
        self.admission = admission
        self.kinds = kinds
        self.http = http
        self.extensions = extensions
        self.lifecycle = lifecycle
        self.rootCertificate = rootCertificate
    }

    /// Opens the store, makes what every cluster has, writes the kubeconfig, and serves. Ready when it returns.
    package static func start(_ configuration: APIServerConfiguration) async throws -> APIServer {
        let store = try await open(configuration)
        do {
            let (registry, authorizer, admission) = try await openRegistry(store, configuration)
            let pki = try ClusterPKI.open(
                configuration.stateDirectory + "/pki", serverNames: serverNames(configuration))
            let extensions = ExtensionList()
            if let nodes = configuration.nodes { extensions.add(ResourceMetrics(registry: registry, nodes: nodes)) }
            let lifecycle = ServerLifecycle(registry)
            let duties = ServerDuties(logger: configuration.logger)
            let access = try AccessControl.start(
                registry, pki, authorizer, configuration.access, duties, configuration.logger)
            registry.converter = ObjectConverter(admission.caller, admission.resolver)
            let kinds = KindServices(registry, pki, admission.resolver, dialer: configuration.dialer)
            let http = try makeServer(registry, access, pki, extensions, lifecycle, kinds.aggregator, configuration)
            try await kinds.start()
            for listener in configuration.listeners { try await http.listen(on: listener) }
            let root = String(decoding: try pki.authority.certificate.pem(), as: UTF8.self)
            admission.start(duties)
            duties.add { [Task { await ClaimRepair.run(registry) }, Task { await DefaultServiceCIDR.run(registry) }] }
            let own = InProcessAPI(registry, access, extensions, user: .apiServer)
            try duties.start(sharedBy: store.isShared ? own : nil)
            if store.isShared { duties.keep(Task { await Self.keepEndpoints(registry, configuration) }) }
            return APIServer(
                registry, access, admission, http, extensions, kinds, lifecycle, duties, rootCertificate: root)
        } catch {
            store.close()
            throw error
        }
    }

    private static func open(_ configuration: APIServerConfiguration) async throws -> any Store {
        switch configuration.storage {
        case .embedded:
            return try EmbeddedStore(
                directory: configuration.stateDirectory, historyEvents: configuration.historyEvents,
                historyAge: configuration.historyAge, logger: configuration.logger)
        case .etcd(var etcd):
            etcd.historyEvents = configuration.historyEvents
            etcd.historyAge = configuration.historyAge
            return try await EtcdStore.open(etcd, logger: configuration.logger)
        }
    }

    private static func openRegistry(_ store: any Store, _ configuration: APIServerConfiguration) async throws
        -> (Registry, any Authorizer, ClusterAdmission)
    {
        let range = try ServiceRange(
            configuration.serviceRange, reserved: [configuration.kubernetesAddress, configuration.dnsAddress])
        let registry = Registry(
            store: store, catalog: .builtIn, serviceRange: range, encryption: configuration.encryption,
            logger: configuration.logger)
        try registry.requireReadableSecrets()
        let access = AccessRules(registry)
        let admission = ClusterAdmission(registry, configuration, access)
        registry.admission = admission.chain
        // Before anybody asks for an address.
        var repair = ClaimRepair(registry)
        try await repair.pass()
        try await Bootstrap(registry: registry, configuration: configuration).run()
        try await DefaultServiceCIDR(registry: registry).ensure()
        var endpoints = ServerEndpoints(registry, configuration)
        try await endpoints.write()
        try access.follow()
        return (registry, access.authorizer, admission)
    }

    private static func keepEndpoints(_ registry: Registry, _ configuration: APIServerConfiguration) async {
        var endpoints = ServerEndpoints(registry, configuration)
        await endpoints.run()
    }

    private static func makeServer(
        _ registry: Registry, _ access: AccessControl, _ pki: ClusterPKI, _ extensions: ExtensionList,
        _ lifecycle: ServerLifecycle, _ aggregator: Aggregator,
        _ configuration: APIServerConfiguration
    ) throws -> HTTPServer {
        let server = "https://\(configuration.publicAddress):\(configuration.publicPort)"
        try Kubeconfig.write(
            configuration.stateDirectory + "/kubeconfig", cluster: configuration.clusterName, server: server, pki)
        let tls = try TLSContext(
            .server,
            .server(
                certificates: [pki.serverCertificate], key: pki.serverKey, clientRoots: [pki.authority.certificate],
                applicationProtocols: ["h2", "http/1.1"]))
        let metrics = RequestMetrics()
        let handler = RequestHandler(
            registry: registry, access: access, nodes: configuration.nodes,
            documents: ServerDocuments(
                registry: registry, metrics: metrics, fairness: access.fairness,
                address: "\(configuration.publicAddress):\(configuration.publicPort)", lifecycle: lifecycle,
                issuer: try IssuerDocuments(access.accountTokens, server: server)),
            metrics: metrics, extensions: extensions, aggregator: aggregator, logger: configuration.logger,
            inFlight: RequestsInFlight(limit: configuration.requestLimit))
        return HTTPServer(HTTPServer.Configuration(tls: tls), logger: configuration.logger) { request, responder in
            await handler.handle(request, responder)
        }
    }

    private static func serverNames(_ configuration: APIServerConfiguration) -> [SubjectAlternativeName] {
        var addresses: [String] = []
        for address in [
            "127.0.0.1", configuration.publicAddress, configuration.kubernetesAddress, configuration.endpointAddress,
        ]
        where !addresses.contains(address) { addresses.append(address) }
        let names = [
            "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        return names.map(SubjectAlternativeName.dns) + addresses.map(SubjectAlternativeName.ip)
    }

    /// The API without the socket, for one of our own parts: `api(as: .component("controllers"))`.
    package func api(as user: User) -> InProcessAPI {
        InProcessAPI(registry, access, extensions, user: user)
    }

    /// What can be listed, watched and deleted now, each kind once, in the version it is stored in.
    package var storedTypes: [ResourceType] {
        let verbs = ["list", "watch", "delete"]
        return registry.catalog.definitions.filter { definition in
            definition.type == definition.storageType && verbs.allSatisfy(definition.verbs.contains)
        }.map(\.type)
    }

    /// Serves more paths from now on.
    package func add(_ part: any APIExtension) { extensions.add(part) }

    /// Says it is not ready, ends watches, lets requests in work finish, then closes the store. Everything answered before is
    /// stored.
    package func stop() async {
        lifecycle.beginShutdown()
        await duties.stop()
        admission.stop()
        registry.store.endWatches()
        await kinds.stop()
        await http.stop(grace: .seconds(5))
        registry.store.close()
    }
}
