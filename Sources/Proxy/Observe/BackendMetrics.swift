/// Metrics of backends: what Envoy says of its clusters.
extension MetricsText {
    mutating func backends() {
        let pools = snapshot.pools
        gauge(pools, "weft_backend_connections", "Connections to a backend's endpoints, idle ones too.") {
            $0.connections
        }
        gauge(pools, "weft_backend_connections_idle", "Those that no request uses.") { $0.idle }
        gauge(pools, "weft_backend_requests_active", "Requests a backend works on.") { $0.active }
        gauge(pools, "weft_backend_endpoints", "Endpoints of a backend in use.") { $0.endpoints }
        gauge(pools, "weft_backend_endpoints_ejected", "Of those, put out for failing.") { $0.ejected }
        gauge(pools, "weft_backend_endpoints_unhealthy", "Of those, failing their checks.") { $0.unwell }
        let name = "weft_outlier_ejections_total"
        if snapshot.ejections.allSatisfy({ $0.count == 0 }) { return }
        family(name, "counter", "Endpoints put out for failing, by the rule they broke.")
        for (cause, count) in snapshot.ejections where count > 0 {
            line("\(name){cause=\"\(cause.word)\"} \(count)")
        }
    }

    private mutating func gauge(
        _ pools: [PoolCount], _ name: String, _ help: String, _ value: (PoolCount) -> Int
    ) {
        if pools.isEmpty { return }
        family(name, "gauge", help)
        for pool in pools { line("\(name){backend=\"\(Self.quoted(pool.backend))\"} \(value(pool))") }
    }
}
