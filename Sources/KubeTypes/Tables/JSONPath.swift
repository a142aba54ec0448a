package import Wire

/// The part of JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`.
package struct JSONPath: Sendable {
    private enum Step: Sendable {
        case member(String)
        case element(Int)
        case all
        case filter([String], String, isEqual: Bool)
    }
    private let steps: [Step]

    package init?(_ text: String) {
        var rest = text[...]
        if rest.hasPrefix("{"), rest.hasSuffix("}") { rest = rest.dropFirst().dropLast() }
        if rest.hasPrefix("$") { rest = rest.dropFirst() }
        var steps: [Step] = []
        while let first = rest.first {
            if first == "." {
                rest = rest.dropFirst()
                var name = ""
                while let character = rest.first, character != ".", character != "[" {
                    if character == "\\" { rest = rest.dropFirst() }  // `\.` is a dot in a name
                    guard let character = rest.first else { return nil }
                    name.append(character)
                    rest = rest.dropFirst()
                }
                if name == "*" { steps.append(.all) } else if !name.isEmpty { steps.append(.member(name)) }
                continue
            }
            guard first == "[", let close = Self.closing(rest) else { return nil }
            let inside = rest[rest.index(after: rest.startIndex)..<close]
            rest = rest[rest.index(after: close)...]
            if inside == "*" {
                steps.append(.all)
            } else if let index = Int(inside) {
                steps.append(.element(index))
            } else if inside.count >= 2, let quote = inside.first, quote == "'" || quote == "\"", inside.last == quote {
                steps.append(.member(String(inside.dropFirst().dropLast())))
            } else if inside.hasPrefix("?("), inside.hasSuffix(")"),
                let filter = Self.filter(inside.dropFirst(2).dropLast())
            {
                steps.append(filter)
            } else {
                return nil
            }
        }
        self.steps = steps
    }

    private static func closing(_ text: Substring) -> Substring.Index? {
        var quote: Character?
        var index = text.index(after: text.startIndex)
        while index < text.endIndex {
            let character = text[index]
            if let open = quote {
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            } else if character == "]" {
                return index
            }
            index = text.index(after: index)
        }
        return nil
    }

    private static func filter(_ text: Substring) -> Step? {
        for (sign, isEqual) in [("==", true), ("!=", false)] {
            guard let range = text.firstRange(of: sign) else { continue }
            let left = text[..<range.lowerBound].trimmed
            var right = text[range.upperBound...].trimmed
            guard left.hasPrefix("@.") else { return nil }
            if let quote = right.first, quote == "'" || quote == "\"", right.last == quote, right.count >= 2 {
                right = String(right.dropFirst().dropLast())
            }
            return .filter(left.dropFirst(2).split(separator: ".").map(String.init), right, isEqual: isEqual)
        }
        return nil
    }

    package func values(in document: JSON) -> [JSON] {
        var found = [document]
        for step in steps {
            found = found.flatMap { value -> [JSON] in
                switch step {
                case .member(let name): return value[name].map { [$0] } ?? []
                case .element(let index):
                    guard let elements = value.array else { return [] }
                    let place = index < 0 ? elements.count + index : index
                    return elements.indices.contains(place) ? [elements[place]] : []
                case .all: return value.array ?? value.object?.map(\.value) ?? []
                case .filter(let path, let wanted, let isEqual):
                    return (value.array ?? []).filter { element in
                        let found = element[path: path]
                        return ((found?.string ?? found?.text) == wanted) == isEqual
                    }
                }
            }
        }
        return found
    }
}
