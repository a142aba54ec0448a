import Wire

extension Library {
    /// What the language has by itself.
    package static let standard = Library(
        operators.functions + sizes + texts + times + StandardConversions.functions)

    private static let element = ValueType.parameter("A")

    private static let sizes: [Function] = {
        let kinds: [(String, ValueType)] = [
            ("string", .string), ("bytes", .bytes), ("list", .list(element)), ("map", .map(element, .parameter("B"))),
        ]
        let body: Overload.Body = { (values) throws(EvaluationFault) -> Value in
            switch values[0] {
            case .string, .bytes, .list, .map: .int(Int64(values[0].size))
            default: throw .noOverload
            }
        }
        return [
            Function(
                "size",
                kinds.map { .global("size_\($0.0)", [$0.1], .int, body) }
                    + kinds.map { .member("\($0.0)_size", [$0.1], .int, body) })
        ]
    }()

    private static let texts: [Function] = [
        Function(
            "contains",
            .member("contains_string", [.string, .string], .bool, cost: .search(text: 0, part: 1)) {
                (values) throws(EvaluationFault) -> Value in
                .bool(TextSearch.first(try values[1].text(), in: try values[0].text()) != nil)
            }),
        Function(
            "startsWith",
            .member("starts_with_string", [.string, .string], .bool, cost: .traversal(0)) {
                (values) throws(EvaluationFault) -> Value in
                .bool(try values[0].text().utf8.starts(with: try values[1].text().utf8))
            }),
        Function(
            "endsWith",
            .member("ends_with_string", [.string, .string], .bool, cost: .traversal(0)) {
                (values) throws(EvaluationFault) -> Value in
                .bool(try values[0].text().utf8.reversed().starts(with: try values[1].text().utf8.reversed()))
            }),
        Function(
            "matches",
            .global("matches", [.string, .string], .bool, cost: .pattern(text: 0, pattern: 1), matches),
            .member("matches_string", [.string, .string], .bool, cost: .pattern(text: 0, pattern: 1), matches)),
    ]

    private static let matches: Overload.Body = { (values) throws(EvaluationFault) -> Value in
        let text = try values[0].text()
        return .bool(try Patterns.find(try values[1].text()).first(in: text) != nil)
    }

    private static let times: [Function] = {
        typealias Part = @Sendable (CalendarDate) -> Int
        func date(_ name: String, _ part: @escaping Part) -> [Overload] {
            [
                .member("timestamp_to_\(name)", [.timestamp], .int) { (values) throws(EvaluationFault) -> Value in
                    guard case .timestamp(let moment) = values[0] else { throw .noOverload }
                    return .int(Int64(part(CalendarDate(seconds: moment.seconds))))
                },
                .member("timestamp_to_\(name)_with_tz", [.timestamp, .string], .int) {
                    (values) throws(EvaluationFault) -> Value in
                    guard case .timestamp(let moment) = values[0] else { throw .noOverload }
                    let name = try values[1].text()
                    guard let zone = TimeZone.named(name) else { throw .failed("unknown time zone \(name)") }
                    let local = moment.seconds + zone.offset(at: moment.seconds)
                    return .int(Int64(part(CalendarDate(seconds: local))))
                },
            ]
        }
        func span(_ name: String, _ unit: Int64, _ most: Int64? = nil) -> Overload {
            .member("duration_to_\(name)", [.duration], .int) { (values) throws(EvaluationFault) -> Value in
                guard case .duration(let span) = values[0] else { throw .noOverload }
                let count = span.nanoseconds / unit
                return .int(most.map { count % $0 } ?? count)
            }
        }
        func milliseconds(_ id: String, _ parameters: [ValueType]) -> Overload {
            .member(id, parameters, .int) { (values) throws(EvaluationFault) -> Value in
                guard case .timestamp(let moment) = values[0] else { throw .noOverload }
                return .int(Int64(moment.nanoseconds / 1_000_000))
            }
        }
        return [
            Function("getFullYear", date("year") { $0.year }),
            Function("getMonth", date("month") { $0.month - 1 }),
            Function("getDate", date("day_of_month_1_based") { $0.day }),
            Function("getDayOfMonth", date("day_of_month") { $0.day - 1 }),
            Function("getDayOfWeek", date("day_of_week") { $0.weekday }),
            Function("getDayOfYear", date("day_of_year") { $0.dayOfYear }),
            Function("getHours", date("hours") { $0.hour } + [span("hours", 3_600_000_000_000)]),
            Function("getMinutes", date("minutes") { $0.minute } + [span("minutes", 60_000_000_000)]),
            Function("getSeconds", date("seconds") { $0.second } + [span("seconds", 1_000_000_000)]),
            Function(
                "getMilliseconds",
                [
                    milliseconds("timestamp_to_milliseconds", [.timestamp]),
                    milliseconds("timestamp_to_milliseconds_with_tz", [.timestamp, .string]),
                    span("milliseconds", 1_000_000, 1000),
                ]),
        ]
    }()
}
