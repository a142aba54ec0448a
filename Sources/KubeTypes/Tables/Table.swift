package import Wire

/// How much of each object a Table's rows carry: the `includeObject` query parameter.
package enum IncludeObject: String, Sendable {
    case metadata = "Metadata"
    case object = "Object"
    case none = "None"
}

extension ResourceDefinition {
    /// A `meta.k8s.io/v1` Table: what `kubectl get` prints.
    ///
    /// Ages are counted to `now`; `list` is the list's `metadata` (resourceVersion, continue, remainingItemCount). A watch sends
    /// the columns in its first event only.
    package func table(
        for objects: [KubeObject], include: IncludeObject = .metadata, now: Timestamp, list: JSON = [:],
        withColumns: Bool = true
    ) -> JSON {
        let definitions = columns.map { column -> JSON in
            [
                "name": .string(column.name), "type": .string(column.type), "format": .string(column.format),
                "description": .string(column.description), "priority": .int(Int64(column.priority)),
            ]
        }
        return [
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list,
            "columnDefinitions": .array(withColumns ? definitions : []),
            "rows": .array(objects.map { row($0, include, now) }),
        ]
    }

    /// A watch event's object as a Table of one row.
    package func tableRow(of object: KubeObject, include: IncludeObject, now: Timestamp, withColumns: Bool) -> JSON {
        table(
            for: [object], include: include, now: now, list: ["resourceVersion": .string(object.resourceVersion)],
            withColumns: withColumns)
    }

    private func row(_ object: KubeObject, _ include: IncludeObject, _ now: Timestamp) -> JSON {
        var row: JSON = ["cells": .array(cells(object, now))]
        if type.kind == "Pod", let condition = Self.completion(object) { row["conditions"] = [condition] }
        switch include {
        case .metadata: row["object"] = Self.partial(object)
        case .object: row["object"] = presented(object).json
        case .none: row["object"] = .null
        }
        return row
    }

    private static func completion(_ pod: KubeObject) -> JSON? {
        switch pod[Pod.phase] {
        case "Succeeded"?:
            [
                "type": "Completed", "status": "True", "reason": "Succeeded",
                "message": "The pod has completed successfully.",
            ]
        case "Failed"?: ["type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."]
        default: nil
        }
    }

    /// `PartialObjectMetadata`, also for clients that ask for it by `as=`.
    package static func partial(_ object: KubeObject) -> JSON {
        ["kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.metadata]
    }

    package func cells(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let printed = isCustom ? [:] : Cells(object: object, now: now).named(type)
        return columns.map { column in
            if let path = column.jsonPath { return Self.cell(path, column.type, object, now) }
            if let cell = printed[column.name] { return cell }
            switch column.name {
            case "Name": return .string(object.name)
            case "Age": return .string(Cells.age(object.creationTimestamp, now))
            case "Created At": return .string(object.creationTimestamp ?? "<unknown>")
            default: return "<none>"
            }
        }
    }

    /// A custom column: the first value at its path, text as it is, everything else as JSON.
    private static func cell(_ path: String, _ type: String, _ object: KubeObject, _ now: Timestamp) -> JSON {
        guard let value = JSONPath(path)?.values(in: object.json).first, !value.isNull else { return .null }
        switch type {
        case "date": return .string(Cells.age(value.string, now))
        case "string": return .string(value.string ?? value.text)
        case "integer": return value.int.map { .int(Int64($0)) } ?? .null
        case "number": return value.double == nil ? .null : value
        case "boolean": return value.bool == nil ? .null : value
        default: return value
        }
    }
}
