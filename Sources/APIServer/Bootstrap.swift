import KubeClient
import KubeTypes
import Wire

/// What every cluster has from its first moment, made anew where it is missing.
struct Bootstrap {
    let registry: Registry
    let configuration: APIServerConfiguration

    static let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease", "weft-system"]

    /// Those nothing works without.
    static let lasting: Set<String> = ["default", "kube-system", "kube-public", "weft-system"]

    func run() async throws(APIFailure) {
        for name in Self.namespaces {
            try await ensure(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: name))
        }
        for priority in PriorityClasses.systemObjects { try await ensure(AdmissionKind.priorityClasses, priority) }
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "kubernetes")
        service.labels = ["component": "apiserver", "provider": "kubernetes"]
        service.json["spec"] = [
            "type": "ClusterIP", "clusterIP": .string(configuration.kubernetesAddress),
            "ports": [
                [
                    "name": "https", "port": 443, "protocol": "TCP",
                    "targetPort": .int(Int64(configuration.endpointPort)),
                ]
            ],
        ]
        try await ensure(.services, service)
        try await AccessBootstrap(registry: registry).run()
    }

    func writeEndpoints(_ addresses: [String]) async throws(APIFailure) {
        let port: JSON = ["name": "https", "port": .int(Int64(configuration.endpointPort)), "protocol": "TCP"]
        var endpoints = KubeObject(apiVersion: "v1", kind: "Endpoints", namespace: "default", name: "kubernetes")
        endpoints.labels = ["endpointslice.kubernetes.io/skip-mirror": "true"]
        endpoints.json["subsets"] = [
            ["addresses": .array(addresses.map { ["ip": .string($0)] }), "ports": [port]]
        ]
        try await ensure(.endpoints, endpoints)
        var slice = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: "default", name: "kubernetes")
        slice.labels = ["kubernetes.io/service-name": "kubernetes"]
        slice.json["addressType"] = "IPv4"
        slice.json["endpoints"] = .array(
            addresses.map { ["addresses": [.string($0)], "conditions": ["ready": true]] })
        slice.json["ports"] = [port]
        try await ensure(.endpointSlices, slice)
    }

    /// Creates the object, or brings an existing one to what it should say.
    private func ensure(_ type: ResourceType, _ wanted: KubeObject) async throws(APIFailure) {
        let definition = try registry.definition(of: type)
        let context = WriteContext(user: .apiServer)
        do throws(APIFailure) {
            _ = try await registry.create(definition, namespace: wanted.namespace, wanted, context)
            return
        } catch {
            guard error.alreadyExists else { throw error }
        }
        // A user's own changes to these namespaces stay.
        if type == .namespaces { return }
        _ = try await registry.change(definition, wanted.key, context) { old throws(APIFailure) in
            var fresh = old
            for member in wanted.json.object ?? JSONObject() where member.key != "metadata" {
                fresh.json[member.key] = member.value
            }
            fresh.labels.merge(wanted.labels) { _, new in new }
            return fresh
        }
    }
}
