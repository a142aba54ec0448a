import Wire

/// Defaults that always apply, by type: `core.v1.PodSpec` sets `dnsPolicy` to `ClusterFirst`.
///
/// Rules with a condition or an expression stand in `ConditionalDefaults`; here they are passed over.
struct DefaultRules: Sendable {
    static let builtIn = DefaultRules()

    struct Rule: Sendable {
        let path: [String]
        let value: JSON
    }

    private let rules: [String: [Rule]]

    private init() {
        let file = EmbeddedFile("kubernetes-defaults")
        var rules: [String: [Rule]] = [:]
        for (type, range) in file.entries() {
            for entry in file.parse(range).array ?? [] {
                guard let path = entry[0]?.string, let value = entry[1], entry[2] == nil else { continue }
                if value.string?.hasPrefix("=") == true || path.contains("[") || path == "*" { continue }
                // In memory only, or written as nothing.
                if value.isNull || value == "" || type == "core.v1.ConfigMap" { continue }
                rules[type, default: []].append(Rule(path: path.split(separator: ".").map(String.init), value: value))
            }
        }
        self.rules = rules
    }

    func rules(for type: String) -> [Rule] { rules[type] ?? [] }

    /// `io.k8s.api.core.v1.PodSpec` is called `core.v1.PodSpec` in the rules.
    static func shortName(_ definition: String) -> String {
        definition.split(separator: ".").suffix(3).joined(separator: ".")
    }
}

extension DefaultRules {
    /// All that sets defaults in values of one schema.
    struct Given {
        let kind: ConditionalDefaults.Kind?
        let rules: [Rule]
        /// Those the schema itself states.
        let members: [Rule]

        var isEmpty: Bool { kind == nil && rules.isEmpty && members.isEmpty }

        init(_ schema: Schema) {
            let type = schema.name.map { DefaultRules.shortName($0) } ?? ""
            kind = ConditionalDefaults.Kind(rawValue: type)
            rules = DefaultRules.builtIn.rules(for: type)
            members = schema.properties.compactMap { name, link in
                guard let value = link.defaultValue, schema.isCustom || Self.isWritten(value) else { return nil }
                return Rule(path: [name], value: value)
            }
        }

        /// Zero values of Kubernetes' own types stay unwritten.
        private static func isWritten(_ value: JSON) -> Bool {
            value != "" && value != 0 && value != false && value != [:]
        }
    }
}
