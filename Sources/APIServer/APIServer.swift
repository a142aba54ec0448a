import KubeClient
import KubeTypes
import Logging
import Store
import Wire

/// The API of one cluster: its store, its rules, and the sockets it is served on.
package final class APIServer: Sendable {
    let configuration: APIServerConfiguration
    let registry: Registry

    private init(_ configuration: APIServerConfiguration, _ registry: Registry) {
        self.configuration = configuration
        self.registry = registry
    }

    /// Opens the store, makes what every cluster has, and serves. Ready when it returns.
    package static func start(_ configuration: APIServerConfiguration) async throws -> APIServer {
        let store = try EmbeddedStore(directory: configuration.stateDirectory, logger: configuration.logger)
        let addresses = try ServiceAddresses(
            range: configuration.serviceRange, reserved: [configuration.kubernetesAddress, configuration.dnsAddress])
        let registry = Registry(
            store: store, catalog: .builtIn, addresses: addresses, logger: configuration.logger)
        let services = try registry.list(try registry.definition(of: .services), namespace: "", .all)
        addresses.adopt(services.items)
        registry.admission = AdmissionChain(
            mutating: [ServiceAccountAdmission(registry: registry)] + configuration.mutating, validating: configuration.validating)
        try await Bootstrap(registry: registry, configuration: configuration).run()
        return APIServer(configuration, registry)
    }

    /// The API without the socket, for one of our own parts: `api(as: .component("controllers"))`.
    package func api(as user: User) -> InProcessAPI { InProcessAPI(registry, user: user) }

    /// Ends watches and connections, then closes the store. Everything answered before is stored.
    package func stop() async {
        registry.store.close()
    }
}
