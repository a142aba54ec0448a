package import Wire

/// Which fields someone owns, as a tree: the `fieldsV1` of `metadata.managedFields`.
///
/// A step is `f:<member>`, `k:<keys of a list element>` or `v:<value in a set>`.
package struct FieldSet: Sendable, Hashable {
    /// The node itself is owned, not only what is below it.
    package var isOwned = false
    package var children: [String: FieldSet] = [:]

    package init() {}

    package static let leaf: FieldSet = {
        var leaf = FieldSet()
        leaf.isOwned = true
        return leaf
    }()

    package init(_ json: JSON) {
        let members = json.object ?? JSONObject()
        isOwned = members.isEmpty
        for member in members {
            if member.key == "." { isOwned = true } else { children[member.key] = FieldSet(member.value) }
        }
    }

    package var json: JSON {
        if children.isEmpty { return [:] }
        var members: [JSONObject.Member] = isOwned ? [.init(".", [:])] : []
        members += children.sorted { $0.key < $1.key }.map { .init($0.key, $0.value.json) }
        return .object(JSONObject(members))
    }

    package var isEmpty: Bool { !isOwned && children.allSatisfy { $0.value.isEmpty } }

    package func contains(_ path: ArraySlice<String>) -> Bool {
        guard let first = path.first else { return isOwned }
        return children[first]?.contains(path.dropFirst()) ?? false
    }

    func union(_ other: FieldSet) -> FieldSet {
        var result = self
        result.isOwned = isOwned || other.isOwned
        for (step, child) in other.children { result.children[step] = result.children[step]?.union(child) ?? child }
        return result
    }

    func subtracting(_ other: FieldSet) -> FieldSet { combined(other) { $0 && !$1 } }
    func intersection(_ other: FieldSet) -> FieldSet { combined(other) { $0 && $1 } }

    private func combined(_ other: FieldSet, _ keeps: (Bool, Bool) -> Bool) -> FieldSet {
        var result = FieldSet()
        result.isOwned = keeps(isOwned, other.isOwned)
        for (step, child) in children {
            let inner = child.combined(other.children[step] ?? FieldSet(), keeps)
            if !inner.isEmpty { result.children[step] = inner }
        }
        return result
    }

    mutating func insert(_ path: ArraySlice<String>) {
        guard let first = path.first else {
            isOwned = true
            return
        }
        children[first, default: FieldSet()].insert(path.dropFirst())
    }

    /// All owned nodes, inner ones after what is below them.
    package var paths: [[String]] {
        var found: [[String]] = []
        for (step, child) in children.sorted(by: { $0.key < $1.key }) {
            found += child.paths.map { [step] + $0 }
        }
        if isOwned { found.append([]) }
        return found
    }

    /// `.spec.containers[name="web"].image`, as conflicts name fields.
    package static func text(_ path: [String]) -> String {
        var text = ""
        for step in path {
            let rest = String(step.dropFirst(2))
            switch step.prefix(2) {
            case "f:": text += "." + rest
            case "k:":
                let keys = (try? JSON(parsing: rest))?.object ?? JSONObject()
                text += "[" + keys.map { "\($0.key)=\($0.value.text)" }.joined(separator: ",") + "]"
            default: text += "[=\(rest)]"
            }
        }
        return text
    }
}

/// How a value falls into separately owned parts, by its schema.
enum FieldParts {
    struct Part {
        let step: String
        let value: JSON
        let schema: Schema?
    }

    /// The parts of a value; `nil` when it is owned as a whole.
    static func of(_ value: JSON, _ schema: Schema?) -> [Part]? {
        switch value {
        case .object(let members):
            if members.isEmpty || schema?.isAtomicMap == true || schema?.isEmbeddedResource == true { return nil }
            return members.map { Part(step: "f:" + $0.key, value: $0.value, schema: schema?.link($0.key)?.schema) }
        case .array(let elements):
            guard let schema, !elements.isEmpty else { return nil }
            let inner = schema.items?.schema
            switch schema.listType {
            case .set: return elements.map { Part(step: "v:" + $0.text, value: $0, schema: nil) }
            case .map:
                var parts: [Part] = []
                parts.reserveCapacity(elements.count)
                for element in elements {
                    guard let step = step(of: element, schema) else { return nil }
                    parts.append(Part(step: step, value: element, schema: inner))
                }
                return areDistinct(parts) ? parts : nil
            case .atomic, nil: return nil
            }
        default: return nil
        }
    }

    /// The keys of a list element; one that is left out has its default.
    static func step(of element: JSON, _ schema: Schema) -> String? {
        if schema.stepKeys.isEmpty { return nil }
        var text = JSONText(capacity: 64)
        text.put(UInt8(ascii: "k"))
        text.put(UInt8(ascii: ":"))
        var mark = UInt8(ascii: "{")
        for key in schema.stepKeys {
            guard let value = element[key] ?? schema.items?.schema.properties[key]?.defaultValue else { return nil }
            text.put(mark)
            text.put(quoted: key)
            text.put(UInt8(ascii: ":"))
            text.put(value)
            mark = UInt8(ascii: ",")
        }
        text.put(UInt8(ascii: "}"))
        return text.text
    }

    /// Few parts are compared with each other, without a set of them.
    private static func areDistinct(_ parts: [Part]) -> Bool {
        if parts.count > 8 { return Set(parts.map(\.step)).count == parts.count }
        for place in parts.indices.dropFirst() {
            for other in 0..<place where parts[other].step == parts[place].step { return false }
        }
        return true
    }

    static func fields(_ value: JSON, _ schema: Schema?) -> FieldSet {
        guard let parts = of(value, schema) else { return .leaf }
        var set = FieldSet()
        for part in parts {
            var child = fields(part.value, part.schema)
            if !part.step.hasPrefix("f:") { child.isOwned = true }
            set.children[part.step] = child
        }
        return set
    }

    /// The fields of the new value that are not in the old one, or differ there.
    static func changes(from old: JSON, to new: JSON, _ schema: Schema?) -> FieldSet {
        if old == new { return FieldSet() }
        guard let parts = of(new, schema), let before = of(old, schema) else { return fields(new, schema) }
        let known = Dictionary(before.map { ($0.step, $0.value) }) { first, _ in first }
        var set = FieldSet()
        for part in parts {
            var child: FieldSet
            if let old = known[part.step] {
                child = changes(from: old, to: part.value, part.schema)
                if child.isEmpty { continue }
            } else {
                child = fields(part.value, part.schema)
                if !part.step.hasPrefix("f:") { child.isOwned = true }
            }
            set.children[part.step] = child
        }
        return set
    }

    /// The owned leaves of the set whose values differ; a leaf the live object lacks does not count.
    static func differing(_ set: FieldSet, _ applied: JSON, _ live: JSON, _ schema: Schema?) -> [[String]] {
        if applied == live { return [] }
        if set.children.isEmpty { return set.isOwned ? [[]] : [] }
        func byStep(_ value: JSON) -> [String: Part] {
            Dictionary((of(value, schema) ?? []).map { ($0.step, $0) }) { first, _ in first }
        }
        let (new, old) = (byStep(applied), byStep(live))
        var found: [[String]] = []
        for (step, child) in set.children.sorted(by: { $0.key < $1.key }) {
            guard let one = new[step], let other = old[step] else { continue }
            // That an element is there is no value.
            if child.children.isEmpty, !step.hasPrefix("f:") { continue }
            found += differing(child, one.value, other.value, one.schema).map { [step] + $0 }
        }
        return found
    }
}
