internal import Wire

/// How a file written by people spells the resources' fields: shorter names, times with units, short forms for lists, and paths of
/// files for what is inside them. It also keeps which fields were asked for, so that one nobody asks for can be refused.
final class FileSpelling {
    /// Why a short form or a file cannot be taken.
    struct Fault: Error { let message: String }

    enum Shape { case scalar, list, object }

    /// Resource field to what files call it. An empty name is a field files do not have.
    private static let names: [String: String] = [
        "matches": "match", "backends": "to", "backend": "cluster", "gatewayListeners": "",
        "certificateChain": "certificate", "privateKey": "key", "trustRoots": "trust",
    ]
    /// Fields whose value is long text that people keep in files of its own.
    private static let textFields: Set<String> = [
        "certificateChain", "privateKey", "trustRoots", "roots", "clientRoots", "keys",
    ]

    /// Places of all fields that decoding asked for.
    private(set) var asked: Set<String> = []
    private var objects: [(path: String, fields: [String])] = []
    private let readText: (String) throws -> String

    /// - Parameter readText: the contents of a file the configuration names.
    init(readText: @escaping (String) throws -> String) { self.readText = readText }

    func note(asked place: String) { asked.insert(place) }
    func note(object path: String, fields: [String]) { objects.append((path, fields)) }

    /// The first field no decoding has asked for.
    var stranger: String? {
        for object in objects {
            for field in object.fields {
                let place = object.path.isEmpty ? field : "\(object.path).\(field)"
                if !asked.contains(place) { return place }
            }
        }
        return nil
    }

    /// The name of a field in files; `field` may carry an index, which stays.
    func spelled(_ field: String) -> String {
        let word = String(field.prefix { $0 != "[" })
        let rest = field.dropFirst(word.count)
        for unit in ["Milliseconds", "Seconds"] where word.hasSuffix(unit) && word.count > unit.count {
            return String(word.dropLast(unit.count)) + rest
        }
        return (Self.names[word] ?? word) + rest
    }

    /// What a written value means to the resource.
    func meaning(of field: String, _ written: JSON, as shape: Shape) throws(Fault) -> JSON {
        if field.hasSuffix("Milliseconds") { return .int(try Self.time(written)) }
        if field.hasSuffix("Seconds") { return .int(try Self.time(written) / 1000) }
        if Self.textFields.contains(field) { return try text(written) }
        switch (shape, field, written) {
        case (.scalar, "algorithm", "least-request"), (.scalar, "algorithm", "LEAST_REQUEST"): return ""
        case (.object, "balance", .string): return ["algorithm": written]
        case (.object, "path", .string(let prefix)): return ["prefix": .string(prefix)]
        case (.list, "matches", .object): return .array([written])
        case (.list, "tls", .object): return .array([Self.server(written)])
        case (.list, "tls", .array(let list)): return .array(list.map(Self.server))
        case (.list, "backends", .string), (.list, "backends", .object): return .array([Self.share(written)])
        case (.list, "backends", .array(let list)): return .array(list.map(Self.share))
        case (.list, "endpoints", .array(let list)): return .array(list.map(Self.endpoint))
        case (.list, let field, .object(let map)) where field == "headers" || field.hasSuffix("Headers"):
            return .array(map.members.map { ["name": .string($0.key), "value": $0.value] })
        default: return written
        }
    }

    /// `catalog` is `{cluster: catalog, weight: 1}`.
    private static func share(_ written: JSON) -> JSON {
        if case .string = written { return ["cluster": written, "weight": 1] }
        guard written.object != nil, written["weight"] == nil else { return written }
        var whole = written
        whole["weight"] = 1
        return whole
    }

    /// `{certificate: a.crt, key: a.key}` is one pair for all hosts.
    private static func server(_ written: JSON) -> JSON {
        guard written.object != nil else { return written }
        var whole = written
        if whole["hosts"] == nil { whole["hosts"] = ["*"] }
        if whole["certificates"] == nil, let certificate = whole["certificate"], let key = whole["key"] {
            whole["certificates"] = [["certificate": certificate, "key": key]]
            whole["certificate"] = nil
            whole["key"] = nil
        }
        return whole
    }

    /// `10.0.0.1:9000` is `{address: 10.0.0.1, port: 9000}`.
    private static func endpoint(_ written: JSON) -> JSON {
        guard case .string(let text) = written, let colon = text.lastIndex(of: ":"),
            let port = Int64(text[text.index(after: colon)...])
        else { return written }
        return ["address": .string(String(text[..<colon])), "port": .int(port)]
    }

    /// Milliseconds from `250ms`, `1.5s`, `2m`, `1h`.
    private static func time(_ written: JSON) throws(Fault) -> Int64 {
        let wrong = Fault(message: "is \(written.text), must be a time with its unit, such as 250ms, 5s, 2m or 1h")
        guard let text = written.string else { throw wrong }
        let units: [(String, Double)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        for (unit, scale) in units where text.hasSuffix(unit) {
            let number = text.dropLast(unit.count)
            guard let first = number.utf8.first, (48...57).contains(first), let value = Double(number),
                value * scale <= 1e12
            else { throw wrong }
            return Int64((value * scale).rounded())
        }
        throw wrong
    }

    /// Text itself, or the contents of the file it names.
    private func text(_ written: JSON) throws(Fault) -> JSON {
        guard let value = written.string else { return written }
        // A certificate or key, or a set of keys as JSON.
        if value.hasPrefix("-----BEGIN") || value.hasPrefix("{") { return written }
        do { return .string(try readText(value)) } catch { throw Fault(message: "\(error)") }
    }
}
