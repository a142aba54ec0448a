import KubeClient
import KubeTypes
import Wire

/// A selection, parsed, over objects of one kind.
struct ObjectFilter: Sendable {
    let selection: Selection
    private let labels: KubeTypes.LabelSelector
    private let fields: KubeTypes.FieldSelector
    /// What of an object is looked at; `nil` when that cannot be said of its stored form.
    private let paths: [[String]]?
    private let kind: String

    init(_ selection: Selection, _ definition: ResourceDefinition) throws(APIFailure) {
        self.selection = selection
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
        kind = definition.type.kind
        var paths: [[String]]?
        if definition.showsStoredBytes {
            paths = fields.requirements.flatMap { Self.paths(of: $0.field) }
            if !labels.isEmpty { paths?.append(["metadata", "labels"]) }
        }
        self.paths = paths
    }

    /// Some fields are looked for in more than one place.
    private static func paths(of field: String) -> [[String]] {
        let path = field.split(separator: ".").map(String.init)
        switch field {
        case "source", "reportingComponent", "reportingController":
            return [["source"], ["reportingComponent"], ["reportingController"]]
        case "status.podIPs": return [path, ["status", "podIP"]]
        default: return [path]
        }
    }

    var matchesAll: Bool { labels.isEmpty && fields.isEmpty }
    /// The one name that can match.
    var exactName: String? { fields.name }

    func matches(_ object: KubeObject) -> Bool { labels.matches(object) && fields.matches(object) }

    /// The same for a stored object, of which only what is asked for is read. `nil` when the whole must be.
    func matches(_ value: [UInt8]) -> Bool? {
        guard let paths else { return nil }
        var part: JSON = ["kind": .string(kind)]
        for path in paths {
            if let value = JSONScan.value(at: path, in: value) { part[path: path] = value }
        }
        return matches(KubeObject(part))
    }
}
