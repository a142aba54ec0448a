import KubeTypes
import ProxyResources

/// Makes the model from the state. Pure: the same state gives the same model.
package func compile(_ state: MeshState) -> MeshModel {
    var model = MeshModel()
    let requirements = PeerRequirements(state)
    let subsets = SubsetRules(state)
    let endpoints = EndpointTable(state, requirements)
    let references = References(state, subsets)

    let secured = BackendSecurity(state)
    let traffic = BackendTraffic(state)
    var found: [PolicyFinding] = []
    for service in state.services.values where !service.isExternalName {
        let host = state.settings.host(service.key.name, service.key.namespace)
        let rule = subsets.rule(for: service.key)
        for port in service.ports {
            let destination = ServiceBackends(service: service, port: port, rule: rule, host: host)
            var backends = destination.backends(endpoints, secured)
            for place in backends.indices {
                traffic.apply(to: &backends[place], of: service.key)
                model.backends[backends[place].name] = backends[place]
            }
            found += destination.findings(backends)
        }
    }

    var routes = MeshRoutes(state, references)
    routes.compile(into: &model)
    var gateways = GatewayRoutes(state, references)
    gateways.compile()
    model.gateways = gateways.statuses
    model.gatewayClasses = state.gatewayClasses.values.filter(\.isOurs).sorted { $0.name < $1.name }.map {
        GatewayClassStatus(name: $0.name, generation: $0.generation)
    }
    model.backendTLSPolicies = secured.statuses(gateways.gatewaysOfServices)
    model.httpRoutes = routeStatuses(state, mesh: routes.parents, gateways: gateways.parents)

    let inbound = InboundPorts(state)
    let policies = WorkloadPolicies(state)
    let telemetry = TelemetryOfPods(state)
    let loading = LoadingRules(state, model)
    for pod in state.pods.values where pod.hasProxy && !pod.isFinished {
        var made = workload(
            pod, state.settings, requirements.requirement(for: pod), inbound.ports(of: pod),
            gateways.listeners(of: pod),
            locality: state.locality(ofNode: pod.node))
        made.security = policies.security(of: pod) { gateways.ports(of: pod, for: $0) }
        made.telemetry = telemetry.telemetry(for: pod)
        made.loading = loading.loading(of: pod)
        made.clientCertificate = gateways.clientCertificate(of: pod)
        model.workloads[pod.key] = made
    }
    let budgets = Budgets(state)
    model.budgets = budgets.limits
    var findings = state.ownFindings + found
    findings += budgets.findings
    findings += requirements.findings
    findings += telemetry.findings
    findings += subsets.findings
    findings += routes.findings
    findings += gateways.findings
    findings += policies.findings
    findings += secured.findings
    findings += traffic.findings
    model.findings = Set(findings).sorted { ($0.object, $0.field, $0.message) < ($1.object, $1.field, $1.message) }
    return model
}

/// `demo/catalog:8080`, or `demo/catalog:8080/v1` for a subset.
func backendName(_ service: ObjectKey, _ port: Int, subset: String? = nil) -> String {
    let name = "\(service.namespace)/\(service.name):\(port)"
    return subset.map { "\(name)/\($0)" } ?? name
}

private func workload(
    _ pod: MeshPod, _ settings: MeshSettings, _ requirement: PeerRequirement, _ ports: [InboundPort],
    _ listeners: [GatewayListener], locality: String
) -> Workload {
    var made = Workload(
        namespace: pod.key.namespace, pod: pod.key.name, name: pod.workload, app: pod.app, version: pod.version,
        node: pod.node, locality: locality, trustDomain: settings.trustDomain,
        principal: settings.principal(namespace: pod.key.namespace, account: pod.account),
        mutualTLS: requirement.mode, portMutualTLS: requirement.ports, inboundPorts: pod.isGateway ? [] : ports,
        gatewayListeners: listeners, clusterDomain: settings.clusterDomain, dnsUpstream: settings.dnsUpstream)
    made.rateLimits = pod.rateLimits.value ?? []
    made.labels = pod.labels
    return made
}

extension MeshState {
    /// What the objects say about themselves, whatever else there is.
    var ownFindings: [PolicyFinding] {
        var all = routes.flatMap(\.findings)
        all += connectionRoutes.values.flatMap(\.findings)
        all += gateways.values.flatMap(\.findings)
        all += virtualServices.values.flatMap(\.findings)
        all += destinationRules.values.flatMap(\.findings)
        all += istioGateways.values.flatMap(\.findings)
        all += peerAuthentications.values.flatMap(\.findings)
        all += telemetries.values.flatMap(\.findings)
        all += services.values.compactMap { service in
            service.resilience.finding(PolicyReference(.services, service.key), MeshWords.resilience)
        }
        all += pods.values.compactMap { $0.rateLimits.finding(PolicyReference(.pods, $0.key), MeshWords.rateLimits) }
        all += pods.values.flatMap(\.loading.findings)
        all += accessPolicies.values.flatMap(\.findings)
        all += requestAuthentications.values.flatMap(\.findings)
        all += securityMaps.values.flatMap(\.findings)
        all += backendTLSPolicies.values.flatMap(\.findings)
        all += backendTrafficPolicies.values.flatMap(\.findings)
        return all
    }
}

/// Routes with a status: those with a parent we answer for, with their parents in the order written.
private func routeStatuses(
    _ state: MeshState, mesh: [PolicyReference: [HTTPRouteStatus.Parent]],
    gateways: [PolicyReference: [HTTPRouteStatus.Parent]]
) -> [HTTPRouteStatus] {
    let all: [any AttachedRoute] = state.routes + Array(state.connectionRoutes.values)
    return all.sorted { $0.reference < $1.reference }.compactMap { route in
        let parents = (mesh[route.reference] ?? []) + (gateways[route.reference] ?? [])
        if parents.isEmpty { return nil }
        return HTTPRouteStatus(
            type: route.type, key: route.key, generation: route.generation,
            parents: parents.sorted { $0.parent.index < $1.parent.index })
    }
}
