package import KubeClient
package import KubeTypes
package import Logging
package import MeshModel
package import NIOCore

package struct MeshControlConfiguration: Sendable {
    package var settings: MeshSettings
    /// Holds the mesh's authority: `<state>/pki/mesh-ca`.
    package var authorityDirectory: String
    package var proxyImage: String
    /// How long changes are gathered before proxies are told: a burst becomes one.
    package var gathering: Duration
    package var identityLifetime: Duration

    package init(
        settings: MeshSettings = MeshSettings(), authorityDirectory: String,
        proxyImage: String = "weft.dev/meshproxy:dev",
        gathering: Duration = .milliseconds(20), identityLifetime: Duration = .seconds(24 * 3600)
    ) {
        self.settings = settings
        self.authorityDirectory = authorityDirectory
        self.proxyImage = proxyImage
        self.gathering = gathering
        self.identityLifetime = identityLifetime
    }
}

/// Mesh control: watches the cluster, makes the model, tells the proxies, and writes what became of each policy into its status.
package final class MeshControl: Sendable {
    package let discovery: Discovery
    package let identities: IdentityIssuer
    package let template: InjectionTemplate
    private let keeper: ModelKeeper
    private let running: Task<Void, Never>

    private init(
        _ discovery: Discovery, _ identities: IdentityIssuer, _ template: InjectionTemplate, _ keeper: ModelKeeper,
        _ running: Task<Void, Never>
    ) {
        self.discovery = discovery
        self.identities = identities
        self.template = template
        self.keeper = keeper
        self.running = running
    }

    /// Returns at once: sockets can be opened, and proxies are answered when the first model is made.
    package static func start(
        api: any KubeAPI, configuration: MeshControlConfiguration, group: any EventLoopGroup, logger: Logger
    ) throws -> MeshControl {
        let authority = try MeshAuthority.open(
            directory: configuration.authorityDirectory, trustDomain: configuration.settings.trustDomain)
        let template = try InjectionTemplate.linked(values: ["image": configuration.proxyImage])
        let identities = IdentityIssuer(authority, lifetime: configuration.identityLifetime)
        let discovery = Discovery(group: group, issuer: identities, logger: logger)
        let statuses = StatusWriter(api, logger)
        let (models, published) = AsyncStream.makeStream(
            of: StatusWriter.Wanted.self, bufferingPolicy: .bufferingNewest(1))
        let keeper = ModelKeeper(
            settings: configuration.settings, gathering: configuration.gathering,
            publish: { discovery.publish($0) }, report: { published.yield(StatusWriter.Wanted($0, $1)) })
        let keys = KeySetFetch(logger) { address, found in await keeper.adopt(found, from: address) }
        let running = Task {
            await withDiscardingTaskGroup { tasks in
                tasks.addTask {
                    while !Task.isCancelled {
                        let addresses = await keeper.state.keyAddresses
                        if !addresses.isEmpty {
                            await keys.look(at: addresses, hosts: await keeper.serviceAddresses)
                        }
                        try? await Task.sleep(for: .milliseconds(500))
                    }
                }
                tasks.addTask { await keeper.follow(api, logger) }
                tasks.addTask {
                    for await wanted in models { await statuses.write(wanted) }
                }
                tasks.addTask {
                    while !Task.isCancelled {
                        try? await Task.sleep(for: min(.seconds(10), configuration.identityLifetime / 20))
                        discovery.renewIdentities()
                    }
                }
            }
        }
        return MeshControl(discovery, identities, template, keeper, running)
    }

    /// Ends the watches and the proxies' connections; proxies keep what they have.
    package func stop() async {
        running.cancel()
        await running.value
        await discovery.shutdown()
    }

    // MARK: Pods of this process

    /// Serves the pod's proxy on `<directory>/mesh.sock`.
    package func open(pod: KubeObject, directory: String) async throws {
        try await discovery.open(pod: pod, directory: directory)
    }

    package func close(podUID: String) async { await discovery.close(podUID: podUID) }

    /// The termination barrier: returns when no proxy sends anything new to a pod that is to stop, that is when no endpoint slice
    /// offers it and every proxy has answered to the model made after that; at `deadline` at the latest. A ready proxy that is not
    /// connected, as all are after a restart of this process, still sends by the model before: it is waited for.
    package func waitUntilWithdrawn(_ pod: KubeObject, deadline: Timestamp) async {
        let address = MeshPod(pod).address
        if address.isEmpty { return }
        var generation: Int?
        while Timestamp.now() < deadline, !Task.isCancelled {
            if let generation {
                if discovery.haveAnswered(generation, with: await keeper.readyProxies) { return }
            } else if await keeper.isWithdrawn(address) {
                generation = discovery.generation
                continue
            }
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    // MARK: Admission

    package func inject(_ pod: KubeObject, namespaceLabels: [String: String]) -> Injection {
        injection(of: pod, namespaceLabels: namespaceLabels, template)
    }

    /// What is wrong with a policy about to be stored; see `lint`.
    package func findings(_ type: ResourceType, _ object: KubeObject) async -> [PolicyFinding] {
        lint(type, object, in: await keeper.state)
    }

    // MARK: Seeing

    package func proxyStatuses() -> [ProxyStatus] { discovery.statuses() }

    /// Tokens of global limits leased to proxies so far.
    package var quotaGranted: Int { Int(discovery.quota.counters.granted) }

    /// The model last published, and the state it was made from.
    package func snapshot() async -> (model: MeshModel, state: MeshState) { await (keeper.model, keeper.state) }

    /// Returns once a model has been published.
    package func waitUntilReady() async { await keeper.waitForModel() }
}
