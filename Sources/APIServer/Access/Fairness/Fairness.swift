import KubeTypes
import Logging
import Synchronization
import Wire

/// Priority and fairness: FlowSchemas choose a priority level for each request, the level a seat or a place in a queue.
///
/// Requests that last (watches, logs, streams) are never held. A request that finds its level full and its queue too is answered
/// 429, as is one that waited too long.
final class Fairness: Sendable {
    /// The seat of one request. Given back when the request ends.
    struct Seat: Sendable {
        let schema: String
        let level: String
        fileprivate let name: String
        fileprivate let width: Int
        /// Where it is counted; `nil` for requests that last.
        fileprivate let place: Int?
    }

    private struct Route {
        let schema: FlowSchema
        let level: PriorityLevelShape
        let place: Int
    }

    private struct State {
        var schemas: [String: FlowSchema] = [:]
        var shapes: [String: PriorityLevelShape] = [:]
        /// Schemas whose level exists, the first to match first.
        var routes: [Route] = []
        var plan: SeatPlan
        var waiting: [Int: Turn] = [:]
        var lastID = 0
        /// How many objects a list of a resource last had.
        var listed: [String: Int] = [:]
        var metrics = FlowMetrics()

        /// Puts schemas and levels together again.
        mutating func route() {
            let ordered = schemas.values.sorted { ($0.precedence, $0.name) < ($1.precedence, $1.name) }
            var flows: Set<FlowMetrics.Flow> = []
            routes = []
            for schema in ordered {
                guard let level = shapes[schema.level] else { continue }
                let flow = FlowMetrics.Flow(schema: schema.name, level: level.name)
                flows.insert(flow)
                routes.append(Route(schema: schema, level: level, place: metrics.place(of: flow)))
            }
            metrics.keep(flows)
        }
    }

    private let state: Mutex<State>
    private let patience: Duration

    /// - Parameters:
    ///   - seats: requests at a time, of all levels together.
    ///   - patience: how long a request waits for its turn.
    init(seats: Int, patience: Duration = .seconds(15)) {
        state = Mutex(State(plan: SeatPlan(total: seats)))
        self.patience = patience
    }

    func follow(_ registry: Registry) throws(APIFailure) {
        try RegistryFollower(registry: registry, type: .priorityLevels).start { self.takeLevel($0) }
        try RegistryFollower(registry: registry, type: .flowSchemas).start { self.takeSchema($0) }
    }

    func takeLevel(_ step: RegistryFollower.Step) {
        change { state in
            switch step {
            case .all(let objects):
                state.shapes = Dictionary(objects.map { ($0.name, PriorityLevelShape($0)) }) { first, _ in first }
            case .changed(let object): state.shapes[object.name] = PriorityLevelShape(object)
            case .deleted(let object): state.shapes[object.name] = nil
            }
        }
    }

    func takeSchema(_ step: RegistryFollower.Step) {
        change { state in
            switch step {
            case .all(let objects):
                state.schemas = Dictionary(objects.map { ($0.name, FlowSchema($0)) }) { first, _ in first }
            case .changed(let object): state.schemas[object.name] = FlowSchema(object)
            case .deleted(let object): state.schemas[object.name] = nil
            }
        }
    }

    private func change(_ body: (inout State) -> Void) {
        let (started, dropped) = state.withLock { state -> ([Turn], [Turn]) in
            body(&state)
            state.route()
            let gone = state.plan.configure(Array(state.shapes.values.filter { !$0.isExempt }))
            let dropped = gone.compactMap { state.waiting.removeValue(forKey: $0) }
            let started = state.plan.dispatch().compactMap { state.waiting.removeValue(forKey: $0) }
            return (started, dropped)
        }
        for turn in started { turn.come(true) }
        for turn in dropped { turn.come(false) }
    }

    // MARK: Requests

    private enum Answer {
        case seat(Seat?)
        case wait(Int, Turn, Seat)
        case refuse
    }

    static let refusal = APIFailure(
        code: 429, reason: "TooManyRequests", message: "Too many requests, please try again later.",
        details: ["retryAfterSeconds": 1])

    /// - Parameter isLong: for requests that are named after their level and not held.
    /// - Returns: `nil` where nothing is configured.
    /// - Throws: 429.
    func admit(_ attempt: Attempt, isLong: Bool, limit: Int) async throws(APIFailure) -> Seat? {
        switch state.withLock({ arrive(attempt, isLong, limit, &$0) }) {
        case .seat(let seat): return seat
        case .refuse: throw Self.refusal
        case .wait(let id, let turn, let seat):
            let began = ContinuousClock.now
            let runs = await wait(id, turn, seat)
            let waited = (ContinuousClock.now - began).inSeconds
            state.withLock { state in
                guard let place = seat.place else { return }
                if runs {
                    state.metrics.dispatched(place, width: seat.width, waited: waited)
                } else {
                    state.metrics.refused(place, .timeOut, waited: waited)
                }
            }
            guard runs else { throw Self.refusal }
            return seat
        }
    }

    private func arrive(_ attempt: Attempt, _ isLong: Bool, _ limit: Int, _ state: inout State) -> Answer {
        guard let route = state.routes.first(where: { $0.schema.fits(attempt) }) else { return .seat(nil) }
        let holds = !isLong && !route.level.isExempt
        let width = holds ? Self.width(attempt, limit, state) : 0
        let seat = Seat(
            schema: route.schema.uid, level: route.level.uid, name: route.level.name, width: width,
            place: isLong ? nil : route.place)
        guard holds else {
            if !isLong { state.metrics.dispatched(route.place, width: 0, waited: nil) }
            return .seat(seat)
        }
        state.lastID += 1
        let flow = route.schema.flow(attempt)
        switch state.plan.arrive(state.lastID, at: route.level.name, flow: flow, width: width) {
        case .runs:
            state.metrics.dispatched(route.place, width: width, waited: nil)
            return .seat(seat)
        case .waits:
            state.metrics.waits(route.place)
            let turn = Turn()
            state.waiting[state.lastID] = turn
            return .wait(state.lastID, turn, seat)
        case .isRefused:
            let canWait = route.level.queues.queues > 0
            state.metrics.refused(route.place, canWait ? .queueFull : .concurrencyLimit, waited: nil)
            return .refuse
        }
    }

    private func wait(_ id: Int, _ turn: Turn, _ seat: Seat) async -> Bool {
        let timer = Task { [patience] in
            try await Task.sleep(for: patience)
            self.expire(id, seat)
        }
        defer { timer.cancel() }
        return await turn.wait()
    }

    private func expire(_ id: Int, _ seat: Seat) {
        let turn = state.withLock { state in
            state.plan.giveUp(id, at: seat.name) ? state.waiting.removeValue(forKey: id) : nil
        }
        turn?.come(false)
    }

    func leave(_ seat: Seat) {
        guard let place = seat.place else { return }
        let started = state.withLock { state in
            state.metrics.ended(place, width: seat.width)
            if seat.width == 0 { return [Turn]() }
            return state.plan.leave(seat.name, width: seat.width).compactMap { state.waiting.removeValue(forKey: $0) }
        }
        for turn in started { turn.come(true) }
    }

    func writeMetrics(to text: inout MetricText) {
        let (metrics, limits) = state.withLock { state in
            (state.metrics, state.plan.levels.values.map { (level: $0.shape.name, seats: $0.nominal) })
        }
        metrics.write(to: &text, limits: limits.sorted { $0.level < $1.level })
    }

    // MARK: Widths

    /// A list takes a seat for each hundred objects, at most ten: what it costs is known by the last one.
    private static func width(_ attempt: Attempt, _ limit: Int, _ state: State) -> Int {
        guard attempt.verb == "list", case .resource(let group, _, let resource, _, _, _) = attempt.target else {
            return 1
        }
        let known = state.listed["\(resource).\(group)"] ?? 0
        let expected = limit > 0 ? min(limit, known) : known
        return min(10, max(1, (expected + 99) / 100))
    }

    /// Remembers how long a list was; `resource` is one the server has.
    func note(_ type: ResourceType, count: Int) {
        state.withLock { $0.listed["\(type.resource).\(type.group)"] = count }
    }
}

/// One request's wait for its turn, which may come before the request lies down.
private final class Turn: Sendable {
    private struct State {
        var verdict: Bool?
        var continuation: CheckedContinuation<Bool, Never>?
    }
    private let state = Mutex(State())

    /// - Parameter runs: false when the request is to be refused.
    func come(_ runs: Bool) {
        let continuation = state.withLock { state in
            state.verdict = runs
            return state.continuation
        }
        continuation?.resume(returning: runs)
    }

    func wait() async -> Bool {
        await withCheckedContinuation { continuation in
            let verdict = state.withLock { state in
                if state.verdict == nil { state.continuation = continuation }
                return state.verdict
            }
            if let verdict { continuation.resume(returning: verdict) }
        }
    }
}

extension ResourceType {
    static let flowSchemas = ResourceType(
        group: "flowcontrol.apiserver.k8s.io", version: "v1", resource: "flowschemas", kind: "FlowSchema",
        isNamespaced: false)
    static let priorityLevels = ResourceType(
        group: "flowcontrol.apiserver.k8s.io", version: "v1", resource: "prioritylevelconfigurations",
        kind: "PriorityLevelConfiguration", isNamespaced: false)
}
