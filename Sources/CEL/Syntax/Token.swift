/// A word or sign of an expression.
struct Token {
    enum Kind: Equatable {
        case end
        case identifier(String)
        /// A name in backticks; only a field has one.
        case quoted(String)
        case int(UInt64)
        case uint(UInt64)
        case double(Double)
        case string(String)
        case bytes([UInt8])
        case sign(Sign)
    }

    enum Sign: String, CaseIterable {
        case equal = "=="
        case unequal = "!="
        case atMost = "<="
        case atLeast = ">="
        case and = "&&"
        case or = "||"
        case less = "<"
        case greater = ">"
        case not = "!"
        case minus = "-"
        case plus = "+"
        case times = "*"
        case over = "/"
        case rest = "%"
        case question = "?"
        case colon = ":"
        case comma = ","
        case dot = "."
        case open = "("
        case close = ")"
        case openBracket = "["
        case closeBracket = "]"
        case openBrace = "{"
        case closeBrace = "}"
    }

    let kind: Kind
    /// In bytes from the start of the expression.
    let offset: Int

    var text: String {
        switch kind {
        case .end: "the end of the expression"
        case .identifier(let name): "'\(name)'"
        case .quoted(let name): "'`\(name)`'"
        case .int(let value): "'\(value)'"
        case .uint(let value): "'\(value)u'"
        case .double(let value): "'\(value)'"
        case .string: "a string"
        case .bytes: "bytes"
        case .sign(let sign): "'\(sign.rawValue)'"
        }
    }
}
