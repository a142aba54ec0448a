import Synchronization
import Wire

/// How the API's messages are laid out in protobuf, and how that maps to their JSON. Messages are read when first used.
final class ProtobufTables: Sendable {
    static let builtIn = ProtobufTables()

    indirect enum Value: Sendable, Hashable {
        case string, bytes, bool, int32, int64, double
        case message(String)
        case map(Value)
    }

    struct Field: Sendable {
        let number: Int
        let name: String
        let value: Value
        let isRepeated: Bool
        /// An embedded Go struct: its fields stand in the outer JSON object.
        let isInline: Bool
        /// A pointer, or always written: 0, "" and false mean themselves and not `unset`.
        let keepsZero: Bool
    }

    struct Message: Sendable {
        let name: String
        /// By number, ascending.
        let fields: [Field]
        let byNumber: [Int: Int]
        let hasInline: Bool
    }

    private let file: EmbeddedFile
    private let entries: [String: Range<Int>]
    private let zeroFile: EmbeddedFile
    private let zeroEntries: [String: Range<Int>]
    private let parsed = Mutex<[String: Message]>([:])

    private init() {
        file = EmbeddedFile("kubernetes-protobuf")
        zeroFile = EmbeddedFile("kubernetes-zeros")
        entries = Dictionary(file.entries().map { ($0.key, $0.value) }) { first, _ in first }
        zeroEntries = Dictionary(zeroFile.entries().map { ($0.key, $0.value) }) { first, _ in first }
    }

    /// The message of a kind, by its API group: `apps/v1` and `Deployment` give `k8s.io.api.apps.v1.Deployment`.
    func messageName(apiVersion: String, kind: String) -> String? {
        let parts = apiVersion.split(separator: "/").map(String.init)
        let (group, version) = parts.count == 2 ? (parts[0], parts[1]) : ("", apiVersion)
        let short = group.isEmpty ? "core" : String(group.prefix { $0 != "." })
        let candidates = [
            "k8s.io.api.\(short).\(version).\(kind)", "k8s.io.apimachinery.pkg.apis.meta.v1.\(kind)",
            "k8s.io.apiextensions_apiserver.pkg.apis.\(short).\(version).\(kind)",
            "k8s.io.kube_aggregator.pkg.apis.\(short).\(version).\(kind)",
            "k8s.io.metrics.pkg.apis.\(short).\(version).\(kind)",
        ]
        return candidates.first { entries[$0] != nil }
    }

    func message(_ name: String) -> Message? {
        if let message = parsed.withLock({ $0[name] }) { return message }
        guard let range = entries[name] else { return nil }
        let message = read(name, file.parse(range))
        parsed.withLock { $0[name] = message }
        return message
    }

    private func read(_ name: String, _ json: JSON) -> Message {
        let schema = SchemaLibrary.builtIn.schema(Self.definitionName(name))
        let properties = Set(schema.properties.keys)
        let short = name.split(separator: ".").suffix(3).joined(separator: ".")
        let zeros = Set(zeroEntries[short].map { zeroFile.parse($0).array ?? [] }?.compactMap(\.string) ?? [])
        var fields: [Field] = []
        for member in json.object ?? JSONObject() {
            guard let number = member.value[0]?.int, let type = member.value[1]?.string else { continue }
            let value = Self.value(type)
            var jsonName = member.key
            var isInline = false
            if !properties.isEmpty, !properties.contains(jsonName) {
                if let same = properties.first(where: { $0.lowercased() == jsonName.lowercased() }) {
                    jsonName = same
                } else if case .message = value {
                    isInline = true
                }
            } else if properties.isEmpty, name.hasSuffix(".RuleWithOperations"), jsonName == "rule" {
                isInline = true
            }
            fields.append(
                Field(
                    number: number, name: jsonName, value: value, isRepeated: member.value[2]?.string == "repeated",
                    isInline: isInline, keepsZero: zeros.contains(jsonName)))
        }
        fields.sort { $0.number < $1.number }
        var byNumber: [Int: Int] = [:]
        for (index, field) in fields.enumerated() { byNumber[field.number] = index }
        return Message(name: name, fields: fields, byNumber: byNumber, hasInline: fields.contains(where: \.isInline))
    }

    private static func value(_ type: String) -> Value {
        switch type {
        case "string": return .string
        case "bytes": return .bytes
        case "bool": return .bool
        case "int32": return .int32
        case "int64": return .int64
        case "double": return .double
        default:
            guard type.hasPrefix("map<string,") else { return .message(type) }
            return .map(value(String(type.dropFirst("map<string,".count).dropLast())))
        }
    }

    private static func definitionName(_ message: String) -> String {
        let prefixes = [
            ("k8s.io.api.", "io.k8s.api."), ("k8s.io.apimachinery.", "io.k8s.apimachinery."),
            ("k8s.io.apiextensions_apiserver.", "io.k8s.apiextensions-apiserver."),
            ("k8s.io.kube_aggregator.", "io.k8s.kube-aggregator."),
        ]
        for (prefix, replacement) in prefixes where message.hasPrefix(prefix) {
            return replacement + message.dropFirst(prefix.count)
        }
        return message
    }
}

/// Messages whose JSON is not an object of their fields.
enum ProtobufShape {
    case plain
    case time, microTime, quantity, intOrString
    /// JSON text in field 1.
    case raw
    /// A wrapper around a list of strings.
    case list
    case schemaOrList, schemaOrBool, schemaOrStrings

    init(_ message: String) {
        switch message {
        case "k8s.io.apimachinery.pkg.apis.meta.v1.Time": self = .time
        case "k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime": self = .microTime
        case "k8s.io.apimachinery.pkg.api.resource.Quantity": self = .quantity
        case "k8s.io.apimachinery.pkg.util.intstr.IntOrString": self = .intOrString
        case "k8s.io.apimachinery.pkg.runtime.RawExtension", "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1",
            "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON":
            self = .raw
        case "k8s.io.apimachinery.pkg.apis.meta.v1.Verbs": self = .list
        case "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": self = .schemaOrList
        case "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": self = .schemaOrBool
        case "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray":
            self = .schemaOrStrings
        default: self = message.hasSuffix(".ExtraValue") ? .list : .plain
        }
    }
}
