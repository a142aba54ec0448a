package import ProxyResources

/// What holds for the whole mesh.
package struct MeshSettings: Sendable, Hashable {
    package var trustDomain: String
    package var clusterDomain: String
    package var dnsUpstream: String
    /// Where mesh-wide policies stand. Istio's own name is among them so that its files work unchanged.
    package var rootNamespaces: [String]
    /// Collectors by the names policies may give them: `otel` to `otel-collector.observability:4318`.
    package var tracingProviders: [String: String] = [:]
    /// How much of the mesh proxies hold where nobody says otherwise.
    package var loading = Loading.Mode.onDemand
    /// Where services and pods have their addresses: `10.96.0.0/16`. Empty: not known.
    package var ranges: [String] = []

    package init(
        trustDomain: String = "cluster.local", clusterDomain: String = "cluster.local",
        dnsUpstream: String = "10.96.0.10:53", rootNamespaces: [String] = ["weft-system", "istio-system"]
    ) {
        self.trustDomain = trustDomain
        self.clusterDomain = clusterDomain
        self.dnsUpstream = dnsUpstream
        self.rootNamespaces = rootNamespaces
    }

    package func principal(namespace: String, account: String) -> String {
        "spiffe://\(trustDomain)/ns/\(namespace)/sa/\(account)"
    }

    package func host(_ service: String, _ namespace: String) -> String {
        "\(service).\(namespace).svc.\(clusterDomain)"
    }
}
