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
        var applied = applied
        for member in resetMembers(subresource) { applied.json[member] = nil }
        var entries = FieldOwners(base)
        let schema = schema
        let wanted = FieldOwners.ownable(FieldParts.fields(applied.json, schema))
        let previous = entries.fields(manager: manager, operation: "Apply", subresource: subresource)
        let conflicts = entries.conflicts(wanted, applied.json, base.json, schema, except: manager, subresource)
        if !conflicts.isEmpty {
            guard force || mayUpgrade(conflicts, base, manager) else { throw conflict(applied, conflicts) }
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
        noteLastApplied(applied, manager, in: &result)
        return result
    }

    /// The members a write to the object or to a part of it does not touch, and so nobody comes to own by it.
    private func resetMembers(_ subresource: String) -> [String] {
        switch subresource {
        case "" where hasStatus: ["status"]
        case "status": ["spec"]
        default: []
        }
    }

    private static let lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

    /// kubectl that applied from the client before may take what it wrote then, as long as nobody changed it since.
    private func mayUpgrade(_ conflicts: [FieldOwners.Conflict], _ live: KubeObject, _ manager: String) -> Bool {
        guard manager == "kubectl", let text = live.annotations[Self.lastApplied], let last = try? JSON(parsing: text)
        else { return false }
        let fields = FieldParts.fields(last, schema)
        let changed = FieldParts.differing(fields, last, live.json, schema)
        return conflicts.allSatisfy { fields.contains($0.path[...]) && !changed.contains($0.path) }
    }

    /// Keeps the client's own note true, so that applying from the client still works after applying from the server.
    private func noteLastApplied(_ applied: KubeObject, _ manager: String, in result: inout KubeObject) {
        guard manager == "kubectl", result.annotations[Self.lastApplied] != nil else { return }
        var noted = applied
        noted.annotations[Self.lastApplied] = nil
        let text = noted.json.text + "\n"
        result.annotations[Self.lastApplied] = text.utf8.count > 262_144 ? nil : text
    }

    /// Notes who changed what in a create, update or patch: the manager owns what is new or different, others lose it.
    package func trackUpdate(
        from old: KubeObject?, to new: inout KubeObject, manager: String, now: Timestamp, subresource: String = ""
    ) {
        let reset = resetMembers(subresource)
        if old == nil, subresource.isEmpty, new.metadata["managedFields"]?.array?.isEmpty ?? true {
            // We wrote this text ourselves.
            let fields = try? JSON(parsing: createdFields(new, manager: manager, now: now))
            new.json[path: ["metadata", "managedFields"]] = fields
            return
        }
        // Nobody's record was ever kept, or it was reset: it stays so until somebody applies.
        if let old, old.metadata["managedFields"]?.array?.isEmpty ?? true { return }
        var entries = FieldOwners(old ?? new)
        let changed: FieldSet
        if let old {
            changed = FieldOwners.ownable(FieldParts.changes(from: old.json, to: new.json, schema))
            // What differs seen from behind, and is not there any more.
            let gone = FieldOwners.ownable(FieldParts.changes(from: new.json, to: old.json, schema))
            entries.remove(gone.subtracting(changed))
        } else {
            var all = FieldOwners.ownable(FieldParts.fields(new.json, schema))
            for member in reset { all.children["f:" + member] = nil }
            changed = all
        }
        entries.take(changed, manager: manager, subresource: subresource, apiVersion: new.apiVersion, now: now)
        entries.cap(now)
        entries.store(in: &new)
    }

    private func conflict(_ applied: KubeObject, _ conflicts: [FieldOwners.Conflict]) -> APIFailure {
        let causes = conflicts.map { conflict -> JSON in
            [
                "reason": "FieldManagerConflict", "message": .string("conflict with \(conflict.who)"),
                "field": .string(FieldSet.text(conflict.path)),
            ]
        }
        return APIFailure(
            code: 409, reason: "Conflict", message: Self.text(conflicts),
            details: [
                "name": .string(applied.name), "group": .string(type.group), "kind": .string(type.resource),
                "causes": .array(causes),
            ])
    }

    /// One conflict on a line; several under the name of each manager.
    private static func text(_ conflicts: [FieldOwners.Conflict]) -> String {
        if conflicts.count == 1 {
            return
                "Apply failed with 1 conflict: conflict with \(conflicts[0].who): \(FieldSet.text(conflicts[0].path))"
        }
        var lines: [String] = []
        for (who, own) in Dictionary(grouping: conflicts, by: \.who).sorted(by: { $0.key < $1.key }) {
            lines.append("conflicts with \(who):")
            lines += own.map { "- \(FieldSet.text($0.path))" }
        }
        return "Apply failed with \(conflicts.count) conflicts: " + lines.joined(separator: "\n")
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
                // Who applies does so in any version.
                let using = entry.operation == "Update" ? " using \(version)" : ""
                found.append(Conflict(path: path, owner: index, who: "\"\(entry.manager)\"\(part)\(using)"))
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
    mutating func remove(_ gone: FieldSet) {
        if gone.isEmpty { return }
        for index in entries.indices { entries[index].fields = entries[index].fields.subtracting(gone) }
    }

    mutating func take(_ changed: FieldSet, manager: String, subresource: String, apiVersion: String, now: Timestamp) {
        for index in entries.indices { entries[index].fields = entries[index].fields.subtracting(changed) }
        guard !changed.isEmpty else { return }
        let own = entries.firstIndex {
            $0.manager == manager && $0.operation == "Update" && $0.subresource == subresource
                && $0.json["apiVersion"]?.string == apiVersion
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
        let json = Self.entry(manager, operation, subresource, apiVersion, now, [:])
        if let place {
            entries[place] = Entry(json: json, fields: fields)
        } else {
            entries.append(Entry(json: json, fields: fields))
        }
    }

    static func entry(
        _ manager: String, _ operation: String, _ subresource: String, _ apiVersion: String, _ now: Timestamp,
        _ fields: JSON
    ) -> JSON {
        var json: JSON = [
            "manager": .string(manager), "operation": .string(operation), "apiVersion": .string(apiVersion),
            "time": .string(now.description), "fieldsType": "FieldsV1", "fieldsV1": fields,
        ]
        if !subresource.isEmpty { json["subresource"] = .string(subresource) }
        return json
    }

    /// Keeps the record short: beyond ten managers that update, the oldest become one.
    mutating func cap(_ now: Timestamp) {
        let most = 10
        var updates = entries.indices.filter { entries[$0].operation == "Update" }
        guard updates.count > most else { return }
        updates.sort { (entries[$0].json["time"]?.string ?? "") < (entries[$1].json["time"]?.string ?? "") }
        let old = updates.prefix(updates.count - most + 1)
        let fields = old.reduce(FieldSet()) { $0.union(entries[$1].fields) }
        let version = old.last.flatMap { entries[$0].json["apiVersion"]?.string } ?? ""
        let merged = Entry(json: Self.entry("ancient-changes", "Update", "", version, now, [:]), fields: fields)
        let gone = Set(old)
        entries = entries.indices.filter { !gone.contains($0) }.map { entries[$0] } + [merged]
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
