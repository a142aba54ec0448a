extension MeshControl {
    /// What mesh control counts about itself, in the Prometheus text format. Names known from Istio are kept.
    package func metricsText() -> String {
        let proxies = proxyStatuses()
        let pushes = discovery.counters
        let identities = identities
        let certificates = identities.counters
        var text = ""
        func add(_ name: String, _ type: String, _ help: String, _ values: [(labels: String, value: Int)]) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
            for (labels, value) in values {
                text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
            }
        }
        add("weft_mesh_generation", "gauge", "Newest generation of the model.", [("", discovery.generation)])
        let words = ["SYNCED", "STALE", "REJECTED", "NOT CONNECTED"]
        add(
            "weft_mesh_proxies", "gauge", "Proxies by what they answered to the newest generation.",
            words.map { word in ("status=\"\(word)\"", proxies.count { $0.word == word }) })
        add("pilot_xds", "gauge", "Proxies connected.", [("", proxies.count { $0.connectedSince != nil })])
        add("pilot_xds_pushes", "counter", "Responses sent to proxies.", [("", pushes.pushes)])
        add("pilot_total_xds_rejects", "counter", "Responses that proxies refused.", [("", pushes.rejections)])
        add("weft_xds_connections_total", "counter", "Streams opened by proxies.", [("", pushes.connections)])
        add(
            "weft_xds_resources_sent_total", "counter", "Resources in the responses sent.", [("", pushes.resourcesSent)]
        )
        add("weft_identity_issued_total", "counter", "Certificates issued to workloads.", [("", certificates.issued)])
        add(
            "weft_identity_rotated_total", "counter", "Certificates issued in place of older ones.",
            [("", certificates.rotated)])
        add(
            "weft_identity_failures_total", "counter", "Certificates that could not be issued.",
            [("", certificates.failed)])
        if let expiry = identities.earliestExpiry {
            add(
                "weft_identity_earliest_expiry_seconds", "gauge",
                "When the first workload certificate ends, Unix time.",
                [("", Int(expiry))])
        }
        return text
    }
}
