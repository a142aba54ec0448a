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
        let ordered = patch.filter { $0.key.hasPrefix(orderPrefix) }.map { String($0.key.dropFirst(orderPrefix.count)) }
        let changes = patch.filter { !isDirective($0.key) }
        result = try result.merging(changes) { (key, found, change) throws(PatchFault) in
            let link = schema?.link(key)
            switch change {
            case .null: return nil
            case .object(let inner):
                return try merge(inner, into: found?.object ?? JSONObject(), link?.schema).map { .object($0) }
            case .array(let elements): return .array(try merge(elements, into: found?.array ?? [], link, key))
            default: return change
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
            let known = Set(target)
            return target + patch.filter { !known.contains($0) }
        }
        if patch.contains(where: { $0["$patch"] == "replace" }) {
            return patch.filter { $0["$patch"] == nil }.map(strippedValue)
        }
        var result: [JSON?] = target
        var places: [JSON: [Int]] = [:]
        for (index, element) in target.enumerated() {
            if let mark = element[key] { places[mark, default: []].append(index) }
        }
        for element in patch {
            guard let members = element.object else {
                throw PatchFault("\(name): expected objects with \"\(key)\"", isMalformed: true)
            }
            guard let mark = members[key], !mark.isNull else {
                throw PatchFault(
                    "\(name): an element has no \"\(key)\", by which elements are told apart", isMalformed: true)
            }
            if members["$patch"] == "delete" {
                for place in places.removeValue(forKey: mark) ?? [] { result[place] = nil }
            } else if let place = places[mark]?.first {
                let old = result[place]?.object ?? JSONObject()
                if let merged = try merge(members, into: old, link.schema.items?.schema) {
                    result[place] = .object(merged)
                }
            } else {
                places[mark] = [result.count]
                result.append(strippedValue(element))
            }
        }
        return result.compactMap { $0 }
    }

    /// The wanted elements in the wanted order; those only the server has keep their place among them.
    private static func inOrder(_ elements: [JSON], _ wanted: [JSON], before: [JSON], _ key: String?) -> [JSON] {
        func mark(_ element: JSON) -> JSON { key.flatMap { element[$0] } ?? element }
        let places = Dictionary(before.enumerated().map { (mark($0.element), $0.offset) }) { first, _ in first }
        let found = Dictionary(elements.map { (mark($0), $0) }) { first, _ in first }
        let order = wanted.map(mark)
        let chosen = order.compactMap { found[$0] }
        let named = Set(order)
        var result: [JSON] = []
        var others = elements.filter { !named.contains(mark($0)) }[...]
        for element in chosen {
            while let other = others.first, let here = places[mark(element)], let there = places[mark(other)],
                there < here
            {
                result.append(other)
                others.removeFirst()
            }
            result.append(element)
        }
        return result + others
    }

    private static func isDirective(_ key: String) -> Bool {
        key == "$patch" || key == "$retainKeys" || key.hasPrefix(orderPrefix) || key.hasPrefix(deletePrefix)
    }

    /// A part of the patch as new content: without directives, nulls and deletions.
    private static func stripped(_ object: JSONObject) -> JSONObject {
        JSONObject(
            object.filter { !isDirective($0.key) && !$0.value.isNull }
                .map { .init($0.key, strippedValue($0.value)) })
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
