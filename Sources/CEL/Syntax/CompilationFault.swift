/// Why an expression cannot be used: what is wrong with it, and where.
package struct CompilationFault: Error, Sendable, Hashable, CustomStringConvertible {
    package struct Issue: Sendable, Hashable {
        /// From 1.
        package let line: Int
        /// From 1, in characters.
        package let column: Int
        package let message: String
        /// The line's text, shortened where it is long.
        let excerpt: String
    }

    package let issues: [Issue]

    /// Issues listed before the rest is left out.
    static let mostIssues = 100
    private static let longestExcerpt = 300

    init(_ text: String, _ found: [(offset: Int, message: String)]) {
        let bytes = Array(text.utf8)
        issues = found.prefix(Self.mostIssues).map { issue in
            let offset = min(issue.offset, bytes.count)
            let before = bytes[..<offset]
            let start = before.lastIndex(of: 10).map { $0 + 1 } ?? 0
            let end = bytes[offset...].firstIndex(of: 10) ?? bytes.count
            let line = before.count { $0 == 10 } + 1
            let column = String(decoding: bytes[start..<offset], as: UTF8.self).unicodeScalars.count + 1
            let whole = String(decoding: bytes[start..<end], as: UTF8.self)
            let excerpt = end - start > Self.longestExcerpt ? "" : whole
            return Issue(line: line, column: column, message: issue.message, excerpt: excerpt)
        }
    }

    package var description: String {
        issues.map { issue in
            let head = "ERROR: <input>:\(issue.line):\(issue.column): \(issue.message)"
            if issue.excerpt.isEmpty { return head }
            let pointer = String(repeating: ".", count: issue.column - 1) + "^"
            return head + "\n | " + issue.excerpt + "\n | " + pointer
        }.joined(separator: "\n")
    }
}

/// The first thing that is wrong with a text.
struct SyntaxFault: Error {
    /// In bytes from the start of the expression.
    let offset: Int
    let message: String
}
