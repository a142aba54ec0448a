import Wire

/// Fills in what an object leaves out, by its schema: an outer type's rules first, then those of what it holds.
struct Defaults {
    static func apply(_ value: inout JSON, _ schema: Schema) {
        withExtendedLifetime(schema) { apply(&value, schema.node) }
    }

    private static func apply(_ value: inout JSON, _ node: SchemaNode.Pointer) {
        guard case .object(var members) = value else { return }
        value = .null
        if let plan = node.pointee.defaults { plan.pointee.fill(&members) }
        for index in members.members.indices {
            switch members.members[index].value {
            case .object, .array: break
            default: continue
            }
            guard let inner = node.pointee.member(members.members[index].key) else { continue }
            descend(&members.members[index].value, inner)
        }
        value = .object(members)
    }

    private static func descend(_ value: inout JSON, _ node: SchemaNode.Pointer) {
        switch value {
        case .object: apply(&value, node)
        case .array(var elements):
            guard let inner = node.pointee.items, inner.pointee.mayHold else { return }
            value = .null
            for index in elements.indices { descend(&elements[index], inner) }
            value = .array(elements)
        default: break
        }
    }
}

extension SchemaNode {
    /// Whether there may be something to set within its values.
    fileprivate var mayHold: Bool { !flags.isDisjoint(with: [.takesObject, .takesArray]) }
}

/// The defaults of one schema, made out once, in plain memory as its node is.
struct DefaultPlan {
    /// Made anew for each object: a text that objects share would have its references counted by all cores.
    enum Value {
        case bool(Bool)
        case int(Int64)
        case string(UnsafeBufferPointer<UInt8>)
        case emptyObject
        /// Anything else; the key does not count.
        case rest(Unmanaged<Rest>)
    }

    struct Step {
        let key: UnsafeBufferPointer<UInt8>
        let value: Value
    }

    /// A default of several members, or deeper within.
    final class Rest: Sendable {
        let rule: DefaultRules.Rule
        init(_ rule: DefaultRules.Rule) { self.rule = rule }
    }

    /// Where there are rules with a condition.
    let kind: ConditionalDefaults.Kind?
    let rules: UnsafeBufferPointer<Step>
    /// Members that are there even when nobody wrote them.
    let members: UnsafeBufferPointer<Step>

    func fill(_ members: inout JSONObject) {
        if let kind { Self.change(&members) { ConditionalDefaults.before(kind, &$0) } }
        for step in rules { Self.fill(&members, step) }
        if let kind { Self.change(&members) { ConditionalDefaults.after(kind, &$0) } }
        for step in self.members { Self.fill(&members, step) }
    }

    private static func fill(_ members: inout JSONObject, _ step: Step) {
        let value: JSON
        switch step.value {
        case .bool(let flag): value = .bool(flag)
        case .int(let number): value = .int(number)
        case .string(let text): value = .string(String(copying: text))
        case .emptyObject: value = .object(JSONObject())
        case .rest(let rest): return rest._withUnsafeGuaranteedRef { fill(&members, $0.rule) }
        }
        let key = String(copying: step.key)
        if members.index(of: key) == nil { members.members.append(.init(key, value)) }
    }

    private static func fill(_ members: inout JSONObject, _ rule: DefaultRules.Rule) {
        change(&members) { node in
            if node[path: rule.path] == nil { node[path: rule.path] = rule.value }
        }
    }

    /// Changes members as the value they are of, in place.
    private static func change(_ members: inout JSONObject, _ body: (inout JSON) -> Void) {
        var node = JSON.object(members)
        members = JSONObject()
        body(&node)
        guard case .object(let changed) = consume node else { return }
        members = changed
    }
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
