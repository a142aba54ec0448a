import KubeTypes
import Wire

/// Selectors of labels and fields: refused, or written in a form that means the same. The first byte says which.
enum SelectorTarget {
    private static let types: [ResourceType] = [.pods, .nodes, .events, .secrets]
    private static let labels: [[String: String]] = [
        [:], ["a": "1"], ["a": "1", "b": ""], ["app": "web", "tier": "db", "n": "5"], ["example.com/x": "-"],
    ]

    static func run(_ input: Input) {
        guard let first = input.first else { return }
        let bytes = Array(input.dropFirst())
        switch first & 3 {
        case 0: query(String(decoding: bytes, as: UTF8.self))
        case 1:
            guard let json = try? JSON(parsing: bytes), let selector = try? LabelSelector(json) else { return }
            _ = (selector.description, labels.map(selector.matches))
        default: fields(String(decoding: bytes, as: UTF8.self), types[Int(first >> 2) % types.count])
        }
    }

    private static func query(_ text: String) {
        guard let selector = try? LabelSelector(parsing: text) else { return }
        guard let again = try? LabelSelector(parsing: selector.description) else {
            preconditionFailure("our own text is refused")
        }
        precondition(again == selector, "a selector has changed on the way")
        for labels in labels {
            let parts = selector.requirements.map { LabelSelector([$0]).matches(labels) }
            precondition(selector.matches(labels) == parts.allSatisfy { $0 }, "the whole is not its parts")
        }
    }

    private static func fields(_ text: String, _ type: ResourceType) {
        guard let selector = try? FieldSelector(parsing: text, for: type) else { return }
        guard let again = try? FieldSelector(parsing: selector.description, for: type) else {
            preconditionFailure("our own text is refused")
        }
        precondition(again == selector, "a selector has changed on the way")
        for kind in FuzzedKinds.all {
            let parts = selector.requirements.map { FieldSelector([$0]).matches(kind.object) }
            precondition(selector.matches(kind.object) == parts.allSatisfy { $0 }, "the whole is not its parts")
        }
    }
}
