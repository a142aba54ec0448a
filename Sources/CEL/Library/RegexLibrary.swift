import Wire

extension Library {
    /// What matches an expression inside a text.
    package static let regex = Library([
        Function(
            "find",
            .member("string_find_string", [.string, .string], .string, cost: .pattern(text: 0, pattern: 1)) {
                (values) throws(EvaluationFault) -> Value in
                .string(try found(values[0].text(), values[1].text(), 1).first ?? "")
            }),
        Function(
            "findAll",
            .member("string_find_all_string", [.string, .string], .list(.string), cost: .pattern(text: 0, pattern: 1)) {
                (values) throws(EvaluationFault) -> Value in
                .strings(try found(values[0].text(), values[1].text(), -1))
            },
            .member(
                "string_find_all_string_int", [.string, .string, .int], .list(.string),
                cost: .pattern(text: 0, pattern: 1)
            ) { (values) throws(EvaluationFault) -> Value in
                .strings(try found(values[0].text(), values[1].text(), values[2].number()))
            }),
    ])

    private static func found(_ text: String, _ pattern: String, _ most: Int64) throws(EvaluationFault) -> [String] {
        var search = PatternSearch(try Patterns.find(pattern), in: text)
        let bytes = Array(text.utf8)
        var found: [String] = []
        var place = 0
        var last = -1
        while place <= bytes.count, most < 0 || found.count < most, let match = search.next(from: place) {
            // Nothing, right behind the last match, is no match of its own.
            if !match.isEmpty || match.lowerBound != last {
                found.append(String(decoding: bytes[match], as: UTF8.self))
            }
            last = match.upperBound
            place = match.isEmpty ? match.upperBound + 1 : match.upperBound
            while place < bytes.count, bytes[place] & 0xC0 == 0x80 { place += 1 }
        }
        return found
    }
}
