import Wire

/// A schema as the walks over every object see it: plain memory, so that walking counts no references.
///
/// All requests share the schemas. Where two cores count references to one object, each count waits for the other core's cache
/// line, and that cost more than the walks themselves.
struct SchemaNode {
    typealias Pointer = UnsafePointer<SchemaNode>

    struct Flags: OptionSet {
        let rawValue: UInt16
        static let takesString = Flags(rawValue: 1 << 0)
        static let takesInteger = Flags(rawValue: 1 << 1)
        /// Only those of 32 bits.
        static let isNarrow = Flags(rawValue: 1 << 2)
        static let takesDouble = Flags(rawValue: 1 << 3)
        static let takesBool = Flags(rawValue: 1 << 4)
        static let takesObject = Flags(rawValue: 1 << 5)
        /// Of an object, its members are looked at.
        static let knowsMembers = Flags(rawValue: 1 << 6)
        static let takesArray = Flags(rawValue: 1 << 7)
        /// Members beyond those it knows.
        static let allowsOthers = Flags(rawValue: 1 << 8)
        /// One field to `managedFields`, whatever is within.
        static let isWhole = Flags(rawValue: 1 << 9)
        static let isCustom = Flags(rawValue: 1 << 10)
    }

    /// A member the schema names.
    struct Field {
        let node: Pointer
        /// An object without it is wrong.
        let isNeeded: Bool
    }

    /// For what is seldom asked. Lives as long as the node.
    let schema: Unmanaged<Schema>
    let flags: Flags
    let scrutiny: Schema.Scrutiny
    let listType: Schema.ListType?
    let names: NameTable
    /// By their places in `names`.
    let fields: UnsafePointer<Field>
    let neededCount: Int
    let others: Pointer?
    let items: Pointer?
    /// `nil` where there is nothing to set.
    let defaults: UnsafePointer<DefaultPlan>?

    /// The schema of an object's member; `nil` where nothing is known of it.
    func member(_ name: String) -> Pointer? { names.place(of: name).map { fields[$0].node } ?? others }
}

extension SchemaNode.Flags {
    init(_ schema: Schema) {
        self = []
        if schema.isIntOrString {
            formUnion([.takesString, .takesInteger])
        } else if schema.isQuantity {
            formUnion([.takesString, .takesInteger, .takesDouble])
        } else {
            switch schema.kind {
            case .any: formUnion([.takesString, .takesInteger, .takesDouble, .takesBool, .takesObject, .takesArray])
            case .object: insert(.takesObject)
            case .array: insert(.takesArray)
            case .string: insert(.takesString)
            case .integer: insert(.takesInteger)
            case .number: formUnion([.takesInteger, .takesDouble])
            case .boolean: insert(.takesBool)
            }
        }
        if schema.kind == .integer, schema.format == "int32", !schema.isIntOrString { insert(.isNarrow) }
        if schema.kind != .any || Structure.looksInto(schema) { insert(.knowsMembers) }
        if case .none = schema.additional {} else { insert(.allowsOthers) }
        if schema.isAtomicMap || schema.isEmbeddedResource { insert(.isWhole) }
        if schema.isCustom { insert(.isCustom) }
    }
}
