import Wire

/// Server-side apply: each manager owns the fields it applied; what it no longer applies and nobody else owns goes away.
extension ResourceDefinition {
    /// Merges what a manager applies into the live object.
    ///
    /// The result still has to be defaulted and validated. Fields are told apart by the schema: lists of type map by their keys,
    /// sets by value, everything atomic as a whole.
    /// `live` is `nil` when the object does not exist yet. Throws a 409 with a cause for each field another manager owns with
    /// another value, unless `force`.
    package func apply(
        _ applied: KubeObject, to live: KubeObject?, manager: String, force: Bool, now: Timestamp,
        subresource: String = ""
    ) throws(APIFailure) -> KubeObject {
        if applied.json["metadata"]?["managedFields"] != nil {
            throw .badRequest("metadata.managedFields must be nil in an object to be applied")
        }
        let base = live ?? KubeObject(["apiVersion": .string(type.apiVersion), "kind": .string(type.kind)])
        var entries = FieldOwners(base)
        let schema = schema
        let wanted = FieldOwners.ownable(FieldParts.fields(applied.json, schema))
        let previous = entries.fields(manager: manager, operation: "Apply", subresource: subresource)
        let conflicts = entries.conflicts(wanted, applied.json, base.json, schema, except: manager, subresource)
        if !conflicts.isEmpty {
            guard force else { throw conflict(applied, conflicts) }
            entries.release(conflicts)
        }
        var result = KubeObject(Self.merged(base.json, applied.json, schema))
        let others = entries.union(except: manager, subresource)
        let abandoned = previous.subtracting(wanted).subtracting(others)
        result.json = Self.without(abandoned, result.json, schema, kept: others.union(wanted))
        entries.set(
            wanted, manager: manager, operation: "Apply", subresource: subresource, apiVersion: applied.apiVersion,
            now: now,
            keepsTime: previous == wanted && live != nil)
        entries.store(in: &result)
        return result
    }

    /// Notes who changed what in a create, update or patch: the manager owns what is new or different, others lose it.
    package func trackUpdate(
        from old: KubeObject?, to new: inout KubeObject, manager: String, now: Timestamp, subresource: String = ""
    ) {
        var entries = FieldOwners(old ?? new)
        let after = FieldOwners.ownable(FieldParts.fields(new.json, schema))
        let changed = old.map { FieldOwners.ownable(FieldParts.changes(from: $0.json, to: new.json, schema)) } ?? after
        entries.limit(to: after)
        entries.take(changed, manager: manager, subresource: subresource, apiVersion: new.apiVersion, now: now)
        entries.store(in: &new)
    }

    private func conflict(_ applied: KubeObject, _ conflicts: [FieldOwners.Conflict]) -> APIFailure {
        let causes = conflicts.map { conflict -> JSON in
            [
                "reason": "FieldManagerConflict", "message": .string("conflict with \(conflict.who)"),
                "field": .string(FieldSet.text(conflict.path)),
            ]
        }
        let list = conflicts.map { "conflict with \($0.who): \(FieldSet.text($0.path))" }
        let count = conflicts.count == 1 ? "1 conflict" : "\(conflicts.count) conflicts"
        return APIFailure(
            code: 409, reason: "Conflict", message: "Apply failed with \(count): \(list.joined(separator: ", "))",
            details: [
                "name": .string(applied.name), "group": .string(type.group), "kind": .string(type.resource),
                "causes": .array(causes),
            ])
    }

    private static func merged(_ live: JSON, _ applied: JSON, _ schema: Schema?) -> JSON {
        switch (live, applied) {
        case (.object(let result), .object(let members)):
            guard FieldParts.of(applied, schema) != nil else {
                return members.isEmpty && schema?.isAtomicMap != true ? live : applied
            }
            return .object(
                result.merging(members.members) { key, old, change in
                    old.map { merged($0, change, schema?.link(key)?.schema) } ?? change
                })
        case (.array(var result), .array):
            guard let schema, let wanted = FieldParts.of(applied, schema) else { return applied }
            guard let found = FieldParts.of(live, schema) ?? (result.isEmpty ? [] : nil) else { return applied }
            let places = Dictionary(found.enumerated().map { ($0.element.step, $0.offset) }) { first, _ in first }
            for part in wanted {
                if let place = places[part.step] {
                    result[place] = merged(result[place], part.value, part.schema)
                } else {
                    result.append(part.value)
                }
            }
            return .array(result)
        default: return applied
        }
    }

    /// The value without the abandoned fields. A list element goes as a whole, unless a part of it is still kept by someone.
    private static func without(_ gone: FieldSet, _ value: JSON, _ schema: Schema?, kept: FieldSet) -> JSON {
        if gone.isEmpty { return value }
        func remaining(_ part: FieldParts.Part) -> JSON? {
            guard var inner = gone.children[part.step] else { return part.value }
            let below = kept.children[part.step] ?? FieldSet()
            if inner.isOwned, below.isEmpty { return nil }
            // An element's keys stay with it until it goes.
            if part.step.hasPrefix("k:") { for key in schema?.listMapKeys ?? [] { inner.children["f:" + key] = nil } }
            return without(inner, part.value, part.schema, kept: below)
        }
        guard let parts = FieldParts.of(value, schema) else { return value }
        switch value {
        case .object:
            return .object(
                JSONObject(
                    parts.compactMap { part in remaining(part).map { .init(String(part.step.dropFirst(2)), $0) } }))
        case .array: return .array(parts.compactMap(remaining))
        default: return value
        }
    }
}

/// The entries of `metadata.managedFields`.
private struct FieldOwners {
    struct Conflict {
        let path: [String]
        let owner: Int
        let who: String
    }
    private struct Entry {
        var json: JSON
        var fields: FieldSet
        var manager: String { json["manager"]?.string ?? "" }
        var operation: String { json["operation"]?.string ?? "" }
        var subresource: String { json["subresource"]?.string ?? "" }
    }
    private var entries: [Entry]

    init(_ object: KubeObject) {
        entries = object.metadata.list("managedFields").map { Entry(json: $0, fields: FieldSet($0["fieldsV1"] ?? [:])) }
    }

    /// Nobody owns what makes the object itself, and what the server writes.
    static func ownable(_ set: FieldSet) -> FieldSet {
        var set = set
        set.children["f:apiVersion"] = nil
        set.children["f:kind"] = nil
        let server = [
            "name", "namespace", "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink",
            "uid",
            "generateName", "deletionTimestamp", "deletionGracePeriodSeconds",
        ]
        for field in server { set.children["f:metadata"]?.children["f:" + field] = nil }
        if set.children["f:metadata"]?.isEmpty == true { set.children["f:metadata"] = nil }
        return set
    }

    private func isOwn(_ entry: Entry, _ manager: String, _ subresource: String) -> Bool {
        entry.manager == manager && entry.operation == "Apply" && entry.subresource == subresource
    }

    func fields(manager: String, operation: String, subresource: String) -> FieldSet {
        entries.first { isOwn($0, manager, subresource) }?.fields ?? FieldSet()
    }

    func union(except manager: String, _ subresource: String) -> FieldSet {
        entries.filter { !isOwn($0, manager, subresource) }.reduce(FieldSet()) { $0.union($1.fields) }
    }

    /// Fields owned by others whose value would change.
    func conflicts(
        _ wanted: FieldSet, _ applied: JSON, _ live: JSON, _ schema: Schema, except manager: String,
        _ subresource: String
    ) -> [Conflict] {
        var found: [Conflict] = []
        for (index, entry) in entries.enumerated() where !isOwn(entry, manager, subresource) {
            let shared = wanted.intersection(entry.fields)
            for path in FieldParts.differing(shared, applied, live, schema) {
                let version = entry.json["apiVersion"]?.string ?? ""
                let part = entry.subresource.isEmpty ? "" : " with subresource \"\(entry.subresource)\""
                found.append(Conflict(path: path, owner: index, who: "\"\(entry.manager)\"\(part) using \(version)"))
            }
        }
        return found
    }

    /// Takes the fields of these conflicts from their owners.
    mutating func release(_ conflicts: [Conflict]) {
        var lost: [Int: FieldSet] = [:]
        for conflict in conflicts { lost[conflict.owner, default: FieldSet()].insert(conflict.path[...]) }
        for (owner, fields) in lost { entries[owner].fields = entries[owner].fields.subtracting(fields) }
    }

    /// Drops what the object no longer has.
    mutating func limit(to fields: FieldSet) {
        for index in entries.indices { entries[index].fields = entries[index].fields.intersection(fields) }
    }

    mutating func take(_ changed: FieldSet, manager: String, subresource: String, apiVersion: String, now: Timestamp) {
        for index in entries.indices { entries[index].fields = entries[index].fields.subtracting(changed) }
        guard !changed.isEmpty else { return }
        let own = entries.firstIndex {
            $0.manager == manager && $0.operation == "Update" && $0.subresource == subresource
        }
        let fields = own.map { entries[$0].fields.union(changed) } ?? changed
        write(fields, at: own, manager, "Update", subresource, apiVersion, now)
    }

    mutating func set(
        _ fields: FieldSet, manager: String, operation: String, subresource: String, apiVersion: String, now: Timestamp,
        keepsTime: Bool
    ) {
        let own = entries.firstIndex { isOwn($0, manager, subresource) }
        if keepsTime, own != nil { return }
        write(fields, at: own, manager, operation, subresource, apiVersion, now)
    }

    private mutating func write(
        _ fields: FieldSet, at place: Int?, _ manager: String, _ operation: String, _ subresource: String,
        _ apiVersion: String, _ now: Timestamp
    ) {
        var json: JSON = [
            "manager": .string(manager), "operation": .string(operation), "apiVersion": .string(apiVersion),
            "time": .string(now.description),
            "fieldsType": "FieldsV1",
        ]
        if !subresource.isEmpty { json["subresource"] = .string(subresource) }
        if let place {
            entries[place] = Entry(json: json, fields: fields)
        } else {
            entries.append(Entry(json: json, fields: fields))
        }
    }

    func store(in object: inout KubeObject) {
        let kept = entries.filter { !$0.fields.isEmpty }.map { entry -> JSON in
            var json = entry.json
            let part = json["subresource"]
            json["subresource"] = nil
            json["fieldsV1"] = entry.fields.json
            json["subresource"] = part
            return json
        }
        object.json[path: ["metadata", "managedFields"]] = kept.isEmpty ? nil : .array(kept)
    }
}
