import ProxyResources

/// A workload's telemetry, ready to be followed: formats read, and which headers records keep for them.
struct TelemetryPlan: Sendable {
    struct Log: Sendable {
        var file: String
        /// nil: `fields` as JSON.
        var line: AccessLogFormat?
        var fields: [(name: String, format: AccessLogFormat)] = []
    }

    var number: UInt32 = 0
    var telemetry = Telemetry()
    var logs: [Log] = []
    var requestHeaders: [String] = []
    var responseHeaders: [String] = []

    init() {}

    init(_ telemetry: Telemetry, number: UInt32) throws(ResourceFault) {
        self.number = number
        self.telemetry = telemetry
        for (place, log) in telemetry.accessLogs.enumerated() {
            let field = "telemetry.accessLogs[\(place)]"
            for word in log.filter.flags where !ResponseFlag.allCases.contains(where: { $0.short == word }) {
                throw Self.fault("\(field).filter.flags", "\"\(word)\" is not a response flag this proxy gives")
            }
            var plan = Log(file: log.file)
            if log.fields.isEmpty {
                plan.line = try Self.format(log.text.isEmpty ? AccessLogFormat.usual : log.text, "\(field).text")
                keep(plan.line?.headers)
            }
            for member in log.fields {
                let format = try Self.format(member.text, "\(field).fields.\(member.name)")
                plan.fields.append((member.name, format))
                keep(format.headers)
            }
            logs.append(plan)
        }
        let tags = (telemetry.tracing?.tags ?? []).map(\.header).filter { !$0.isEmpty }
        keep((tags + (telemetry.tracing == nil ? [] : ["user-agent"]), []))
        if requestHeaders.count + responseHeaders.count > RequestRecord.mostCaptures {
            throw Self.fault(
                "telemetry",
                "names \(requestHeaders.count + responseHeaders.count) headers to keep, \(RequestRecord.mostCaptures) can be kept"
            )
        }
    }

    private static func format(_ text: String, _ field: String) throws(ResourceFault) -> AccessLogFormat {
        do throws(AccessLogFormat.Fault) { return try AccessLogFormat(text) } catch {
            throw fault(field, error.message)
        }
    }

    private static func fault(_ field: String, _ message: String) -> ResourceFault {
        ResourceFault(resource: "Workload self", field: field, message: message)
    }

    private mutating func keep(_ headers: (requests: [String], responses: [String])?) {
        guard let headers else { return }
        for name in headers.requests where !requestHeaders.contains(name) && !AccessLogFormat.isInRecord(name) {
            requestHeaders.append(name)
        }
        for name in headers.responses where !responseHeaders.contains(name) { responseHeaders.append(name) }
    }
}
