package import KubeTypes
package import Wire

/// Which labels an object must have, as `metav1.LabelSelector` and the query parameter `labelSelector` say it.
package struct LabelSelector: Sendable, Hashable {
    package enum Requirement: Sendable, Hashable {
        case isIn(String, [String])
        /// An absent label matches, too.
        case isNotIn(String, [String])
        case exists(String)
        case isAbsent(String)
        /// `tier>3`: numbers only.
        case isGreater(String, than: Int)
        case isLess(String, than: Int)
    }

    package var requirements: [Requirement]

    package init(_ requirements: [Requirement]) { self.requirements = requirements }

    /// The selector of a Service or a ReplicationController: every pair must be there.
    package init(pairs: [String: String]) {
        requirements = pairs.sorted { $0.key < $1.key }.map { .isIn($0.key, [$0.value]) }
    }

    package static let everything = LabelSelector([])

    package func matches(_ labels: [String: String]) -> Bool {
        requirements.allSatisfy { $0.matches(labels) }
    }
}

extension LabelSelector.Requirement {
    func matches(_ labels: [String: String]) -> Bool {
        switch self {
        case .isIn(let key, let values): return labels[key].map(values.contains) ?? false
        case .isNotIn(let key, let values): return !(labels[key].map(values.contains) ?? false)
        case .exists(let key): return labels[key] != nil
        case .isAbsent(let key): return labels[key] == nil
        case .isGreater(let key, let bound): return labels[key].flatMap(Int.init).map { $0 > bound } ?? false
        case .isLess(let key, let bound): return labels[key].flatMap(Int.init).map { $0 < bound } ?? false
        }
    }
}

extension LabelSelector {
    /// `matchLabels` and `matchExpressions`. An empty selector selects everything; an absent one is the caller's business.
    package init(json: JSON) throws(APIFailure) {
        var requirements = LabelSelector(pairs: json["matchLabels"]?.stringMap ?? [:]).requirements
        for expression in json["matchExpressions"]?.array ?? [] {
            let key = expression["key"]?.string ?? ""
            let values = expression["values"]?.array?.compactMap(\.string) ?? []
            requirements.append(
                try Self.requirement(key: key, operation: expression["operator"]?.string ?? "", values: values))
        }
        self.init(requirements)
    }

    /// The requirement an `operator` word states; node affinity has two words more than label selectors.
    package static func requirement(
        key: String, operation: String, values: [String]
    ) throws(APIFailure) -> Requirement {
        switch operation {
        case "In": return .isIn(key, values)
        case "NotIn": return .isNotIn(key, values)
        case "Exists": return .exists(key)
        case "DoesNotExist": return .isAbsent(key)
        case "Gt", "Lt":
            guard values.count == 1, let bound = Int(values[0]) else {
                throw .badRequest("matchExpressions: \(operation) on \"\(key)\" needs exactly one number as its value")
            }
            return operation == "Gt" ? .isGreater(key, than: bound) : .isLess(key, than: bound)
        default:
            throw .badRequest("matchExpressions: \"\(operation)\" is not a valid operator for label \"\(key)\"")
        }
    }

    /// The query parameter: `app=web,tier in (a,b),!legacy,release!=old`.
    package init(parsing text: String) throws(APIFailure) {
        var requirements: [Requirement] = []
        for part in Self.split(text) where !part.isEmpty {
            requirements.append(try Self.parse(part))
        }
        self.init(requirements)
    }

    /// Parts between commas that are not inside brackets, trimmed.
    private static func split(_ text: String) -> [String] {
        var parts: [String] = [""]
        var depth = 0
        for character in text {
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            if character == ",", depth == 0 {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts.map { $0.trimmed }
    }

    private static func parse(_ part: String) throws(APIFailure) -> Requirement {
        if let open = part.firstIndex(of: "("), part.hasSuffix(")") {
            let words = part[..<open].split(separator: " ").map(String.init)
            let inside = part[part.index(after: open)..<part.index(before: part.endIndex)]
            let values = inside.split(separator: ",", omittingEmptySubsequences: false).map { String($0).trimmed }
            if words.count == 2, words[1] == "in" { return .isIn(words[0], values) }
            if words.count == 2, words[1] == "notin" { return .isNotIn(words[0], values) }
            throw unreadable(part)
        }
        if part.hasPrefix("!") { return .isAbsent(try name(part.dropFirst(), in: part)) }
        for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
            guard let (left, right) = part.divided(by: sign) else { continue }
            let key = try name(left, in: part)
            let value = String(right).trimmed
            return negated ? .isNotIn(key, [value]) : .isIn(key, [value])
        }
        for sign in [">", "<"] {
            guard let (left, right) = part.divided(by: sign) else { continue }
            guard let bound = Int(String(right).trimmed) else { throw unreadable(part) }
            let key = try name(left, in: part)
            return sign == ">" ? .isGreater(key, than: bound) : .isLess(key, than: bound)
        }
        return .exists(try name(part[...], in: part))
    }

    private static func name(_ text: Substring, in part: String) throws(APIFailure) -> String {
        let name = String(text).trimmed
        let isPlain = !name.isEmpty && name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "/"):
                true
            default: false
            }
        }
        guard isPlain else { throw unreadable(part) }
        return name
    }

    private static func unreadable(_ part: String) -> APIFailure {
        .badRequest("unable to parse requirement \"\(part)\" of the label selector")
    }
}

extension String {
    var trimmed: String {
        var rest = Substring(self)
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }

    /// What stands before and after the first `separator`.
    func divided(by separator: String) -> (Substring, Substring)? {
        let signs = Array(separator.utf8)
        let text = utf8
        var place = text.startIndex
        while place != text.endIndex {
            if text[place...].starts(with: signs) {
                return (self[..<place], self[text.index(place, offsetBy: signs.count)...])
            }
            text.formIndex(after: &place)
        }
        return nil
    }
}
