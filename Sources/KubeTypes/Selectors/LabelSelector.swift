package import Wire

/// Why a selector's text or object makes no sense.
package struct SelectorFault: Error, Hashable, CustomStringConvertible {
    package let message: String
    package var description: String { message }
}

/// Chooses objects by their labels. All requirements must hold; none at all chooses everything.
package struct LabelSelector: Sendable, Hashable, CustomStringConvertible {
    package enum Requirement: Sendable, Hashable {
        case isIn(String, Set<String>)
        case notIn(String, Set<String>)
        case exists(String)
        case missing(String)
        case greater(String, Int64)
        case less(String, Int64)
    }

    package var requirements: [Requirement]

    package init(_ requirements: [Requirement] = []) { self.requirements = requirements }

    package static let everything = LabelSelector()

    /// Equality with each of the labels, as a Service's selector.
    package init(matching labels: [String: String]) {
        requirements = labels.sorted { $0.key < $1.key }.map { .isIn($0.key, [$0.value]) }
    }

    /// A LabelSelector object: `matchLabels` and `matchExpressions`. An empty one chooses everything; a missing one nothing.
    package init(_ json: JSON) throws(SelectorFault) {
        guard json.object != nil else {
            throw SelectorFault(message: "label selector: expected an object, found \(json.text)")
        }
        self.init(matching: json["matchLabels"]?.stringMap ?? [:])
        for expression in json.list("matchExpressions") {
            let key = expression["key"]?.string ?? ""
            let values = Set(expression.list("values").compactMap(\.string))
            switch expression["operator"]?.string ?? "" {
            case "In": requirements.append(.isIn(key, values))
            case "NotIn": requirements.append(.notIn(key, values))
            case "Exists": requirements.append(.exists(key))
            case "DoesNotExist": requirements.append(.missing(key))
            case let other:
                throw SelectorFault(message: "label selector: \"\(other)\" is not a valid operator for \(key)")
            }
        }
    }

    /// The query form: `app=web,tier!=db,env in (a,b),!canary,version`.
    package init(parsing text: String) throws(SelectorFault) {
        var parser = SelectorParser(text)
        requirements = try parser.requirements()
    }

    package var isEmpty: Bool { requirements.isEmpty }

    package func matches(_ labels: [String: String]) -> Bool {
        requirements.allSatisfy { Self.holds($0, labels[Self.key($0)]) }
    }

    package func matches(_ object: KubeObject) -> Bool {
        if requirements.isEmpty { return true }
        let labels = object.json["metadata"]?["labels"]
        return requirements.allSatisfy { Self.holds($0, labels?[Self.key($0)]?.string) }
    }

    private static func key(_ requirement: Requirement) -> String {
        switch requirement {
        case .isIn(let key, _), .notIn(let key, _), .exists(let key), .missing(let key), .greater(let key, _),
            .less(let key, _):
            key
        }
    }

    private static func holds(_ requirement: Requirement, _ value: String?) -> Bool {
        switch requirement {
        case .isIn(_, let values): value.map(values.contains) ?? false
        case .notIn(_, let values): value.map { !values.contains($0) } ?? true
        case .exists: value != nil
        case .missing: value == nil
        case .greater(_, let bound): value.flatMap { Int64($0) }.map { $0 > bound } ?? false
        case .less(_, let bound): value.flatMap { Int64($0) }.map { $0 < bound } ?? false
        }
    }

    /// The query form again.
    package var description: String {
        requirements.map { requirement in
            switch requirement {
            case .isIn(let key, let values):
                values.count == 1
                    ? "\(key)=\(values.first ?? "")" : "\(key) in (\(values.sorted().joined(separator: ",")))"
            case .notIn(let key, let values):
                values.count == 1
                    ? "\(key)!=\(values.first ?? "")" : "\(key) notin (\(values.sorted().joined(separator: ",")))"
            case .exists(let key): key
            case .missing(let key): "!\(key)"
            case .greater(let key, let bound): "\(key)>\(bound)"
            case .less(let key, let bound): "\(key)<\(bound)"
            }
        }.joined(separator: ",")
    }
}

private struct SelectorParser {
    private enum Token: Hashable {
        case word(String)
        case symbol(String)  // = == != ! , ( ) > <
        case end
    }

    private let text: String
    private var tokens: [Token] = []
    private var place = 0

    init(_ text: String) {
        self.text = text
        var word = ""
        var rest = text[...]
        func isSymbol(_ character: Character) -> Bool { "=!,()<>".contains(character) }
        while let character = rest.first {
            if character.isWhitespace || isSymbol(character) {
                if !word.isEmpty { tokens.append(.word(word)) }
                word = ""
                if character.isWhitespace {
                    rest.removeFirst()
                } else if rest.hasPrefix("==") || rest.hasPrefix("!=") {
                    tokens.append(.symbol(String(rest.prefix(2))))
                    rest.removeFirst(2)
                } else {
                    tokens.append(.symbol(String(character)))
                    rest.removeFirst()
                }
            } else {
                word.append(character)
                rest.removeFirst()
            }
        }
        if !word.isEmpty { tokens.append(.word(word)) }
    }

    private var current: Token { place < tokens.count ? tokens[place] : .end }
    private mutating func take() -> Token {
        let token = current
        place += 1
        return token
    }
    private func fault(_ why: String) -> SelectorFault {
        SelectorFault(message: "unable to parse label selector \"\(text)\": \(why)")
    }
    private func shown(_ token: Token) -> String {
        switch token {
        case .word(let word): "\"\(word)\""
        case .symbol(let symbol): "\"\(symbol)\""
        case .end: "the end"
        }
    }

    mutating func requirements() throws(SelectorFault) -> [LabelSelector.Requirement] {
        var found: [LabelSelector.Requirement] = []
        if current == .end { return found }
        while true {
            found.append(try requirement())
            switch take() {
            case .end: return found
            case .symbol(","): continue
            case let other: throw fault("expected a comma or the end, found \(shown(other))")
            }
        }
    }

    private mutating func key() throws(SelectorFault) -> String {
        let token = take()
        guard case .word(let key) = token else { throw fault("expected a label key, found \(shown(token))") }
        if let why = Names.qualified(key) { throw fault("key \"\(key)\": \(why)") }
        return key
    }

    private mutating func requirement() throws(SelectorFault) -> LabelSelector.Requirement {
        if current == .symbol("!") {
            place += 1
            return .missing(try key())
        }
        let key = try key()
        switch current {
        case .end, .symbol(","): return .exists(key)
        case .symbol("="), .symbol("=="):
            place += 1
            return .isIn(key, [try value(key)])
        case .symbol("!="):
            place += 1
            return .notIn(key, [try value(key)])
        case .symbol(let sign) where sign == ">" || sign == "<":
            place += 1
            let text = try value(key)
            guard let bound = Int64(text) else { throw fault("\(key)\(sign) needs an integer, found \"\(text)\"") }
            return sign == ">" ? .greater(key, bound) : .less(key, bound)
        case .word("in"):
            place += 1
            return .isIn(key, try values(key))
        case .word("notin"):
            place += 1
            return .notIn(key, try values(key))
        default: throw fault("expected =, !=, in, notin, > or < after \"\(key)\", found \(shown(current))")
        }
    }

    /// A missing value is the empty string: `key=`.
    private mutating func value(_ key: String) throws(SelectorFault) -> String {
        switch current {
        case .word(let value):
            place += 1
            if let why = Names.labelValue(value) { throw fault("value \"\(value)\" of \(key): \(why)") }
            return value
        case .end, .symbol(","), .symbol(")"): return ""
        default: throw fault("expected a value for \"\(key)\", found \(shown(current))")
        }
    }

    private mutating func values(_ key: String) throws(SelectorFault) -> Set<String> {
        guard take() == .symbol("(") else { throw fault("expected '(' after \"\(key) in\"") }
        var values: Set<String> = []
        while true {
            values.insert(try value(key))
            switch take() {
            case .symbol(")"): return values
            case .symbol(","): continue
            case let other: throw fault("expected ',' or ')' in the values of \"\(key)\", found \(shown(other))")
            }
        }
    }
}
