package import Wire

/// Kubernetes' own merge: lists of a schema's merge strategy are merged by key, and directives steer it.
///
/// Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$deleteFromPrimitiveList/<list>`, `$setElementOrder/<list>`.
package enum StrategicMergePatch {
    package static func applied(_ patch: JSON, to target: JSON, _ schema: Schema) throws(PatchFault) -> JSON {
        guard let members = patch.object else {
            throw PatchFault("a strategic merge patch must be an object", isMalformed: true)
        }
        return .object(try merge(members, into: target.object ?? JSONObject(), schema) ?? JSONObject())
    }

    private static let orderPrefix = "$setElementOrder/"
    private static let deletePrefix = "$deleteFromPrimitiveList/"

    /// `nil` when the patch says to delete the object.
    private static func merge(_ patch: JSONObject, into target: JSONObject, _ schema: Schema?) throws(PatchFault)
        -> JSONObject?
    {
        var result = target
        switch patch["$patch"] {
        case "replace"?: return stripped(patch)
        case "delete"?: return nil
        case "merge"?, nil: break
        case let other?:
            throw PatchFault(
                "$patch: \(other.text) is none of \"replace\", \"delete\" and \"merge\"", isMalformed: true)
        }
        if let kept = patch["$retainKeys"] {
            guard let names = kept.array?.compactMap(\.string) else {
                throw PatchFault("$retainKeys must be a list of strings", isMalformed: true)
            }
            result.members.removeAll { !names.contains($0.key) }
        }
        for member in patch where member.key.hasPrefix(deletePrefix) {
            let name = String(member.key.dropFirst(deletePrefix.count))
            let gone = Set(member.value.array ?? [])
            guard var elements = result[name]?.array else { continue }
            elements.removeAll(where: gone.contains)
            result[name] = .array(elements)
        }
        var ordered: Set<String> = []
        for member in patch {
            if member.key.hasPrefix(orderPrefix) { ordered.insert(String(member.key.dropFirst(orderPrefix.count))) }
            if member.key.hasPrefix("$") && (member.key.hasPrefix(orderPrefix) || member.key.hasPrefix(deletePrefix))
                || member.key == "$patch" || member.key == "$retainKeys"
            {
                continue
            }
            let link = schema?.link(member.key)
            switch (member.value, result[member.key]) {
            case (.null, _): result[member.key] = nil
            case (.object(let inner), let found):
                if let merged = try merge(inner, into: found?.object ?? JSONObject(), link?.schema) {
                    result[member.key] = .object(merged)
                } else {
                    result[member.key] = nil
                }
            case (.array(let elements), let found):
                result[member.key] = .array(try merge(elements, into: found?.array ?? [], link, member.key))
            case (let value, _): result[member.key] = value
            }
        }
        for name in ordered {
            guard let wanted = patch[orderPrefix + name]?.array, let elements = result[name]?.array else { continue }
            let link = schema?.link(name)
            result[name] = .array(inOrder(elements, wanted, before: target[name]?.array ?? [], link?.mergeKey))
        }
        return result
    }

    private static func merge(
        _ patch: [JSON], into target: [JSON], _ link: SchemaLink?, _ name: String
    ) throws(PatchFault) -> [JSON] {
        guard let link, link.mergesList else { return patch.map(strippedValue) }
        guard let key = link.mergeKey else {
            // Plain values: a set, new ones at the end.
            return target + patch.filter { !target.contains($0) }
        }
        if patch.contains(where: { $0["$patch"] == "replace" }) {
            return patch.filter { $0["$patch"] == nil }.map(strippedValue)
        }
        var result = target
        for element in patch {
            guard let members = element.object else {
                throw PatchFault("\(name): expected objects with \"\(key)\"", isMalformed: true)
            }
            guard let mark = members[key], !mark.isNull else {
                throw PatchFault(
                    "\(name): an element has no \"\(key)\", by which elements are told apart", isMalformed: true)
            }
            let place = result.firstIndex { $0[key] == mark }
            if members["$patch"] == "delete" {
                result.removeAll { $0[key] == mark }
            } else if let place {
                if let merged = try merge(
                    members, into: result[place].object ?? JSONObject(), link.schema.items?.schema)
                {
                    result[place] = .object(merged)
                }
            } else {
                result.append(strippedValue(element))
            }
        }
        return result
    }

    /// The wanted elements in the wanted order; those only the server has keep their place among them.
    private static func inOrder(_ elements: [JSON], _ wanted: [JSON], before: [JSON], _ key: String?) -> [JSON] {
        func mark(_ element: JSON) -> JSON { key.flatMap { element[$0] } ?? element }
        func place(_ element: JSON) -> Int? { before.firstIndex { mark($0) == mark(element) } }
        let order = wanted.map(mark)
        var chosen: [JSON] = []
        for entry in order {
            if let element = elements.first(where: { mark($0) == entry }) { chosen.append(element) }
        }
        let others = elements.filter { !order.contains(mark($0)) }
        var result: [JSON] = []
        var next = others[...]
        for element in chosen {
            while let other = next.first, let here = place(element), let there = place(other), there < here {
                result.append(other)
                next.removeFirst()
            }
            result.append(element)
        }
        return result + next
    }

    /// A part of the patch as new content: without directives, nulls and deletions.
    private static func stripped(_ object: JSONObject) -> JSONObject {
        JSONObject(
            object.filter {
                !$0.key.hasPrefix("$patch") && $0.key != "$retainKeys" && !$0.key.hasPrefix(orderPrefix)
                    && !$0.key.hasPrefix(deletePrefix)
            }
            .filter { !$0.value.isNull }.map { .init($0.key, strippedValue($0.value)) })
    }

    private static func strippedValue(_ value: JSON) -> JSON {
        switch value {
        case .object(let object): .object(stripped(object))
        case .array(let elements):
            .array(
                elements.filter { $0["$patch"] != "delete" && !($0.object?.count == 1 && $0["$patch"] != nil) }.map(
                    strippedValue))
        default: value
        }
    }
}
