package import Wire

extension Telemetry {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var tracing: Tracing? = nil
        if let found = try fields.object("tracing") { tracing = try Tracing(found) }
        var logs: [AccessLog] = []
        for log in try fields.objects("accessLogs") { logs.append(try AccessLog(log)) }
        var changes: [MetricSettings.Change] = []
        for change in try fields.objects("metrics") { changes.append(try MetricSettings.Change(change)) }
        self.init(
            tracing: tracing, accessLogs: logs, metrics: MetricSettings(changes: changes),
            recordPercent: try fields.percent("recordPercent", or: Self.defaultRecordPercent),
            recordKilobytes: try fields.integer("recordKilobytes", in: 16...65536) ?? Self.defaultRecordKilobytes)
        if logs.count > Self.mostAccessLogs {
            throw fields.fault("accessLogs", "has \(logs.count), must have at most \(Self.mostAccessLogs)")
        }
    }

    package static let mostAccessLogs = 8

    package var json: JSON {
        var out = ResourceWriter()
        if let tracing { out.write("tracing", tracing.json) }
        out.write("accessLogs", accessLogs.map(\.json))
        out.write("metrics", metrics.changes.map(\.json))
        if recordPercent != Self.defaultRecordPercent { out.write("recordPercent", .double(recordPercent)) }
        if recordKilobytes != Self.defaultRecordKilobytes { out.write("recordKilobytes", recordKilobytes) }
        return out.json
    }
}

extension Tracing {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var tags: [TraceTag] = []
        for tag in try fields.objects("tags") {
            tags.append(
                TraceTag(
                    name: try tag.requiredString("name"), text: try tag.string("text"),
                    header: try tag.string("header").lowercased()))
        }
        if tags.count(where: { !$0.header.isEmpty }) > Self.mostHeaderTags {
            throw fields.fault("tags", "has more than \(Self.mostHeaderTags) taken from headers")
        }
        let path = try fields.string("path")
        self.init(
            samplePercent: try fields.percent("samplePercent", or: 1), collector: try fields.string("collector"),
            path: path.isEmpty ? "/v1/traces" : path, propagation: try fields.word("propagation", or: .w3c),
            tags: tags, side: try fields.word("side", or: .both), isDisabled: try fields.says("disabled"))
        let isPlain = self.path.hasPrefix("/") && self.path.utf8.allSatisfy { $0 > 32 && $0 < 127 }
        if !isPlain { throw fields.fault("path", "is \"\(path)\", must be the path of a URL") }
    }

    package static let mostHeaderTags = 4

    package var json: JSON {
        var out = ResourceWriter()
        out.write("samplePercent", .double(samplePercent))
        out.write("collector", collector)
        out.write("path", path)
        out.write("propagation", propagation.rawValue)
        out.write(
            "tags",
            tags.map { tag in
                var entry = ResourceWriter()
                entry.write("name", tag.name)
                entry.write("text", tag.text)
                entry.write("header", tag.header)
                return entry.json
            })
        out.write("side", side.rawValue)
        if isDisabled { out.write("disabled", .bool(true)) }
        return out.json
    }
}

extension AccessLog {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var members: [AccessLogField] = []
        for member in try fields.objects("fields") {
            members.append(
                AccessLogField(name: try member.requiredString("name"), text: try member.string("text")))
        }
        let file = try fields.string("file")
        var filter = AccessLogFilter()
        if let found = try fields.object("filter") { filter = try AccessLogFilter(found) }
        self.init(
            file: file.isEmpty ? "/dev/stdout" : file, text: try fields.string("text"), fields: members,
            samplePercent: try fields.percent("samplePercent", or: 100),
            filter: filter, side: try fields.word("side", or: .both))
        if !self.file.hasPrefix("/") { throw fields.fault("file", "is \"\(file)\", must be an absolute path") }
        if !text.isEmpty && !members.isEmpty { throw fields.fault("text", "cannot stand beside fields") }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("file", file)
        out.write("text", text)
        out.write("fields", fields.map { ["name": .string($0.name), "text": .string($0.text)] })
        if samplePercent != 100 { out.write("samplePercent", .double(samplePercent)) }
        if filter != AccessLogFilter() { out.write("filter", filter.json) }
        out.write("side", side.rawValue)
        return out.json
    }
}

extension AccessLogFilter {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            statusAtLeast: try fields.integer("statusAtLeast", in: 0...999),
            statusBelow: try fields.integer("statusBelow", in: 0...1000),
            durationAtLeastMilliseconds: try fields.integer("durationAtLeastMilliseconds", in: 0...86_400_000),
            flags: try fields.strings("flags"), errorsOnly: try fields.says("errorsOnly"))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("statusAtLeast", statusAtLeast)
        out.write("statusBelow", statusBelow)
        out.write("durationAtLeastMilliseconds", durationAtLeastMilliseconds)
        out.write("flags", flags)
        if errorsOnly { out.write("errorsOnly", .bool(true)) }
        return out.json
    }
}

extension MetricSettings.Change {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var set: [HeaderValue] = []
        for label in try fields.objects("setLabels") {
            set.append(HeaderValue(name: try label.requiredString("name"), value: try label.string("value")))
        }
        self.init(
            metric: try fields.string("metric"), side: try fields.word("side", or: .both),
            isDisabled: try fields.value("disabled") == nil ? nil : try fields.says("disabled"),
            removedLabels: try fields.strings("removedLabels"), setLabels: set)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("metric", metric)
        out.write("side", side.rawValue)
        if let isDisabled { out.write("disabled", .bool(isDisabled)) }
        out.write("removedLabels", removedLabels)
        out.write("setLabels", setLabels.map(\.json))
        return out.json
    }
}

extension ResourceFields {
    /// A member that is true; absent is false.
    func says(_ field: String) throws(ResourceFault) -> Bool {
        guard let value = try value(field) else { return false }
        guard let flag = value.bool else { throw fault(field, "must be true or false") }
        return flag
    }

    func percent(_ field: String, or missing: Double) throws(ResourceFault) -> Double {
        guard let value = try value(field) else { return missing }
        guard let number = value.double else { throw fault(field, "must be a number") }
        guard number >= 0, number <= 100 else { throw fault(field, "is \(number), must be from 0 to 100") }
        return number
    }
}
