import CKernel
import Glibc
import Loop
import ProxyResources
import Synchronization
import Wire

/// Where records of all loops arrive: writes access logs, hands spans to the exporter and shows exchanges to who watches.
/// One thread; loops never wait for it.
final class TelemetryDesk: Sendable {
    struct Counts: Sendable {
        var logged: UInt64 = 0
        /// Records a full queue did not take.
        var dropped: UInt64 = 0
        /// Lines a file did not take.
        var linesLost: UInt64 = 0
        var spans = SpanExporter.Counts()
    }

    private struct State {
        var plans: [UInt32: TelemetryPlan] = [:]
        var workload: Workload?
        var taps: [Tap] = []
        var isEnding = false
        var logged: UInt64 = 0
        var linesLost: UInt64 = 0
    }

    static let mostTaps = 16
    /// Records that were begun under older settings still find them.
    private static let plansKept: UInt32 = 8

    let exporter = SpanExporter()
    let queues: [RecordQueue]
    private let bell = RecordQueue.Bell()
    private let labels: LabelBook
    private let state = Mutex(State())
    private let thread = Mutex<pthread_t?>(nil)

    init(loops: Int, labels: LabelBook) {
        self.labels = labels
        let bell = bell
        queues = (0..<loops).map { _ in RecordQueue(bell: bell) }
    }

    deinit {
        for queue in queues { queue.end() }
        bell.end()
    }

    func start() {
        let started = Thread.start("telemetry") { [self] in run() }
        thread.withLock { $0 = started }
    }

    /// After the loops have ended: writes what they left, and ends.
    func end() {
        state.withLock { $0.isEnding = true }
        bell.ring()
        let waiting = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let waiting { pthread_join(waiting, nil) }
        exporter.end()
    }

    /// What records under `plan.number` follow from now on.
    func configure(_ plan: TelemetryPlan, workload: Workload) {
        state.withLock { state in
            state.workload = workload
            state.plans[plan.number] = plan
            state.plans = state.plans.filter { $0.key &+ Self.plansKept > plan.number }
        }
        guard let tracing = plan.telemetry.tracing, !tracing.isDisabled, SocketAddress(tracing.collector) != nil else {
            exporter.configure(nil)
            return
        }
        exporter.configure(
            .init(collector: tracing.collector, path: tracing.path, resource: SpanWriter.resource(workload)))
    }

    var counts: Counts {
        let (logged, lost) = state.withLock { ($0.logged, $0.linesLost) }
        let dropped = queues.reduce(0) { $0 + $1.dropped }
        return Counts(logged: logged, dropped: dropped, linesLost: lost, spans: exporter.counts)
    }

    /// nil when too many watch already.
    func tap(_ filter: TapFilter, most: Int, bell: CInt) -> Tap? {
        let tap = Tap(filter: filter, most: most, bell: bell)
        let isTaken = state.withLock { state in
            state.taps.removeAll(where: \.isOver)
            if state.taps.count >= Self.mostTaps { return false }
            state.taps.append(tap)
            return true
        }
        if isTaken { self.bell.isTapped.pointee.store(true, ordering: .relaxed) }
        return isTaken ? tap : nil
    }

    // MARK: the thread

    private func run() {
        var sinks: [String: LogSink] = [:]
        while true {
            let held = state.withLock { $0 }
            let moved = takeRecords(held, &sinks)
            let now = Clock.monotonic
            var lost: UInt64 = 0
            for path in sinks.keys {
                sinks[path]?.flush(now: now)
                lost += sinks[path]?.lost ?? 0
            }
            let over = held.taps.contains(where: \.isOver)
            state.withLock { state in
                state.linesLost = lost
                if over { state.taps.removeAll(where: \.isOver) }
                if state.taps.isEmpty { bell.isTapped.pointee.store(false, ordering: .relaxed) }
            }
            if held.isEnding { break }
            if moved { usleep(5000) } else { sleep() }
        }
        for path in sinks.keys { sinks[path]?.close() }
    }

    /// Until a loop has something, or something changes; at least once in a while, for files that took nothing before.
    private func sleep() {
        bell.isAsleep.pointee.store(true, ordering: .sequentiallyConsistent)
        if queues.allSatisfy({ $0.front() == nil }) {
            var door = pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)
            poll(&door, 1, 1000)
        }
        bell.isAsleep.pointee.store(false, ordering: .sequentiallyConsistent)
        var count: UInt64 = 0
        _ = read(bell.descriptor, &count, 8)
    }

    private func takeRecords(_ held: State, _ sinks: inout [String: LogSink]) -> Bool {
        if queues.allSatisfy({ $0.front() == nil }) { return false }
        let pages = LabelPages(labels, workload: held.workload)
        let clock = WallClock.read()
        var logged: UInt64 = 0
        for queue in queues {
            var taken = 0
            while taken < RecordQueue.capacity, let place = queue.front() {
                let record = place.pointee
                queue.advance()
                taken += 1
                let plan = held.plans[record.settings] ?? TelemetryPlan()
                if record.logs != 0 { logged += write(record, plan, pages, clock, &sinks) }
                if record.hasSpan {
                    exporter.add(SpanWriter(pages: pages, plan: plan, clock: clock).spans(of: record))
                }
                for tap in held.taps where tap.filter.admits(record, pages) {
                    tap.offer(record.json(pages, clock).text)
                }
            }
        }
        if logged > 0 { state.withLock { $0.logged += logged } }
        return true
    }

    private func write(
        _ record: RequestRecord, _ plan: TelemetryPlan, _ pages: LabelPages, _ clock: WallClock,
        _ sinks: inout [String: LogSink]
    ) -> UInt64 {
        var count: UInt64 = 0
        let writer = AccessLogLine(record: record, pages: pages, plan: plan, clock: clock)
        for (place, entry) in plan.logs.enumerated() where record.logs >> UInt8(place) & 1 == 1 {
            var line = entry.line.map { writer.line($0) } ?? writer.json(entry.fields)
            if !line.hasSuffix("\n") { line += "\n" }
            sinks[entry.file, default: LogSink(path: entry.file)].append(line)
            count += 1
        }
        return count
    }
}
