import KubeTypes
import Logging
import Store
import Synchronization

/// Admission of one server: its chain, and the work that goes on beside requests.
final class ClusterAdmission: Sendable {
    let chain: AdmissionChain
    /// For all who call webhooks.
    let caller: WebhookCaller
    let resolver: ServiceResolver
    private let registry: Registry
    private let desk: QuotaDesk
    private let tasks = Mutex<[Task<Void, Never>]>([])

    init(_ registry: Registry, _ configuration: APIServerConfiguration, _ access: AccessRules) {
        let authorizer = AdmissionAuthorizer(authorizer: access.authorizer)
        self.registry = registry
        let objects = AdmissionObjects(registry)
        caller = WebhookCaller(dialer: configuration.dialer)
        resolver = ServiceResolver(registry: registry)
        desk = QuotaDesk(registry, logger: configuration.logger)
        let metrics = WebhookMetrics()
        let selection = PolicySelection(objects: objects, authorizer: authorizer, metrics: metrics)
        let webhooks = WebhookAdmission(objects: objects, caller: caller, authorizer: authorizer, metrics: metrics)
        let limits = LimitRanger(objects: objects)
        var chain = AdmissionChain()
        // Kubernetes' order, which users see where two steps could refuse.
        chain.builtIn = [
            NamespaceLifecycle(objects: objects), limits, ServiceAccountAdmission(objects: objects),
            NodeRestriction(objects: objects), NewNodeTaint(), PriorityAdmission(objects: objects),
            DefaultTolerations(), DefaultClassAdmission(objects: objects), RuntimeClassAdmission(objects: objects),
        ]
        chain.builtIn += access.mutating
        chain.mutating = configuration.mutating
        let policies = MutatingPolicyAdmission(selection)
        let refusing = ValidatingPolicyAdmission(selection)
        chain.policies = policies
        chain.webhooks = webhooks
        chain.isObserved = { () async throws(APIFailure) -> Bool in
            if try await !webhooks.mutating.current().isEmpty { return true }
            if try await !webhooks.validating.current().isEmpty { return true }
            if try await !policies.policies.isEmpty() { return true }
            return try await !refusing.policies.isEmpty()
        }
        chain.validating = access.validating
        chain.validating += [
            AdmissionConfigurationChecks(), limits,
            PodSecurityAdmission(objects: objects, configuration: configuration.podSecurity),
            ClaimResizeAdmission(objects: objects), refusing,
        ]
        chain.validating += configuration.validating + [webhooks]
        chain.quota = ResourceQuotaAdmission(registry, desk)
        chain.metrics = StepMetrics(chain)
        self.chain = chain
    }

    /// Begins the work beside requests.
    func start(_ duties: ServerDuties) {
        let (desk, registry) = (desk, registry)
        duties.add {
            [Task { await PolicyStatus(registry: registry).run() }, Task { await desk.run() }]
        }
        tasks.withLock { tasks in
            // Of our own writes the registry tells itself.
            guard registry.store.isShared else { return }
            for type in registry.writes.types { tasks.append(Task { await Self.follow(type, registry) }) }
        }
    }

    func stop() {
        tasks.withLock { tasks in
            for task in tasks { task.cancel() }
            tasks = []
        }
        caller.close()
    }

    /// Notices what another server wrote to a shared store.
    private static func follow(_ type: ResourceType, _ registry: Registry) async {
        let scope = StorageKey.scope(type)
        while !Task.isCancelled {
            var revision = registry.store.revision
            registry.writes.note(type, isMembership: true)
            let watch = registry.store.watch(scope)
            do {
                while true {
                    guard case .events(let events) = try await watch.next(after: &revision) else { continue }
                    let isMembership = events.contains { $0.kind != .updated }
                    registry.writes.note(type, isMembership: isMembership)
                }
            } catch let failure as StoreFailure {
                guard case .expired = failure else { return }
            } catch {
                return
            }
        }
    }
}
