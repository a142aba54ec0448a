import CEL

/// The rules of a custom kind's schema, compiled. Only the parts of the schema are here that rules are at or under.
package final class SchemaRules: Sendable {
    let schema: Schema
    /// `nil` where there is none; rules that stand there cannot be compiled.
    let type: ValueType?
    let rules: [CompiledRule]
    let properties: [String: SchemaRules]
    let additional: SchemaRules?
    let items: SchemaRules?

    /// Of a whole kind.
    package convenience init(_ schema: Schema) {
        var types = SchemaTypes()
        let type = types.root(schema, name: "object")
        self.init(schema, type)
    }

    private init(_ schema: Schema, _ type: ValueType?) {
        self.schema = schema
        self.type = type
        rules = schema.rules.map { CompiledRule($0, schema, type) }
        var properties: [String: SchemaRules] = [:]
        for (name, link) in schema.properties {
            guard let inner = link.inline, inner.hasRules else { continue }
            var field: ValueType?
            if case .object(let object)? = type { field = FieldName.escaped(name).flatMap { object.fields[$0] } }
            properties[name] = SchemaRules(inner, field ?? Self.alone(inner, name))
        }
        self.properties = properties
        if let inner = schema.items?.inline, inner.hasRules {
            var element: ValueType?
            if case .list(let of)? = type { element = of }
            items = SchemaRules(inner, element ?? Self.alone(inner, "@items"))
        } else {
            items = nil
        }
        if case .of(let link) = schema.additional, let inner = link.inline, inner.hasRules {
            var value: ValueType?
            if case .map(_, let of)? = type { value = of }
            additional = SchemaRules(inner, value ?? Self.alone(inner, "@values"))
        } else {
            additional = nil
        }
    }

    /// What is wrong with rules that do not compile, here and within.
    package var compilationFaults: [String] {
        let own = rules.flatMap { rule in
            [rule.fault, rule.messageFault].compactMap { fault in fault.map { "\(rule.rule.rule): \($0)" } }
        }
        let inner = Array(properties.values) + [items, additional].compactMap { $0 }
        return own + inner.flatMap(\.compilationFaults)
    }

    /// The type of a part whose whole has none: a field whose name no expression can say.
    private static func alone(_ schema: Schema, _ name: String) -> ValueType? {
        var types = SchemaTypes()
        return types.type(schema, name: name)
    }
}

/// One rule, ready to run, or what is wrong with it.
struct CompiledRule: Sendable {
    let rule: Schema.Rule
    /// `nil` for a rule that does not compile.
    let program: Program?
    let fault: String?
    let usesOldSelf: Bool
    let message: Program?
    let messageFault: String?

    static let selfPlace = 0
    static let oldSelfPlace = 1

    init(_ rule: Schema.Rule, _ schema: Schema, _ type: ValueType?) {
        self.rule = rule
        let known = type ?? .dyn
        let sizes = SchemaSizes(root: schema)
        var environment = Environment.kubernetes
        environment.sizes = { sizes.size(at: $0) }
        environment.declare("self", known)
        let isOptional = rule.isOldSelfOptional == true
        let plain = environment
        environment.declare("oldSelf", isOptional ? .optional(known) : known)
        var program: Program?
        var fault: String?
        var usesOldSelf = false
        do throws(CompilationFault) {
            program = try environment.compile(rule.rule, expected: .bool)
            // What only compiles with the old value at hand is a transition rule.
            usesOldSelf = rule.rule.contains("oldSelf") && (try? plain.compile(rule.rule)) == nil
        } catch {
            fault = "compilation failed: \(error)"
        }
        self.program = program
        self.fault = fault
        self.usesOldSelf = usesOldSelf
        var message: Program?
        var messageFault: String?
        if !rule.messageExpression.isEmpty {
            do throws(CompilationFault) {
                message = try environment.compile(rule.messageExpression, expected: .string)
            } catch {
                messageFault = "messageExpression compilation failed: \(error)"
            }
        }
        self.message = message
        self.messageFault = messageFault
    }

    /// The rule's own words, or the rule.
    var shown: String { (rule.message.isEmpty ? rule.rule : rule.message).trimmed }
    var plainMessage: String { rule.message.isEmpty ? "failed rule: \(rule.rule.trimmed)" : rule.message.trimmed }
}
