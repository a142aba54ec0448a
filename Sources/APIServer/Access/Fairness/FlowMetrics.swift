/// What became of the requests of each FlowSchema at its level.
struct FlowMetrics {
    struct Flow: Hashable {
        let schema: String
        let level: String
    }
    enum Refusal: Int, CaseIterable {
        case queueFull, concurrencyLimit, timeOut

        var name: String {
            switch self {
            case .queueFull: "queue-full"
            case .concurrencyLimit: "concurrency-limit"
            case .timeOut: "time-out"
            }
        }
    }
    private struct Counts {
        let flow: Flow
        var executing = 0
        var seats = 0
        var waiting = 0
        var dispatched = 0
        var refused = Array(repeating: 0, count: Refusal.allCases.count)
        var waitsOfRun = Histogram(FlowMetrics.bounds)
        var waitsOfRefused = Histogram(FlowMetrics.bounds)
        var isIdle: Bool { executing == 0 && waiting == 0 }
    }

    /// Seconds, as Kubernetes has them.
    private static let bounds = [0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30]
    private var counts: [Counts?] = []
    private var places: [Flow: Int] = [:]

    /// Where a flow is counted; it stays there while it has requests.
    mutating func place(of flow: Flow) -> Int {
        if let place = places[flow] { return place }
        let place = counts.firstIndex { $0 == nil } ?? counts.count
        if place == counts.count { counts.append(nil) }
        counts[place] = Counts(flow: flow)
        places[flow] = place
        return place
    }

    /// Forgets flows that no configuration names any more and nobody is in.
    mutating func keep(_ flows: Set<Flow>) {
        for (flow, place) in places where !flows.contains(flow) && counts[place]?.isIdle == true {
            counts[place] = nil
            places[flow] = nil
        }
    }

    /// - Parameter waited: seconds, when the request has waited.
    mutating func dispatched(_ place: Int, width: Int, waited: Double?) {
        counts[place]?.dispatched += 1
        counts[place]?.executing += 1
        counts[place]?.seats += width
        counts[place]?.waitsOfRun.observe(waited ?? 0)
        if waited != nil { counts[place]?.waiting -= 1 }
    }

    mutating func waits(_ place: Int) { counts[place]?.waiting += 1 }

    mutating func refused(_ place: Int, _ why: Refusal, waited: Double?) {
        counts[place]?.refused[why.rawValue] += 1
        guard let waited else { return }
        counts[place]?.waiting -= 1
        counts[place]?.waitsOfRefused.observe(waited)
    }

    mutating func ended(_ place: Int, width: Int) {
        counts[place]?.executing -= 1
        counts[place]?.seats -= width
    }

    /// - Parameter limits: the seats of each level.
    func write(to text: inout MetricText, limits: [(level: String, seats: Int)]) {
        let all = counts.compactMap { $0 }.sorted {
            ($0.flow.level, $0.flow.schema) < ($1.flow.level, $1.flow.schema)
        }
        func labels(_ flow: Flow) -> MetricText.Labels {
            [("priority_level", flow.level), ("flow_schema", flow.schema)]
        }
        text.family("apiserver_flowcontrol_current_executing_requests", .gauge, "Requests that run.")
        for one in all { text.sample(one.executing, labels(one.flow)) }
        text.family("apiserver_flowcontrol_current_executing_seats", .gauge, "Seats of the requests that run.")
        for one in all { text.sample(one.seats, labels(one.flow)) }
        text.family("apiserver_flowcontrol_current_inqueue_requests", .gauge, "Requests that wait for a seat.")
        for one in all { text.sample(one.waiting, labels(one.flow)) }
        text.family("apiserver_flowcontrol_dispatched_requests_total", .counter, "Requests that came to run.")
        for one in all { text.sample(one.dispatched, labels(one.flow)) }
        text.family("apiserver_flowcontrol_rejected_requests_total", .counter, "Requests answered 429.")
        for one in all {
            for why in Refusal.allCases where one.refused[why.rawValue] > 0 {
                text.sample(one.refused[why.rawValue], labels(one.flow) + [("reason", why.name)])
            }
        }
        text.family(
            "apiserver_flowcontrol_request_wait_duration_seconds", .histogram, "How long requests waited for a seat.")
        for one in all {
            text.sample(one.waitsOfRun, labels(one.flow) + [("execute", "true")])
            text.sample(one.waitsOfRefused, labels(one.flow) + [("execute", "false")])
        }
        text.family("apiserver_flowcontrol_nominal_limit_seats", .gauge, "Seats a level has by its share.")
        for limit in limits { text.sample(limit.seats, [("priority_level", limit.level)]) }
    }
}
