import ProxyResources

/// What an access log takes, as a loop tests it.
struct LogEntry {
    var isForClients = false
    var isForServers = false
    var errorsOnly = false
    var anyFlag = true
    var statusAtLeast: UInt16 = 0
    var statusBelow: UInt16 = 1000
    /// Nanoseconds.
    var durationAtLeast: UInt64 = 0
    /// Of 2^32.
    var threshold: UInt64 = 0
    /// A bit a response flag.
    var flags: InlineArray<4, UInt64> = .init(repeating: 0)

    func takes(_ record: RecordPointer, hasFailed: Bool) -> Bool {
        let isInbound = record.pointee.side == .inbound
        if !(isInbound ? isForServers : isForClients) || (errorsOnly && !hasFailed) { return false }
        if record.pointee.status < statusAtLeast || record.pointee.status >= statusBelow { return false }
        if record.pointee.ended &- record.pointee.started < durationAtLeast { return false }
        if anyFlag { return true }
        let bit = Int(record.pointee.flag.rawValue)
        return flags[bit >> 6] >> UInt64(bit & 63) & 1 == 1
    }
}

/// A workload's telemetry as a loop follows it: plain memory in the routing table.
struct TelemetryEntry {
    static let mostLogs = 8

    /// Which settings these are; see `TelemetryDesk`.
    var number: UInt32 = 0
    var recordThreshold: UInt64 = TelemetryEntry.threshold(percent: Telemetry.defaultRecordPercent)
    var ringBytes = Telemetry.defaultRecordKilobytes * 1024
    var isTracing = false
    var tracesClient = false
    var tracesServer = false
    var exportsSpans = false
    var traceForm = TraceForm.w3c
    var traceThreshold: UInt64 = 0
    var logCount = 0
    var logs: InlineArray<8, LogEntry> = .init(repeating: LogEntry())
    /// Names of headers to keep, in the table's text: first those of requests, then those of responses.
    var requestCaptures = 0
    var responseCaptures = 0
    var captures: InlineArray<12, TextRange> = .init(repeating: TextRange())

    static func threshold(percent: Double) -> UInt64 { UInt64(percent / 100 * 4_294_967_296) }

    init() {}

    /// All but the names of headers.
    init(_ plan: TelemetryPlan) {
        number = plan.number
        requestCaptures = plan.requestHeaders.count
        responseCaptures = plan.responseHeaders.count
        let telemetry = plan.telemetry
        recordThreshold = Self.threshold(percent: telemetry.recordPercent)
        ringBytes = telemetry.recordKilobytes * 1024
        if let tracing = telemetry.tracing, !tracing.isDisabled {
            isTracing = true
            tracesClient = tracing.side != .server
            tracesServer = tracing.side != .client
            exportsSpans = SocketAddress(tracing.collector) != nil
            traceThreshold = Self.threshold(percent: tracing.samplePercent)
            traceForm =
                switch tracing.propagation {
                case .w3c: .w3c
                case .b3: .b3
                case .b3Multi: .b3Multi
                }
        }
        for log in telemetry.accessLogs.prefix(Self.mostLogs) {
            var entry = LogEntry()
            entry.isForClients = log.side != .server
            entry.isForServers = log.side != .client
            entry.errorsOnly = log.filter.errorsOnly
            entry.statusAtLeast = UInt16(clamping: log.filter.statusAtLeast ?? 0)
            entry.statusBelow = UInt16(clamping: log.filter.statusBelow ?? 1000)
            entry.durationAtLeast = UInt64(log.filter.durationAtLeastMilliseconds ?? 0) * 1_000_000
            entry.threshold = Self.threshold(percent: log.samplePercent)
            entry.anyFlag = log.filter.flags.isEmpty
            for flag in ResponseFlag.allCases where log.filter.flags.contains(flag.short) {
                let bit = Int(flag.rawValue)
                entry.flags[bit >> 6] |= 1 << UInt64(bit & 63)
            }
            logs[logCount] = entry
            logCount += 1
        }
    }
}
