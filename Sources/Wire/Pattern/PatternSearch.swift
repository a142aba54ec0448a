/// Looks for matches of an expression anywhere in a text, for callers that bound the text's length times the expression's
/// themselves.
package struct PatternSearch: ~Copyable {
    private let pattern: Pattern
    private let text: [UInt8]
    private var scratch = PatternScratch()

    package init(_ pattern: Pattern, in text: String) {
        self.pattern = pattern
        self.text = Array(text.utf8) + [0]
    }

    /// - Returns: where the first match at or behind `start` is, in bytes.
    package mutating func next(from start: Int) -> Range<Int>? {
        scratch.budget = .max
        guard scratch.run(pattern.view, text, text.count - 1, from: start, isWhole: false) else { return nil }
        return Int(scratch.best[0])..<Int(scratch.best[1])
    }
}

extension Pattern {
    package func first(in text: String) -> Range<Int>? {
        var search = PatternSearch(self, in: text)
        return search.next(from: 0)
    }
}
