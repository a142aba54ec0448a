/// Where in an object a walk stands. Steps are kept apart and joined only when a fault is written.
struct FieldPath {
    enum Step {
        case member(String)
        /// An entry of a map, written in brackets.
        case key(String)
        case element(Int)
    }
    private(set) var steps: [Step] = []

    mutating func enter(_ member: String, isKey: Bool = false) {
        steps.append(isKey ? .key(member) : .member(member))
    }
    mutating func enter(_ index: Int) { steps.append(.element(index)) }
    mutating func leave() { steps.removeLast() }

    /// Members with a dot or a slash stand in brackets, as labels and annotations do: `metadata.labels[app.kubernetes.io/name]`.
    var text: String {
        var text = ""
        for step in steps {
            switch step {
            case .element(let index): text += "[\(index)]"
            case .member(let name) where name.utf8.contains(UInt8(ascii: ".")) || name.utf8.contains(UInt8(ascii: "/")):
                text += "[\(name)]"
            case .key(let name): text += "[\(name)]"
            case .member(let name): text += text.isEmpty ? name : "." + name
            }
        }
        return text
    }

    func text(_ member: String) -> String {
        var path = self
        path.enter(member)
        return path.text
    }
    func text(_ index: Int) -> String {
        var path = self
        path.enter(index)
        return path.text
    }

    var topMember: String? {
        guard case .member(let name)? = steps.first else { return nil }
        return name
    }
}
