import KubeTypes
import Wire

/// Patches as `MemoryAPI` applies them.
enum MemoryPatch {
    /// RFC 7386.
    static func merge(_ target: JSON, _ patch: JSON) -> JSON {
        guard case .object(let members) = patch else { return patch }
        var result: JSON = target.object == nil ? .object(JSONObject()) : target
        for member in members {
            result[member.key] = member.value.isNull ? nil : merge(result[member.key] ?? .null, member.value)
        }
        return result
    }

    /// A merge patch that merges lists of objects by their key, and the finalizers as a set.
    /// Of the directives, `$patch: delete` in a list element is known.
    static func strategicMerge(_ target: JSON, _ patch: JSON, field: String = "") -> JSON {
        switch patch {
        case .object(let members):
            var result: JSON = target.object == nil ? .object(JSONObject()) : target
            for member in members where !member.key.hasPrefix("$") {
                result[member.key] =
                    member.value.isNull
                    ? nil : strategicMerge(result[member.key] ?? .null, member.value, field: member.key)
            }
            return result
        case .array(let elements):
            if field == "finalizers" {
                let old = target.array ?? []
                return .array(old + elements.filter { !old.contains($0) })
            }
            guard let key = listKeys[field] else { return patch }
            return .array(mergeList(target.array ?? [], elements, key: key))
        default: return patch
        }
    }

    private static func mergeList(_ old: [JSON], _ elements: [JSON], key: String) -> [JSON] {
        var result = old
        for element in elements {
            let place = result.firstIndex { $0[key] == element[key] }
            let isRemoval = element["$patch"]?.string == "delete"
            switch (place, isRemoval) {
            case (let place?, true): result.remove(at: place)
            case (let place?, false): result[place] = strategicMerge(result[place], element)
            case (nil, true): break
            case (nil, false): result.append(element)
            }
        }
        return result
    }

    private static let listKeys = [
        "conditions": "type", "containers": "name", "initContainers": "name", "containerStatuses": "name", "volumes": "name",
        "env": "name", "ownerReferences": "uid", "addresses": "type", "imagePullSecrets": "name", "volumeMounts": "mountPath",
    ]

    /// RFC 6902.
    static func json(_ target: JSON, _ operations: JSON) throws(APIFailure) -> JSON {
        guard let steps = operations.array else { throw .badRequest("a JSON patch is a list of operations") }
        var result = target
        for step in steps {
            let name = step["op"]?.string ?? ""
            let path = try pointer(step["path"]?.string ?? "")
            switch name {
            case "add", "replace":
                if name == "replace" { _ = try value(at: path, in: result) }
                result = try writing(step["value"] ?? .null, at: path[...], in: result, inserts: name == "add")
            case "remove":
                _ = try value(at: path, in: result)
                result = try writing(nil, at: path[...], in: result, inserts: false)
            case "test":
                guard try value(at: path, in: result) == step["value"] else {
                    throw APIFailure(code: 422, reason: "Invalid", message: "testing value \(step["path"]?.text ?? "") failed")
                }
            case "move", "copy":
                let source = try pointer(step["from"]?.string ?? "")
                let moved = try value(at: source, in: result)
                if name == "move" { result = try writing(nil, at: source[...], in: result, inserts: false) }
                result = try writing(moved, at: path[...], in: result, inserts: true)
            default: throw .badRequest("\"\(name)\" is not a JSON patch operation")
            }
        }
        return result
    }

    private static func pointer(_ text: String) throws(APIFailure) -> [String] {
        if text.isEmpty { return [] }
        guard text.hasPrefix("/") else { throw .badRequest("JSON patch path \"\(text)\" does not start with '/'") }
        return text.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(unescaped)
    }

    private static func unescaped(_ part: Substring) -> String {
        var out = ""
        var isEscape = false
        for character in part {
            if isEscape {
                out.append(character == "1" ? "/" : "~")
                isEscape = false
            } else if character == "~" {
                isEscape = true
            } else {
                out.append(character)
            }
        }
        return out
    }

    private static func value(at path: [String], in json: JSON) throws(APIFailure) -> JSON {
        var value = json
        for part in path {
            guard let next = value.array != nil ? Int(part).flatMap({ value[$0] }) : value[part] else {
                throw missing(path)
            }
            value = next
        }
        return value
    }

    /// `nil` removes. In a list, `inserts` shifts later elements instead of replacing one.
    private static func writing(
        _ value: JSON?, at path: ArraySlice<String>, in json: JSON, inserts: Bool
    ) throws(APIFailure) -> JSON {
        guard let part = path.first else { return value ?? .null }
        let rest = path.dropFirst()
        if case .array(var elements) = json {
            let index = part == "-" ? elements.count : Int(part) ?? -1
            if rest.isEmpty, let value, inserts {
                guard (0...elements.count).contains(index) else { throw missing(Array(path)) }
                elements.insert(value, at: index)
                return .array(elements)
            }
            guard elements.indices.contains(index) else { throw missing(Array(path)) }
            if rest.isEmpty, value == nil {
                elements.remove(at: index)
            } else {
                elements[index] = try writing(value, at: rest, in: elements[index], inserts: inserts)
            }
            return .array(elements)
        }
        guard json.object != nil else { throw missing(Array(path)) }
        var result = json
        if rest.isEmpty {
            result[part] = value
        } else {
            guard let inner = json[part] else { throw missing(Array(path)) }
            result[part] = try writing(value, at: rest, in: inner, inserts: inserts)
        }
        return result
    }

    private static func missing(_ path: [String]) -> APIFailure {
        APIFailure(code: 422, reason: "Invalid", message: "JSON patch: nothing at \"/\(path.joined(separator: "/"))\"")
    }
}
