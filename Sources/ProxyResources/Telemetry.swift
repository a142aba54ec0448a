/// What a proxy tells of its traffic beside its metrics. What is absent is off.
package struct Telemetry: Sendable, Hashable {
    package var tracing: Tracing?
    package var accessLogs: [AccessLog]
    package var metrics: MetricSettings
    /// Of requests that succeeded, the share kept in the ring of records; those that failed are all kept.
    package var recordPercent: Double
    /// The ring's size in each loop.
    package var recordKilobytes: Int

    package static let defaultRecordPercent = 1.0
    package static let defaultRecordKilobytes = 1024

    package init(
        tracing: Tracing? = nil, accessLogs: [AccessLog] = [], metrics: MetricSettings = MetricSettings(),
        recordPercent: Double = Telemetry.defaultRecordPercent,
        recordKilobytes: Int = Telemetry.defaultRecordKilobytes
    ) {
        self.tracing = tracing
        self.accessLogs = accessLogs
        self.metrics = metrics
        self.recordPercent = recordPercent
        self.recordKilobytes = recordKilobytes
    }
}

/// Which of a proxy's two faces a setting is for: it serves callers of its pod, and is a client of others for it.
package enum TelemetrySide: String, Sendable, Hashable {
    case both = ""
    case client = "CLIENT"
    case server = "SERVER"
}

package struct Tracing: Sendable, Hashable {
    /// How the context of a new trace is written; a context that came is also passed on in the form it came in.
    package enum Propagation: String, Sendable, Hashable, CaseIterable {
        case w3c = "w3c"
        case b3 = "b3"
        case b3Multi = "b3multi"
    }
    /// Of requests that bring no trace; those that do follow what it says.
    package var samplePercent: Double
    /// `10.96.3.7:4318`, where spans are sent; empty for nowhere, the context is passed on all the same.
    package var collector: String
    package var path: String
    package var propagation: Propagation
    package var tags: [TraceTag]
    package var side: TelemetrySide
    /// No spans are made, and no traces begun.
    package var isDisabled: Bool

    package init(
        samplePercent: Double = 1, collector: String = "", path: String = "/v1/traces",
        propagation: Propagation = .w3c, tags: [TraceTag] = [], side: TelemetrySide = .both, isDisabled: Bool = false
    ) {
        self.samplePercent = samplePercent
        self.collector = collector
        self.path = path
        self.propagation = propagation
        self.tags = tags
        self.side = side
        self.isDisabled = isDisabled
    }
}

/// A further attribute of every span: a text of its own, or a request header's value, or the text when there is none.
package struct TraceTag: Sendable, Hashable {
    package var name: String
    package var text: String
    package var header: String  // lower case; empty for the text alone

    package init(name: String, text: String = "", header: String = "") {
        self.name = name
        self.text = text
        self.header = header
    }
}

package struct AccessLog: Sendable, Hashable {
    package var file: String  // `/dev/stdout`
    /// A line with operators such as `%START_TIME%`; empty when `fields` say what is written, or for the usual line.
    package var text: String
    /// JSON: members and what stands in them, in order.
    package var fields: [AccessLogField]
    package var samplePercent: Double
    package var filter: AccessLogFilter
    package var side: TelemetrySide

    package init(
        file: String = "/dev/stdout", text: String = "", fields: [AccessLogField] = [], samplePercent: Double = 100,
        filter: AccessLogFilter = AccessLogFilter(), side: TelemetrySide = .both
    ) {
        self.file = file
        self.text = text
        self.fields = fields
        self.samplePercent = samplePercent
        self.filter = filter
        self.side = side
    }
}

package struct AccessLogField: Sendable, Hashable {
    package var name: String
    package var text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }
}

/// Which exchanges are logged: those for which all that is said here holds.
package struct AccessLogFilter: Sendable, Hashable {
    package var statusAtLeast: Int?
    package var statusBelow: Int?
    package var durationAtLeastMilliseconds: Int?
    /// Only with one of these response flags; empty for any.
    package var flags: [String]
    /// Only what failed: an answer of 500 or above, a gRPC status that tells of the server's fault, or a response flag.
    package var errorsOnly: Bool

    package init(
        statusAtLeast: Int? = nil, statusBelow: Int? = nil, durationAtLeastMilliseconds: Int? = nil,
        flags: [String] = [], errorsOnly: Bool = false
    ) {
        self.statusAtLeast = statusAtLeast
        self.statusBelow = statusBelow
        self.durationAtLeastMilliseconds = durationAtLeastMilliseconds
        self.flags = flags
        self.errorsOnly = errorsOnly
    }
}

/// Metrics and labels left out of what the metrics page shows; they are counted all the same.
package struct MetricSettings: Sendable, Hashable {
    package struct Change: Sendable, Hashable {
        package var metric: String  // `istio_requests_total`; empty for all of Istio's names
        package var side: TelemetrySide
        /// nil leaves it as changes before say.
        package var isDisabled: Bool?
        package var removedLabels: [String]
        package var setLabels: [HeaderValue]  // a label's name and the text it always has

        package init(
            metric: String = "", side: TelemetrySide = .both, isDisabled: Bool? = nil, removedLabels: [String] = [],
            setLabels: [HeaderValue] = []
        ) {
            self.metric = metric
            self.side = side
            self.isDisabled = isDisabled
            self.removedLabels = removedLabels
            self.setLabels = setLabels
        }
    }
    package var changes: [Change]

    package init(changes: [Change] = []) { self.changes = changes }
}
