package import KubeTypes
import Wire

/// The query parameter `fieldSelector`: `spec.nodeName=node-1,status.phase!=Running`. An absent field counts as "".
package struct FieldSelector: Sendable, Hashable {
    struct Term: Sendable, Hashable {
        var path: [String]
        var value: String
        var isNegated: Bool
    }
    let terms: [Term]

    package init(parsing text: String) throws(APIFailure) {
        var terms: [Term] = []
        for part in text.split(separator: ",").map({ String($0).trimmed }) where !part.isEmpty {
            let negated = part.divided(by: "!=")
            let divided = negated ?? part.divided(by: "==") ?? part.divided(by: "=")
            guard let (left, right) = divided else {
                throw .badRequest("invalid field selector \"\(part)\": it has no '=' or '!='")
            }
            let path = String(left).trimmed.split(separator: ".").map(String.init)
            terms.append(Term(path: path, value: String(right).trimmed, isNegated: negated != nil))
        }
        self.terms = terms
    }

    package func matches(_ object: KubeObject) -> Bool {
        terms.allSatisfy { term in
            let value = object.json[path: term.path]
            let text = value?.string ?? value?.int.map(String.init) ?? value?.bool.map(String.init) ?? ""
            return (text == term.value) != term.isNegated
        }
    }
}

/// A selection with both its selectors parsed once.
package struct SelectionFilter: Sendable {
    let labels: LabelSelector
    let fields: FieldSelector

    package init(_ selection: Selection) throws(APIFailure) {
        labels = try LabelSelector(parsing: selection.labels)
        fields = try FieldSelector(parsing: selection.fields)
    }

    package func matches(_ object: KubeObject) -> Bool {
        (labels.requirements.isEmpty || labels.matches(object.labels)) && fields.matches(object)
    }
}
