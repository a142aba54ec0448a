import KubeClient
import KubeTypes

/// A selection, parsed, over objects of one kind.
struct ObjectFilter: Sendable {
    private let labels: KubeTypes.LabelSelector
    private let fields: KubeTypes.FieldSelector

    init(_ selection: Selection, _ definition: ResourceDefinition) throws(APIFailure) {
        do throws(SelectorFault) {
            labels = try KubeTypes.LabelSelector(parsing: selection.labels)
        } catch {
            throw .badRequest("unable to parse labelSelector \"\(selection.labels)\": \(error)")
        }
        do throws(SelectorFault) {
            fields = try KubeTypes.FieldSelector(
                parsing: selection.fields, for: definition.type, fields: definition.custom?.selectableFields ?? [])
        } catch {
            throw .badRequest("unable to parse fieldSelector \"\(selection.fields)\": \(error)")
        }
    }

    var matchesAll: Bool { labels.isEmpty && fields.isEmpty }
    /// The one name that can match.
    var exactName: String? { fields.name }

    func matches(_ object: KubeObject) -> Bool { labels.matches(object) && fields.matches(object) }
}
