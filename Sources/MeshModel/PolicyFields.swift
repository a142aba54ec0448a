import KubeTypes
import Wire

/// Reads the fields of one JSON object of a policy and collects what is wrong with them.
///
/// The schema has been checked by the API server; this reads what it let through and does not trust it further.
struct PolicyFields {
    let object: PolicyReference
    let path: String
    let json: JSON

    init(_ json: JSON?, at path: String, of object: PolicyReference) {
        self.json = json ?? .object(JSONObject())
        self.path = path
        self.object = object
    }

    var namespaceOfObject: String { object.key.namespace }

    func place(_ field: String) -> String { field.isEmpty ? path : "\(path).\(field)" }

    func finding(
        _ field: String, _ code: PolicyFinding.Code, _ message: String, severity: PolicyFinding.Severity? = nil
    ) -> PolicyFinding {
        PolicyFinding(object, place(field), code, message, severity: severity)
    }

    func string(_ field: String) -> String? { json[field]?.string }
    func int(_ field: String) -> Int? { json[field]?.int }
    func double(_ field: String) -> Double? { json[field]?.double }
    func strings(_ field: String) -> [String] { json[field]?.array?.compactMap(\.string) ?? [] }
    func has(_ field: String) -> Bool { json[field].map { !$0.isNull } ?? false }

    func inside(_ field: String) -> PolicyFields? {
        guard let value = json[field], !value.isNull else { return nil }
        return PolicyFields(value, at: place(field), of: object)
    }

    func each(_ field: String) -> [PolicyFields] {
        let elements = json[field]?.array ?? []
        return elements.enumerated().map { PolicyFields($0.element, at: place("\(field)[\($0.offset)]"), of: object) }
    }

    /// Reports every member that is not one of `known`, so that nothing is ignored without a word.
    func reportOthers(than known: Set<String>, as effect: String, to findings: inout [PolicyFinding]) {
        for member in json.object ?? JSONObject() where !known.contains(member.key) && !member.value.isVoid {
            findings.append(finding(member.key, .unsupported, "is not supported: \(effect)"))
        }
    }

    /// A duration in milliseconds; `nil` when absent or wrong, which is reported.
    func duration(_ field: String, _ findings: inout [PolicyFinding]) -> Int? {
        guard let text = string(field) else { return nil }
        guard let milliseconds = milliseconds(ofDuration: text) else {
            findings.append(finding(field, .invalid, "\"\(text)\" is not a duration such as \"10s\" or \"1m30s\""))
            return nil
        }
        return milliseconds
    }
}

extension JSON {
    /// Says nothing: null, or an empty list or object.
    fileprivate var isVoid: Bool {
        switch self {
        case .null: true
        case .array(let elements): elements.isEmpty
        case .object(let object): object.isEmpty
        default: false
        }
    }
}

/// Reads `1h2m3s4ms`, with fractions (`1.5s`) as Go writes them. `nil` for anything else.
func milliseconds(ofDuration text: String) -> Int? {
    if text == "0" { return 0 }
    var total = 0.0
    var rest = text[...]
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
        let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        rest = rest.dropFirst(number.count)
        let unit = rest.prefix { !$0.isNumber && $0 != "." }
        rest = rest.dropFirst(unit.count)
        let scale: Double
        switch unit {
        case "h": scale = 3_600_000
        case "m": scale = 60_000
        case "s": scale = 1000
        case "ms": scale = 1
        case "us", "µs": scale = 0.001
        case "ns": scale = 0.000_001
        default: return nil
        }
        guard let value = Double(number) else { return nil }
        total += value * scale
    }
    guard total.isFinite, total <= Double(Int32.max) else { return nil }
    // A deadline shorter than a millisecond must not become "none".
    return total > 0 ? max(1, Int(total)) : 0
}
