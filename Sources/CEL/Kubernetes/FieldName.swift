/// How the names of an object's fields are written in expressions, where they are words or hold signs of the language.
package enum FieldName {
    private static let signs: [(Character, String)] = [
        (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"),
    ]
    private static let words: Set<String> = [
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    ]

    /// - Returns: `nil` for a name that no expression can say.
    package static func escaped(_ name: String) -> String? {
        if words.contains(name) { return "__\(name)__" }
        guard let first = name.utf8.first, first < 48 || first > 57 else { return nil }
        var made = ""
        var rest = Substring(name)
        while let letter = rest.first {
            if rest.hasPrefix("__") {
                made += "__underscores__"
                rest = rest.dropFirst(2)
                continue
            }
            rest.removeFirst()
            if let sign = signs.first(where: { $0.0 == letter }) {
                made += sign.1
            } else if letter.isASCII, letter.isLetter || letter.isNumber || letter == "_" {
                made.append(letter)
            } else {
                return nil
            }
        }
        return made
    }

    package static func unescaped(_ name: String) -> String {
        guard name.utf8.count > 4, name.contains("__") else { return name }
        if name.hasPrefix("__"), name.hasSuffix("__") {
            let word = String(name.dropFirst(2).dropLast(2))
            if words.contains(word) { return word }
        }
        var made = ""
        var rest = Substring(name)
        while let letter = rest.first {
            if letter == "_", let sign = signs.first(where: { rest.hasPrefix($0.1) }) {
                made.append(sign.0)
                rest = rest.dropFirst(sign.1.utf8.count)
            } else if rest.hasPrefix("__underscores__") {
                made += "__"
                rest = rest.dropFirst(15)
            } else {
                made.append(letter)
                rest.removeFirst()
            }
        }
        return made
    }
}
