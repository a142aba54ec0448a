import KubeTypes

/// A selection with both its selectors parsed once.
struct SelectionFilter: Sendable {
    private let labels: LabelSelector
    private let fields: FieldSelector

    init(_ selection: Selection, of type: ResourceType) throws(APIFailure) {
        do throws(SelectorFault) {
            labels = try LabelSelector(parsing: selection.labels)
            fields = try FieldSelector(parsing: selection.fields, for: type)
        } catch {
            throw .badRequest(error.message)
        }
    }

    func matches(_ object: KubeObject) -> Bool { labels.matches(object) && fields.matches(object) }
}
