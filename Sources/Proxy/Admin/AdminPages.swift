import Glibc
import ProxyResources
import Wire

/// What the proxy answers about itself, by listener and path.
struct AdminPages: Sendable {
    enum Door: Sendable { case health, metrics, admin }

    struct Page {
        var status = 200
        var type = "application/json"
        var body: [UInt8] = []
        static func text(_ text: String, status: Int = 200) -> Page {
            Page(status: status, type: "text/plain", body: Array(text.utf8))
        }
        static func json(_ json: JSON) -> Page { Page(body: Array(json.pretty().utf8)) }
    }

    /// A page instead of what was asked for.
    struct Refusal: Error {
        let page: Page
        init(_ page: Page) { self.page = page }
    }

    let state: ProgramState

    func page(_ door: Door, _ request: AdminRequest) -> Page {
        guard request.method == "GET" || request.method == "HEAD" else { return .text("only GET\n", status: 405) }
        switch (door, request.path) {
        case (.health, "/healthz/ready"), (.admin, "/ready"): return ready()
        case (.metrics, "/stats/prometheus"), (.admin, "/stats/prometheus"), (.admin, "/stats"), (.metrics, "/metrics"):
            return metrics(request)
        case (.admin, "/explain"):
            guard let configuration = state.configuration else { return ready() }
            let page = ExplainPage(configuration: configuration)
            guard let key = page.missing(request) else { return page.page(request) }
            state.plane.commons.demand.wait(for: key)
            return ExplainPage(configuration: state.configuration ?? configuration).page(request)
        case (.admin, "/requests"): return RecordPages(state: state).requests(request)
        case (.admin, "/config_dump"): return .json(configuration())
        case (.admin, "/edges"): return .json(edges())
        case (.admin, "/clusters"): return .json(BackendSurvey.page(state.plane.survey()))
        case (.admin, "/"):
            return .text(
                "/clusters\n/config_dump\n/edges\n/explain?host=&path=&method=&header=a:b\n/ready\n/requests?last=N|failed|id=\n/stats\n/tap?status=5xx&path=\n"
            )
        default: return .text("no such page: \(request.path)\n", status: 404)
        }
    }

    private func ready() -> Page {
        if state.isReady { return .text("ready\n") }
        return .text(state.read { $0.isDraining } ? "draining\n" : "not configured yet\n", status: 503)
    }

    /// OpenMetrics when it is asked for, otherwise the Prometheus text format.
    private func metrics(_ request: AdminRequest) -> Page {
        let isOpen = request.accept.contains("application/openmetrics-text")
        let text = MetricsText.render(state.metricsSnapshot(), isOpen ? .openMetrics : .prometheus)
        let type =
            isOpen
            ? "application/openmetrics-text; version=1.0.0; charset=utf-8" : "text/plain; version=0.0.4; charset=utf-8"
        return Page(type: type, body: text)
    }

    /// What this proxy runs, as the control plane sent it; keys stay secret.
    private func configuration() -> JSON {
        let held = state.read { held in
            (
                held.configuration, held.identity, held.versions, held.isConnected, held.isRestored, held.generation,
                held.lastFault
            )
        }
        var dump = JSONObject()
        dump["role"] = .string(state.role)
        dump["pid"] = .int(Int64(getpid()))
        dump["generation"] = .int(Int64(held.5))
        dump["connected"] = .bool(held.3)
        dump["restored"] = .bool(held.4)
        if !held.6.isEmpty { dump["lastFault"] = .string(held.6) }
        if let identity = held.1 {
            var json = identity.json
            json["privateKey"] = "(secret)"
            dump["identity"] = json
        }
        if let configuration = held.0 {
            dump["workload"] = configuration.workload.json.withoutKeys
            dump["servicePorts"] = .array(configuration.servicePorts.sorted { $0.key < $1.key }.map(\.value.json))
            dump["backends"] = .array(
                configuration.backends.sorted { $0.key < $1.key }.map(\.value.json.withoutKeys))
            if configuration.workload.loading.mode == .onDemand { dump["destinations"] = .array(destinations()) }
        }
        var versions = JSONObject()
        for (kind, names) in held.2.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            versions[kind.word] = JSON(names)
        }
        dump["versions"] = .object(versions)
        return .object(dump)
    }

    /// What was asked for, by address or host, and how many connections there are to it.
    private func destinations() -> [JSON] {
        let held = state.read { $0.configuration?.destinations } ?? [:]
        return state.plane.commons.demand.contents.map { key, standing, open in
            var json = held[key]?.json ?? ["key": .string(key)]
            json["state"] = .string("\(standing)")
            json["connections"] = .int(Int64(open))
            return json
        }
    }

    /// Who talked with whom, from the counters.
    private func edges() -> JSON {
        struct Edge: Hashable {
            var peer: UInt32
            var service: UInt32
            var isDestination: Bool
            var security: Security
        }
        let merged = MetricsText.merge(state.plane.collect().map(\.series))
        let (peers, services) = state.plane.labels.contents()
        let own = state.read { $0.configuration?.workload }
        var counts: [Edge: (requests: UInt64, failed: UInt64, fine: FineHistogram)] = [:]
        for series in merged {
            let key = series.key
            let edge = Edge(
                peer: key.peer, service: key.service, isDestination: key.isDestination, security: key.security)
            if key.isOverflow { continue }
            var count = counts[edge] ?? (0, 0, FineHistogram())
            count.fine.add(series.fine)
            count.requests += series.count
            if key.kind != .tcp && key.status >= 500 { count.failed += series.count }
            counts[edge] = count
        }
        var list: [JSON] = []
        let ordered = counts.sorted { ($0.key.service, $0.key.peer) < ($1.key.service, $1.key.peer) }
        for (edge, count) in ordered {
            let other = Int(edge.peer) < peers.count ? peers[Int(edge.peer)] : .unknown
            func workload(_ isOwn: Bool) -> JSON {
                var json = JSONObject()
                json["workload"] = .string(isOwn ? own?.name ?? "" : other.workload)
                json["namespace"] = .string(isOwn ? own?.namespace ?? "" : other.namespace)
                json["principal"] = .string(isOwn ? own?.principal ?? "" : other.principal)
                json["version"] = .string(isOwn ? own?.version ?? "" : other.version)
                return .object(json)
            }
            var json = JSONObject()
            json["direction"] = .string(edge.isDestination ? "inbound" : "outbound")
            json["source"] = workload(!edge.isDestination)
            json["destination"] = workload(edge.isDestination)
            json["service"] = .string(Int(edge.service) < services.count ? services[Int(edge.service)] : "unknown")
            json["security"] = .string(edge.security.word)
            json["requests"] = .int(Int64(count.requests))
            json["failed"] = .int(Int64(count.failed))
            for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
                if let value = count.fine.quantile(share) { json["\(name)Milliseconds"] = .double(value / 1e6) }
            }
            list.append(.object(json))
        }
        return .array(list)
    }
}

extension ProxyResource.Kind {
    /// `ServicePort`
    var word: String { String(rawValue.split(separator: ".").last ?? "") }
}

extension JSON {
    /// The same without what private keys say.
    fileprivate var withoutKeys: JSON {
        switch self {
        case .array(let elements): return .array(elements.map(\.withoutKeys))
        case .object(let object):
            return .object(
                JSONObject(
                    object.members.map { member in
                        .init(member.key, member.key == "privateKey" ? "(secret)" : member.value.withoutKeys)
                    }))
        default: return self
        }
    }
}
