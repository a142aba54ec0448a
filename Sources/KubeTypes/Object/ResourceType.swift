/// A resource the API serves: `apps/v1 deployments`, kind `Deployment`.
package struct ResourceType: Sendable, Hashable, CustomStringConvertible {
    package let group: String  // empty for the core group
    package let version: String
    package let resource: String  // plural, lower case
    package let kind: String
    package let isNamespaced: Bool

    package init(group: String, version: String, resource: String, kind: String, isNamespaced: Bool = true) {
        self.group = group
        self.version = version
        self.resource = resource
        self.kind = kind
        self.isNamespaced = isNamespaced
    }

    package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
    /// `deployments.apps`, as error messages write it.
    package var qualifiedName: String { group.isEmpty ? resource : "\(resource).\(group)" }
    package var description: String { "\(apiVersion) \(resource)" }

    /// `/apis/apps/v1/namespaces/demo/deployments/web`; without a name, the collection; without a namespace, all namespaces.
    package func path(namespace: String = "", name: String? = nil, subresource: String? = nil) -> String {
        var path = group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)"
        if isNamespaced, !namespace.isEmpty { path += "/namespaces/\(namespace)" }
        path += "/\(resource)"
        if let name { path += "/\(name)" }
        if let subresource { path += "/\(subresource)" }
        return path
    }
}

/// The resources our own controllers use.
extension ResourceType {
    package static let namespaces = ResourceType(
        group: "", version: "v1", resource: "namespaces", kind: "Namespace", isNamespaced: false)
    package static let customResourceDefinitions = ResourceType(
        group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions",
        kind: "CustomResourceDefinition", isNamespaced: false)
    package static let nodes = ResourceType(
        group: "", version: "v1", resource: "nodes", kind: "Node", isNamespaced: false)
    package static let pods = ResourceType(group: "", version: "v1", resource: "pods", kind: "Pod")
    package static let services = ResourceType(group: "", version: "v1", resource: "services", kind: "Service")
    package static let endpoints = ResourceType(group: "", version: "v1", resource: "endpoints", kind: "Endpoints")
    package static let serviceAccounts = ResourceType(
        group: "", version: "v1", resource: "serviceaccounts", kind: "ServiceAccount")
    package static let configMaps = ResourceType(group: "", version: "v1", resource: "configmaps", kind: "ConfigMap")
    package static let secrets = ResourceType(group: "", version: "v1", resource: "secrets", kind: "Secret")
    package static let events = ResourceType(group: "", version: "v1", resource: "events", kind: "Event")
    package static let deployments = ResourceType(
        group: "apps", version: "v1", resource: "deployments", kind: "Deployment")
    package static let replicaSets = ResourceType(
        group: "apps", version: "v1", resource: "replicasets", kind: "ReplicaSet")
    package static let replicationControllers = ResourceType(
        group: "", version: "v1", resource: "replicationcontrollers", kind: "ReplicationController")
    package static let statefulSets = ResourceType(
        group: "apps", version: "v1", resource: "statefulsets", kind: "StatefulSet")
    package static let podMetrics = ResourceType(
        group: "metrics.k8s.io", version: "v1beta1", resource: "pods", kind: "PodMetrics")
    package static let horizontalPodAutoscalers = ResourceType(
        group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler")
    package static let podDisruptionBudgets = ResourceType(
        group: "policy", version: "v1", resource: "poddisruptionbudgets", kind: "PodDisruptionBudget")
    package static let endpointSlices = ResourceType(
        group: "discovery.k8s.io", version: "v1", resource: "endpointslices", kind: "EndpointSlice")
    package static let leases = ResourceType(
        group: "coordination.k8s.io", version: "v1", resource: "leases", kind: "Lease")
    package static let httpRoutes = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "httproutes", kind: "HTTPRoute")
    package static let grpcRoutes = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "grpcroutes", kind: "GRPCRoute")
    package static let tlsRoutes = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "tlsroutes", kind: "TLSRoute")
    package static let tcpRoutes = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "tcproutes", kind: "TCPRoute")
    package static let udpRoutes = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "udproutes", kind: "UDPRoute")
    package static let gateways = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "gateways", kind: "Gateway")
    package static let gatewayClasses = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "gatewayclasses", kind: "GatewayClass",
        isNamespaced: false)
    package static let virtualServices = ResourceType(
        group: "networking.istio.io", version: "v1", resource: "virtualservices", kind: "VirtualService")
    package static let destinationRules = ResourceType(
        group: "networking.istio.io", version: "v1", resource: "destinationrules", kind: "DestinationRule")
    package static let istioGateways = ResourceType(
        group: "networking.istio.io", version: "v1", resource: "gateways", kind: "Gateway")
    package static let peerAuthentications = ResourceType(
        group: "security.istio.io", version: "v1", resource: "peerauthentications", kind: "PeerAuthentication")
    package static let authorizationPolicies = ResourceType(
        group: "security.istio.io", version: "v1", resource: "authorizationpolicies", kind: "AuthorizationPolicy")
    package static let requestAuthentications = ResourceType(
        group: "security.istio.io", version: "v1", resource: "requestauthentications", kind: "RequestAuthentication")
    package static let telemetries = ResourceType(
        group: "telemetry.istio.io", version: "v1", resource: "telemetries", kind: "Telemetry")
}

extension ResourceType {
    package static let backendTLSPolicies = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "backendtlspolicies", kind: "BackendTLSPolicy")
    package static let backendTrafficPolicies = ResourceType(
        group: "gateway.networking.x-k8s.io", version: "v1alpha1", resource: "xbackendtrafficpolicies",
        kind: "XBackendTrafficPolicy")
    package static let referenceGrants = ResourceType(
        group: "gateway.networking.k8s.io", version: "v1", resource: "referencegrants", kind: "ReferenceGrant")
}
