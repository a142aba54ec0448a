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
        let quota = discovery.quota
        let budgets = quota.summary
        if !budgets.isEmpty {
            func rows(_ value: (_ keys: Int, _ holders: Int, _ held: Int) -> Int) -> [(labels: String, value: Int)] {
                budgets.map { ("budget=\"\($0.budget)\"", value($0.keys, $0.holders, Int($0.held))) }
            }
            add("weft_quota_keys", "gauge", "Keys a global limit remembers.", rows { keys, _, _ in keys })
            add("weft_quota_leases", "gauge", "Leases of a global limit's keys.", rows { _, holders, _ in holders })
            add("weft_quota_held_tokens", "gauge", "Tokens in the hands of proxies.", rows { _, _, held in held })
            let counters = quota.counters
            add("weft_quota_reports_total", "counter", "Reports of proxies.", [("", counters.reports)])
            add("weft_quota_granted_total", "counter", "Tokens leased to proxies.", [("", Int(counters.granted))])
            add("weft_quota_evicted_total", "counter", "Keys forgotten for want of room.", [("", counters.evicted)])
        }
        if let expiry = identities.earliestExpiry {
            add(
                "weft_identity_earliest_expiry_seconds", "gauge",
                "When the first workload certificate ends, Unix time.",
                [("", Int(expiry))])
        }
        return text
    }
}
