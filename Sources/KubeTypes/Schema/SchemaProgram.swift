import Synchronization
import Wire

extension Schema {
    /// The schema as a node, which lives as long as the schema.
    var node: SchemaNode.Pointer { (program.load() ?? program.storeIfNil(SchemaProgram.of(self))).root }
}

/// The nodes of a schema and of what is written in place within it.
final class SchemaProgram: Sendable {
    // Memory that nobody changes any more.
    nonisolated(unsafe) let root: SchemaNode.Pointer
    // Freed at the end, and not touched before.
    nonisolated(unsafe) private let blocks: [UnsafeMutableRawPointer]
    private let rests: [DefaultPlan.Rest]

    /// A named schema's nodes stay for good, since others lead to them.
    static func of(_ schema: Schema) -> SchemaProgram {
        if schema.name != nil {
            return SchemaNodeMaker.builtIn.withLock { SchemaProgram($0.node(schema), blocks: [], rests: []) }
        }
        var maker = SchemaNodeMaker()
        return SchemaProgram(maker.node(schema), blocks: maker.blocks, rests: maker.rests)
    }

    private init(_ root: SchemaNode.Pointer, blocks: [UnsafeMutableRawPointer], rests: [DefaultPlan.Rest]) {
        self.root = root
        self.blocks = blocks
        self.rests = rests
    }

    deinit { for block in blocks { block.deallocate() } }
}

/// Makes nodes of schemas, and keeps count of the memory they take.
struct SchemaNodeMaker {
    static let builtIn = Mutex(SchemaNodeMaker(isBuiltIn: true))

    private(set) var blocks: [UnsafeMutableRawPointer] = []
    private(set) var rests: [DefaultPlan.Rest] = []
    private let isBuiltIn: Bool
    /// Those of this maker; a named one may lead back to itself.
    private var named: [String: UnsafeMutablePointer<SchemaNode>] = [:]

    init(isBuiltIn: Bool = false) { self.isBuiltIn = isBuiltIn }

    mutating func node(_ schema: Schema) -> SchemaNode.Pointer {
        guard let name = schema.name else {
            let node = space(for: SchemaNode.self, 1)
            fill(node, Unmanaged.passUnretained(schema), schema)
            return UnsafePointer(node)
        }
        if !isBuiltIn { return schema.node }
        if let known = named[name] { return UnsafePointer(known) }
        let node = space(for: SchemaNode.self, 1)
        named[name] = node
        fill(node, Unmanaged.passRetained(schema), schema)
        return UnsafePointer(node)
    }

    private mutating func space<Element>(for type: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element> {
        let space = UnsafeMutablePointer<Element>.allocate(capacity: count)
        blocks.append(UnsafeMutableRawPointer(space))
        return space
    }

    private mutating func fill(
        _ node: UnsafeMutablePointer<SchemaNode>, _ reference: Unmanaged<Schema>, _ schema: Schema
    ) {
        let names = schema.properties.names
        let fields = space(for: SchemaNode.Field.self, names.count)
        var needed = 0
        for (place, link) in schema.properties.values.enumerated() {
            let isNeeded = schema.required.contains(names[place]) && !schema.mayLack(names[place])
            if isNeeded { needed += 1 }
            (fields + place).initialize(to: SchemaNode.Field(node: self.node(link.schema), isNeeded: isNeeded))
        }
        var others: SchemaNode.Pointer?
        if case .of(let link) = schema.additional { others = self.node(link.schema) }
        let items = schema.items.map { self.node($0.schema) }
        let defaults = plan(schema)
        node.initialize(
            to: SchemaNode(
                schema: reference, flags: SchemaNode.Flags(schema), scrutiny: Self.scrutiny(schema),
                listType: schema.listType, names: names, fields: UnsafePointer(fields), neededCount: needed,
                others: others, items: items, defaults: defaults))
    }

    private mutating func plan(_ schema: Schema) -> UnsafePointer<DefaultPlan>? {
        let given = DefaultRules.Given(schema)
        if given.isEmpty { return nil }
        let plan = space(for: DefaultPlan.self, 1)
        plan.initialize(
            to: DefaultPlan(kind: given.kind, rules: steps(given.rules), members: steps(given.members)))
        return UnsafePointer(plan)
    }

    private mutating func steps(_ rules: [DefaultRules.Rule]) -> UnsafeBufferPointer<DefaultPlan.Step> {
        let steps = space(for: DefaultPlan.Step.self, rules.count)
        for (place, rule) in rules.enumerated() { (steps + place).initialize(to: step(rule)) }
        return UnsafeBufferPointer(start: steps, count: rules.count)
    }

    private mutating func step(_ rule: DefaultRules.Rule) -> DefaultPlan.Step {
        var value: DefaultPlan.Value?
        switch rule.value {
        case .bool(let flag): value = .bool(flag)
        case .int(let number): value = .int(number)
        case .string(let string): value = .string(text(string))
        case .object(let object) where object.isEmpty: value = .emptyObject
        default: break
        }
        if rule.path.count == 1, let value { return DefaultPlan.Step(key: text(rule.path[0]), value: value) }
        let rest = DefaultPlan.Rest(rule)
        rests.append(rest)
        return DefaultPlan.Step(key: UnsafeBufferPointer(start: nil, count: 0), value: .rest(.passUnretained(rest)))
    }

    private mutating func text(_ string: String) -> UnsafeBufferPointer<UInt8> {
        let bytes = space(for: UInt8.self, string.utf8.count)
        for (place, byte) in string.utf8.enumerated() { bytes[place] = byte }
        return UnsafeBufferPointer(start: bytes, count: string.utf8.count)
    }

    /// Members that are required but not named are looked for the slow way.
    private static func scrutiny(_ schema: Schema) -> Schema.Scrutiny {
        let isOdd = schema.required.contains { schema.properties[$0] == nil && !schema.mayLack($0) }
        return schema.scrutiny == .structure && isOdd ? .thorough : schema.scrutiny
    }
}
