extension Library {
    /// Functions on texts, by characters as Unicode counts them.
    package static let strings = Library(
        [
            mapping("lowerAscii", "string_lower_ascii") { scalar in
                scalar.value >= 65 && scalar.value <= 90 ? Unicode.Scalar(scalar.value + 32) ?? scalar : scalar
            },
            mapping("upperAscii", "string_upper_ascii") { scalar in
                scalar.value >= 97 && scalar.value <= 122 ? Unicode.Scalar(scalar.value - 32) ?? scalar : scalar
            },
            Function(
                "trim",
                .member("string_trim", [.string], .string, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    let scalars = try values[0].text().unicodeScalars
                    let head = scalars.drop { $0.properties.isWhitespace }
                    let count = head.reversed().prefix { $0.properties.isWhitespace }.count
                    return .string(String(String.UnicodeScalarView(head.dropLast(count))))
                }),
            Function(
                "charAt",
                .member("string_char_at_int", [.string, .int], .string) { (values) throws(EvaluationFault) -> Value in
                    let scalars = Array(try values[0].text().unicodeScalars)
                    let place = try values[1].number()
                    guard place >= 0, place <= scalars.count else { throw .failed("index out of range: \(place)") }
                    return .string(place == scalars.count ? "" : String(scalars[Int(place)]))
                }),
            Function(
                "indexOf",
                .member("string_index_of_string", [.string, .string], .int, cost: .search(text: 0, part: 1)) {
                    (values) throws(EvaluationFault) -> Value in
                    try place(values[0].text(), values[1].text(), 0)
                },
                .member("string_index_of_string_int", [.string, .string, .int], .int, cost: .search(text: 0, part: 1)) {
                    (values) throws(EvaluationFault) -> Value in
                    try place(values[0].text(), values[1].text(), values[2].number())
                }),
            Function(
                "lastIndexOf",
                .member("string_last_index_of_string", [.string, .string], .int, cost: .search(text: 0, part: 1)) {
                    (values) throws(EvaluationFault) -> Value in
                    try lastPlace(values[0].text(), values[1].text(), nil)
                },
                .member(
                    "string_last_index_of_string_int", [.string, .string, .int], .int, cost: .search(text: 0, part: 1)
                ) { (values) throws(EvaluationFault) -> Value in
                    try lastPlace(values[0].text(), values[1].text(), values[2].number())
                }),
            Function(
                "join",
                .member("list_join", [.list(.string)], .string, cost: .result) {
                    (values) throws(EvaluationFault) -> Value in .string(try values[0].texts().joined())
                },
                .member("list_join_string", [.list(.string), .string], .string, cost: .result) {
                    (values) throws(EvaluationFault) -> Value in
                    .string(try values[0].texts().joined(separator: values[1].text()))
                }),
            Function(
                "replace",
                .member(
                    "string_replace_string_string", [.string, .string, .string], .string, cost: .traversal(0, times: 2)
                ) { (values) throws(EvaluationFault) -> Value in
                    try replaced(values[0].text(), values[1].text(), values[2].text(), -1)
                },
                .member(
                    "string_replace_string_string_int", [.string, .string, .string, .int], .string,
                    cost: .traversal(0, times: 2)
                ) { (values) throws(EvaluationFault) -> Value in
                    try replaced(values[0].text(), values[1].text(), values[2].text(), values[3].number())
                }),
            Function(
                "split",
                .member("string_split_string", [.string, .string], .list(.string), cost: .traversal(0, times: 2)) {
                    (values) throws(EvaluationFault) -> Value in
                    .strings(split(try values[0].text(), try values[1].text(), -1))
                },
                .member(
                    "string_split_string_int", [.string, .string, .int], .list(.string), cost: .traversal(0, times: 2)
                ) { (values) throws(EvaluationFault) -> Value in
                    .strings(split(try values[0].text(), try values[1].text(), try values[2].number()))
                }),
            Function(
                "substring",
                .member("string_substring_int", [.string, .int], .string, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    try part(values[0].text(), values[1].number(), nil)
                },
                .member("string_substring_int_int", [.string, .int, .int], .string, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    try part(values[0].text(), values[1].number(), values[2].number())
                }),
            Function(
                "reverse",
                .member("string_reverse", [.string], .string, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    .string(String(String.UnicodeScalarView(try values[0].text().unicodeScalars.reversed())))
                }),
            Function(
                "strings.quote",
                .global("strings_quote", [.string], .string, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .string(TextFormat.quoted(try values[0].text()))
                }),
            Function(
                "format",
                .member("string_format", [.string, .list(.dyn)], .string, cost: .result) {
                    (values) throws(EvaluationFault) -> Value in
                    .string(try TextFormat.text(values[0].text(), values[1].elements().values))
                }),
        ])

    private static func mapping(
        _ name: String, _ id: String, _ map: @escaping @Sendable (Unicode.Scalar) -> Unicode.Scalar
    ) -> Function {
        Function(
            name,
            .member(id, [.string], .string, cost: .traversal(0)) { (values) throws(EvaluationFault) -> Value in
                .string(String(String.UnicodeScalarView(try values[0].text().unicodeScalars.map(map))))
            })
    }

    /// Where each character of the text starts, in bytes, and where the last ends.
    private static func starts(_ text: String) -> [Int] {
        var offset = 0
        var starts: [Int] = [0]
        for scalar in text.unicodeScalars {
            offset += UTF8.width(scalar)
            starts.append(offset)
        }
        return starts
    }

    private static func place(_ text: String, _ part: String, _ from: Int64) throws(EvaluationFault) -> Value {
        let starts = starts(text)
        guard from >= 0, from <= starts.count else { throw .failed("index out of range: \(from)") }
        if part.isEmpty { return .int(from) }
        if from >= starts.count { return .int(-1) }
        guard let found = TextSearch.first(part, in: text, from: starts[Int(from)]) else { return .int(-1) }
        return .int(Int64(starts.firstIndex(of: found) ?? -1))
    }

    private static func lastPlace(_ text: String, _ part: String, _ from: Int64?) throws(EvaluationFault) -> Value {
        let starts = starts(text)
        let last = from ?? Int64(starts.count - 1)
        if part.isEmpty && from == nil { return .int(last) }
        guard last >= 0, last < starts.count else { throw .failed("index out of range: \(last)") }
        if part.isEmpty { return .int(last) }
        let places = TextSearch.places(part, in: text)
        guard let found = places.last(where: { $0 <= starts[Int(last)] }) else { return .int(-1) }
        return .int(Int64(starts.firstIndex(of: found) ?? -1))
    }

    private static func part(_ text: String, _ from: Int64, _ to: Int64?) throws(EvaluationFault) -> Value {
        let scalars = text.unicodeScalars
        let count = Int64(scalars.count)
        let end = to ?? count
        guard from >= 0, from <= count else { throw .failed("index out of range: \(from)") }
        guard end >= 0, end <= count else { throw .failed("index out of range: \(end)") }
        guard from <= end else { throw .failed("invalid substring range. start: \(from), end: \(end)") }
        return .string(String(scalars.dropFirst(Int(from)).prefix(Int(end - from))))
    }

    private static func pieces(_ text: String, _ separator: String, _ most: Int64) -> [String] {
        if separator.isEmpty {
            let scalars = text.unicodeScalars.map { String($0) }
            if most < 0 || scalars.count <= most { return scalars }
            return scalars.prefix(Int(most) - 1) + [scalars.dropFirst(Int(most) - 1).joined()]
        }
        let bytes = Array(text.utf8)
        var found: [String] = []
        var start = 0
        for place in TextSearch.places(separator, in: text) where place >= start {
            if most > 0 && found.count + 1 == most { break }
            found.append(String(decoding: bytes[start..<place], as: UTF8.self))
            start = place + separator.utf8.count
        }
        return found + [String(decoding: bytes[start...], as: UTF8.self)]
    }

    private static func split(_ text: String, _ separator: String, _ most: Int64) -> [String] {
        switch most {
        case 0: []
        case 1: [text]
        default: pieces(text, separator, most)
        }
    }

    /// Texts grow at most to this many bytes by replacing, which the cost counts by the text it starts with only.
    private static let longest = 16 << 20

    private static func replaced(
        _ text: String, _ old: String, _ new: String, _ most: Int64
    ) throws(EvaluationFault) -> Value {
        if most == 0 { return .string(text) }
        let count = old.isEmpty ? text.unicodeScalars.count + 1 : TextSearch.places(old, in: text).count
        let (growth, isOver) = count.multipliedReportingOverflow(by: new.utf8.count)
        if isOver || growth > longest { throw .failed("the replaced text would be longer than \(longest) bytes") }
        if old.isEmpty {
            var made = ""
            var left = most < 0 ? Int64.max : most
            for scalar in text.unicodeScalars {
                if left > 0 { made += new }
                left -= left > 0 ? 1 : 0
                made.unicodeScalars.append(scalar)
            }
            return .string(left > 0 ? made + new : made)
        }
        return .string(
            pieces(text, old, most < 0 ? -1 : most.addingReportingOverflow(1).partialValue).joined(separator: new))
    }
}
