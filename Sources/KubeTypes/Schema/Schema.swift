import Synchronization
package import Wire

/// What a part of an object may hold, with what patches need to know to merge it.
package final class Schema: Sendable {
    package enum Kind: String, Sendable { case any, object, array, string, integer, number, boolean }
    /// Members of an object beyond its properties.
    package enum Additional: Sendable {
        case none, anything
        case of(SchemaLink)
    }
    /// How server-side apply merges a list.
    package enum ListType: String, Sendable { case atomic, set, map }

    /// One of a custom kind's `x-kubernetes-validations`; `SchemaRules` evaluates them.
    package struct Rule: Sendable {
        package let rule: String
        package let message: String
        package let messageExpression: String
        /// Empty means `FieldValueInvalid`.
        package let reason: String
        package let fieldPath: String
        /// Also evaluated where there is no old value; `oldSelf` is optional then. `nil` when the schema does not say.
        package let isOldSelfOptional: Bool?

        init(_ json: JSON) {
            rule = json["rule"]?.string ?? ""
            message = json["message"]?.string ?? ""
            messageExpression = json["messageExpression"]?.string ?? ""
            reason = json["reason"]?.string ?? ""
            fieldPath = json["fieldPath"]?.string ?? ""
            isOldSelfOptional = json["optionalOldSelf"]?.bool
        }
    }

    /// The definition's name; `nil` for schemas written in place.
    package let name: String?
    package let isCustom: Bool
    package let kind: Kind
    package let format: String?
    package let properties: FieldTable
    package let required: [String]
    package let additional: Additional
    package let items: SchemaLink?

    package let isNullable: Bool
    package let isIntOrString: Bool
    package let isQuantity: Bool
    package let preservesUnknown: Bool
    package let isEmbeddedResource: Bool

    package let allowed: [JSON]
    package let pattern: String?
    package let minimum: Double?
    package let maximum: Double?
    /// The bounds themselves are not allowed.
    package let excludesMinimum: Bool
    package let excludesMaximum: Bool
    package let multipleOf: Double?
    package let minLength: Int?
    package let maxLength: Int?
    package let minItems: Int?
    package let maxItems: Int?
    package let minProperties: Int?
    package let maxProperties: Int?
    package let allOf: [Schema]
    package let anyOf: [Schema]
    package let oneOf: [Schema]
    package let not: Schema?

    package let listType: ListType?
    package let listMapKeys: [String]
    /// The same, in the order in which `managedFields` names them.
    let stepKeys: [String]
    package let isAtomicMap: Bool
    package let rules: [Rule]
    /// Whether this schema or one within it, written in place, has rules or defaults.
    package let hasRules: Bool
    package let hasDefaults: Bool
    /// What there is to look at in a value of the right type, beyond what `SchemaConstraints` finds in members and elements.
    enum Scrutiny: Sendable {
        /// Nothing, nor in what is within.
        case nothing
        /// Nothing but required members and what is within.
        case structure
        case thorough
    }
    let scrutiny: Scrutiny
    /// The schema for the walks over every object, made out when first needed.
    let program = LazyReference<SchemaProgram>()

    /// A custom kind's schema leaves out what it does not name; a built-in object without properties is free.
    package init(_ json: JSON, name: String? = nil, isCustom: Bool) {
        self.name = name
        self.isCustom = isCustom
        var properties: [String: SchemaLink] = [:]
        for member in json["properties"]?.object ?? JSONObject() {
            properties[member.key] = SchemaLink(member.value, isCustom: isCustom)
        }
        if json["x-kubernetes-embedded-resource"]?.bool == true { Self.addResourceFields(&properties) }
        let typeName = json["type"]?.string
        let format = json["format"]?.string
        self.format = format
        self.properties = properties.isEmpty ? .empty : FieldTable(properties)
        items = json["items"].map { SchemaLink($0, isCustom: isCustom) }
        if let typeName {
            kind = Kind(rawValue: typeName) ?? .any
        } else {
            kind = properties.isEmpty ? (items == nil ? .any : .array) : .object
        }
        required = json["required"]?.array?.compactMap(\.string) ?? []
        preservesUnknown = json["x-kubernetes-preserve-unknown-fields"]?.bool ?? false
        isEmbeddedResource = json["x-kubernetes-embedded-resource"]?.bool ?? false
        switch json["additionalProperties"] {
        case .object(let inner)?: additional = .of(SchemaLink(.object(inner), isCustom: isCustom))
        case .bool(true)?: additional = .anything
        default:
            let isFree = !isCustom && properties.isEmpty && (typeName == "object" || typeName == nil)
            additional = preservesUnknown || isFree ? .anything : .none
        }
        isNullable = json["nullable"]?.bool ?? false
        isIntOrString = format == "int-or-string" || json["x-kubernetes-int-or-string"]?.bool == true
        isQuantity = name == "io.k8s.apimachinery.pkg.api.resource.Quantity"
        allowed = json["enum"]?.array ?? []
        pattern = json["pattern"]?.string
        minimum = json["minimum"]?.double
        maximum = json["maximum"]?.double
        excludesMinimum = json["exclusiveMinimum"]?.bool ?? false
        excludesMaximum = json["exclusiveMaximum"]?.bool ?? false
        multipleOf = json["multipleOf"]?.double
        minLength = json["minLength"]?.int
        maxLength = json["maxLength"]?.int
        minItems = json["minItems"]?.int
        maxItems = json["maxItems"]?.int
        minProperties = json["minProperties"]?.int
        maxProperties = json["maxProperties"]?.int
        func several(_ key: String) -> [Schema] {
            json[key]?.array?.map { Schema($0, isCustom: isCustom) } ?? []
        }
        allOf = several("allOf")
        anyOf = several("anyOf")
        oneOf = several("oneOf")
        not = json["not"].map { Schema($0, isCustom: isCustom) }
        listType = json["x-kubernetes-list-type"]?.string.flatMap(ListType.init(rawValue:))
        listMapKeys = json["x-kubernetes-list-map-keys"]?.array?.compactMap(\.string) ?? []
        stepKeys = listMapKeys.sorted()
        isAtomicMap = json["x-kubernetes-map-type"]?.string == "atomic"
        rules = json["x-kubernetes-validations"]?.array?.map(Rule.init) ?? []
        var inner = properties.values.compactMap(\.inline)
        if let link = items?.inline { inner.append(link) }
        if case .of(let link) = additional, let schema = link.inline { inner.append(schema) }
        hasRules = !rules.isEmpty || inner.contains(where: \.hasRules)
        hasDefaults =
            properties.values.contains { $0.defaultValue != nil } || inner.contains(where: \.hasDefaults)
        let isBounded =
            minimum != nil || maximum != nil || multipleOf != nil || minLength != nil || maxLength != nil
            || minItems != nil || maxItems != nil || minProperties != nil || maxProperties != nil
        let hasChoices = !allOf.isEmpty || !anyOf.isEmpty || !oneOf.isEmpty || not != nil
        let isCounted = isCustom && (listType == .map || listType == .set)
        let isFormatted = format != nil && format != "int-or-string" && kind != .integer && kind != .number
        let isText = pattern != nil || !allowed.isEmpty || isFormatted
        if isBounded || hasChoices || isCounted || isText || isEmbeddedResource {
            scrutiny = .thorough
        } else {
            var isPlain = required.isEmpty && properties.isEmpty
            if let items, items.inline?.scrutiny != .nothing { isPlain = false }
            if case .of(let link) = additional, link.inline?.scrutiny != .nothing { isPlain = false }
            scrutiny = isPlain ? .nothing : .structure
        }
    }

    /// What an embedded object has though its schema does not say so.
    private static func addResourceFields(_ properties: inout [String: SchemaLink]) {
        for name in ["apiVersion", "kind"] where properties[name] == nil {
            properties[name] = SchemaLink(["type": "string"], isCustom: true)
        }
        properties["metadata"] = SchemaLink(named: SchemaLibrary.objectMeta)
    }

    /// The schema of an object's member; `nil` when the object may not have it or nothing is known of it.
    package func link(_ member: String) -> SchemaLink? {
        if let link = properties[member] { return link }
        if case .of(let link) = additional { return link }
        return nil
    }

    package func allows(_ member: String) -> Bool {
        if properties[member] != nil { return true }
        if case .none = additional { return false }
        return true
    }

    /// Whether an object may be without a member though it is required. Kubernetes' own lists and structs may be left out and are
    /// then empty; its checks of kinds say which may not.
    func mayLack(_ name: String) -> Bool {
        if isCustom { return false }
        if let inner = link(name)?.schema, inner.kind == .object || inner.kind == .array { return true }
        return name == "value"
    }

    /// What a value of this type is called in messages.
    package var expectation: String {
        if isQuantity { return "a quantity such as 100m or 1Gi" }
        if isIntOrString { return "an integer or a string" }
        switch kind {
        case .any: return "any value"
        case .object: return "an object"
        case .array: return "a list"
        case .string: return format == "date-time" ? "a time such as 2026-01-02T15:04:05Z" : "a string"
        case .integer: return "an integer"
        case .number: return "a number"
        case .boolean: return "true or false"
        }
    }
}

/// A schema by its name, looked up once.
final class SchemaReference: Sendable {
    let name: String
    private let found = LazyReference<Schema>()

    init(_ name: String) { self.name = name }

    var schema: Schema {
        if let schema = found.load() { return schema }
        return found.storeIfNil(SchemaLibrary.builtIn.schema(name))
    }
}

/// Where a schema is used: the schema, in place or by name, and what only this place says of it.
package final class SchemaLink: Sendable {
    private enum Target: Sendable {
        case inline(Schema)
        case named(SchemaReference)
        case custom(CustomSchema)
    }
    private let target: Target
    package let defaultValue: JSON?
    /// Strategic merge: the member that tells elements of this list apart.
    package let mergeKey: String?
    package let mergesList: Bool
    package let retainsKeys: Bool

    package init(_ json: JSON, isCustom: Bool) {
        if let reference = json["$ref"]?.string {
            target = .named(SchemaReference(reference))
        } else {
            target = .inline(Schema(json, isCustom: isCustom))
        }
        defaultValue = json["default"]
        mergeKey = json["x-kubernetes-patch-merge-key"]?.string
        let strategies = json["x-kubernetes-patch-strategy"]?.string?.split(separator: ",") ?? []
        mergesList = strategies.contains("merge")
        retainsKeys = strategies.contains("retainKeys")
    }

    package init(named name: String) {
        target = .named(SchemaReference(name))
        defaultValue = nil
        mergeKey = nil
        mergesList = false
        retainsKeys = false
    }

    /// The schema of a whole custom kind, from its CRD.
    package init(custom schema: CustomSchema) {
        target = .custom(schema)
        defaultValue = nil
        mergeKey = nil
        mergesList = false
        retainsKeys = false
    }

    package var schema: Schema {
        switch target {
        case .inline(let schema): schema
        case .named(let reference): reference.schema
        case .custom(let schema): schema.schema
        }
    }

    /// The schema that is written in place, if it is.
    var inline: Schema? {
        guard case .inline(let schema) = target else { return nil }
        return schema
    }

    /// The rules of a custom kind, compiled at their first use; `nil` where there are none.
    package var rules: SchemaRules? {
        guard case .custom(let schema) = target else { return nil }
        return schema.rules
    }

    /// Whether it came in a user's CRD: the schema can change under what is stored.
    package var isGiven: Bool {
        guard case .custom(let schema) = target else { return false }
        return schema.isGiven
    }

    /// Changes with the schema. Only for those a user gave.
    package var fingerprint: UInt64 {
        guard case .custom(let schema) = target else { return 0 }
        return schema.fingerprint
    }

    /// The definition's name when the link is a reference.
    package var name: String? {
        guard case .named(let reference) = target else { return nil }
        return reference.name
    }

    /// The custom kind's schema as a document; `nil` for references and schemas in place.
    package var document: JSON? {
        guard case .custom(let schema) = target else { return nil }
        return schema.document
    }
}
