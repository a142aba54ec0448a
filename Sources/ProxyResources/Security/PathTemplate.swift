/// A path with places for any element, `/books/{*}/pages`, and at most one place for any rest, `/files/{**}`.
package struct PathTemplate: Sendable, Hashable {
    package enum Part: Sendable, Hashable {
        case text(String)
        /// One element, not empty.
        case element
        /// Anything, slashes too, or nothing.
        case rest
    }

    package let parts: [Part]

    /// `nil` when the text is no template but an ordinary path.
    package init?(_ text: String) {
        guard text.contains("{*}") || text.contains("{**}") else { return nil }
        var parts: [Part] = []
        var literal = ""
        var rest = text[...]
        func taken(_ word: String) -> Bool { rest.hasPrefix(word) }
        while !rest.isEmpty {
            let part: Part? = taken("{*}") ? .element : taken("{**}") ? .rest : nil
            guard let part else {
                literal.append(rest.removeFirst())
                continue
            }
            if !literal.isEmpty { parts.append(.text(literal)) }
            literal = ""
            parts.append(part)
            rest = rest.dropFirst(part == .element ? 3 : 4)
        }
        if !literal.isEmpty { parts.append(.text(literal)) }
        self.parts = parts
    }

    /// What is wrong with a path, or template of paths, of a policy; `nil` when it can be matched.
    static func fault(in text: String) -> String? {
        if text.isEmpty { return "holds an empty value" }
        guard let template = PathTemplate(text) else {
            return text.contains("{") || text.contains("}")
                ? "\"\(text)\": only {*} and {**} stand in braces, each as a whole element" : nil
        }
        if !text.hasPrefix("/") { return "\"\(text)\": a template starts with /" }
        if text.contains("*") && text.replacing("{**}", with: "").replacing("{*}", with: "").contains("*") {
            return "\"\(text)\": * does not stand beside {*} or {**}"
        }
        for (index, part) in template.parts.enumerated() {
            if case .text(let literal) = part {
                if literal.contains("{") || literal.contains("}") {
                    return "\"\(text)\": only {*} and {**} stand in braces"
                }
                let startsWell = index == 0 || literal.hasPrefix("/")
                let endsWell = index == template.parts.count - 1 || literal.hasSuffix("/")
                if !startsWell || !endsWell { return "\"\(text)\": {*} and {**} are whole elements of a path" }
            } else if index > 0, case .text = template.parts[index - 1] {
                if part == .rest, template.parts[(index + 1)...].contains(where: { $0 == .element || $0 == .rest }) {
                    return "\"\(text)\": {**} is the last of its places"
                }
            } else {
                return "\"\(text)\": {*} and {**} are whole elements of a path"
            }
        }
        return nil
    }

    package func admits(_ path: String) -> Bool {
        var rest = Array(path.utf8)[...]
        for (index, part) in parts.enumerated() {
            switch part {
            case .text(let text):
                guard rest.starts(with: text.utf8) else { return false }
                rest = rest.dropFirst(text.utf8.count)
            case .element:
                let element = rest.prefix { $0 != UInt8(ascii: "/") }
                if element.isEmpty { return false }
                rest = rest.dropFirst(element.count)
            case .rest:
                // Only text may follow.
                guard index + 1 < parts.count, case .text(let text) = parts[index + 1] else { return true }
                return rest.count >= text.utf8.count && rest.suffix(text.utf8.count).elementsEqual(text.utf8)
            }
        }
        return rest.isEmpty
    }
}
