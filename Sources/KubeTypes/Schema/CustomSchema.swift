import Synchronization
package import Wire

/// The schema of a whole custom kind: kept as text, parsed when first used, since most kinds of a cluster rest.
package final class CustomSchema: Sendable {
    private enum Source: Sendable {
        case embedded(EmbeddedFile, Range<Int>)
        case given([UInt8])
    }
    private struct Parsed {
        var schema: Schema?
        var rules: SchemaRules?
    }
    private let source: Source
    private let parsed = Mutex(Parsed())
    /// FNV-1a of a given schema's text; 0 for those that came with the program.
    let fingerprint: UInt64

    init(_ file: EmbeddedFile, _ range: Range<Int>) {
        source = .embedded(file, range)
        fingerprint = 0
    }

    /// From a CRD's `openAPIV3Schema`.
    package init(_ json: JSON) {
        let text = json.bytes
        source = .given(text)
        fingerprint = text.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    var isGiven: Bool {
        if case .given = source { return true }
        return false
    }

    /// A CRD may leave out the three fields every object has, and says nothing of what metadata holds.
    package var document: JSON {
        var json: JSON
        switch source {
        case .embedded(let file, let range): json = file.parse(range)
        // We wrote this text ourselves.
        case .given(let text): json = (try? JSON(parsing: text)) ?? [:]
        }
        json["type"] = "object"
        json[path: ["properties", "apiVersion"]] = ["type": "string"]
        json[path: ["properties", "kind"]] = ["type": "string"]
        json[path: ["properties", "metadata"]] = ["$ref": .string(SchemaLibrary.objectMeta)]
        return json
    }

    package var schema: Schema {
        if let schema = parsed.withLock({ $0.schema }) { return schema }
        let schema = Schema(document, isCustom: true)
        parsed.withLock { $0.schema = schema }
        return schema
    }

    /// `nil` for a kind without rules.
    var rules: SchemaRules? {
        let schema = schema
        guard schema.hasRules else { return nil }
        if let rules = parsed.withLock({ $0.rules }) { return rules }
        let rules = SchemaRules(schema)
        parsed.withLock { $0.rules = rules }
        return rules
    }
}
