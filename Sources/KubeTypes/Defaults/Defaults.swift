import Wire

/// Fills in what an object leaves out, by its schema: an outer type's rules first, then those of what it holds.
struct Defaults {
    static func apply(_ value: inout JSON, _ schema: Schema) {
        guard case .object(var members) = value else { return }
        value = .null
        let plan = DefaultPlan.of(schema)
        if let kind = plan.kind { Self.change(&members) { ConditionalDefaults.before(kind, &$0) } }
        for rule in plan.rules {
            if rule.path.count == 1 {
                if members.index(of: rule.path[0]) == nil { members.members.append(.init(rule.path[0], rule.value)) }
            } else {
                Self.change(&members) { node in
                    if node[path: rule.path] == nil { node[path: rule.path] = rule.value }
                }
            }
        }
        if let kind = plan.kind { Self.change(&members) { ConditionalDefaults.after(kind, &$0) } }
        for member in plan.members where members.index(of: member.key) == nil { members.members.append(member) }
        for index in members.members.indices {
            switch members.members[index].value {
            case .object, .array: break
            default: continue
            }
            guard let inner = schema.link(members.members[index].key)?.schema else { continue }
            descend(&members.members[index].value, inner)
        }
        value = .object(members)
    }

    /// Changes members as the value they are of, in place.
    private static func change(_ members: inout JSONObject, _ body: (inout JSON) -> Void) {
        var node = JSON.object(members)
        members = JSONObject()
        body(&node)
        guard case .object(let changed) = consume node else { return }
        members = changed
    }

    private static func descend(_ value: inout JSON, _ schema: Schema) {
        switch value {
        case .object: apply(&value, schema)
        case .array(var elements):
            guard let inner = schema.items?.schema, inner.kind == .object || inner.kind == .array || inner.isQuantity
            else { return }
            value = .null
            for index in elements.indices { descend(&elements[index], inner) }
            value = .array(elements)
        default: break
        }
    }
}

/// The defaults of one schema, made out once.
final class DefaultPlan: Sendable {
    let rules: [DefaultRules.Rule]
    /// Where there are rules with a condition.
    let kind: ConditionalDefaults.Kind?
    /// Members that are there even when nobody wrote them.
    let members: [JSONObject.Member]

    static func of(_ schema: Schema) -> DefaultPlan {
        if let plan = schema.defaultPlan.load() { return plan }
        return schema.defaultPlan.storeIfNil(DefaultPlan(schema))
    }

    private init(_ schema: Schema) {
        let type = schema.name.map { DefaultRules.shortName($0) } ?? ""
        rules = DefaultRules.builtIn.rules(for: type)
        kind = ConditionalDefaults.Kind(rawValue: type)
        members = schema.properties.sorted { $0.key < $1.key }.compactMap { name, link in
            guard let value = link.defaultValue, schema.isCustom || Self.isWritten(value) else { return nil }
            return JSONObject.Member(name, value)
        }
    }

    /// Zero values of Kubernetes' own types stay unwritten.
    private static func isWritten(_ value: JSON) -> Bool { value != "" && value != 0 && value != false && value != [:] }
}

extension ResourceDefinition {
    /// Sets the defaults of the kind, in place.
    package func `default`(_ object: inout KubeObject) {
        var json = object.json
        object.json = .null
        if type.group.isEmpty, type.kind == "Secret" { Self.mergeStringData(&json) }
        if !isCustom || schema.hasDefaults { Defaults.apply(&json, schema) }
        if isCustomDefinition { CustomDefinition.setDefaults(&json) }
        object.json = json
    }

    /// `stringData` is for writing only: it becomes part of `data`.
    private static func mergeStringData(_ secret: inout JSON) {
        guard let plain = secret["stringData"]?.object else { return }
        for entry in plain {
            guard let text = entry.value.string else { continue }
            secret[path: ["data", entry.key]] = .string(Base64.encode(Array(text.utf8)))
        }
        secret["stringData"] = nil
    }

    /// Whether two states of an object differ in what a user asks for, so that `metadata.generation` grows.
    ///
    /// Everything but metadata and status counts; for kinds without a status, everything but metadata.
    package func asksForChange(from old: KubeObject, to new: KubeObject) -> Bool {
        func wanted(_ object: KubeObject) -> JSONObject {
            var members = object.json.object ?? JSONObject()
            for key in ["metadata", "apiVersion", "kind"] { members[key] = nil }
            if hasStatus { members["status"] = nil }
            return members
        }
        return wanted(old) != wanted(new)
    }
}
