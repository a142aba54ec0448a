import KubeTypes
import Wire

/// Tokens by which a machine joins the cluster: `abcdef.0123456789abcdef`, kept in secrets `bootstrap-token-abcdef`.
struct BootstrapTokens: TokenAuthenticator {
    let registry: Registry

    func check(_ token: String, audiences: [String]) async -> TokenVerdict {
        guard let (id, secret) = Self.parts(token) else { return .unknown }
        let key = ObjectKey(namespace: "kube-system", name: "bootstrap-token-\(id)")
        guard let definition = registry.catalog.definition(of: .secrets),
            let found = try? registry.get(definition, key)
        else { return .unknown }
        switch Self.user(found, id: id, secret: secret, now: Timestamp.now()) {
        case .accepted(let user, _): return .accepted(user, audiences: audiences)
        case let other: return other
        }
    }

    static func parts(_ token: String) -> (id: String, secret: String)? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        func isWord(_ text: Substring, _ count: Int) -> Bool {
            text.utf8.count == count
                && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) }
        }
        guard parts.count == 2, isWord(parts[0], 6), isWord(parts[1], 16) else { return nil }
        return (String(parts[0]), String(parts[1]))
    }

    static func user(_ object: KubeObject, id: String, secret: String, now: Timestamp) -> TokenVerdict {
        func value(_ name: String) -> String {
            let bytes = object.json["data"]?[name]?.string.flatMap(Base64.decode) ?? []
            return String(decoding: bytes, as: UTF8.self)
        }
        guard object.json["type"]?.string == "bootstrap.kubernetes.io/token", object.deletionTimestamp == nil else {
            return .unknown
        }
        guard isEqual(value("token-secret"), secret), value("token-id") == id else {
            return .refused("bootstrap token \(id): the secret does not match")
        }
        let end = value("expiration")
        if !end.isEmpty {
            guard let time = Timestamp(end), time > now else { return .refused("bootstrap token \(id) has expired") }
        }
        guard value("usage-bootstrap-authentication") == "true" else {
            return .refused("bootstrap token \(id) is not marked for authentication")
        }
        var groups = ["system:bootstrappers"]
        for group in value("auth-extra-groups").split(separator: ",").map(String.init) {
            guard isGroup(group) else {
                return .refused(
                    "bootstrap token \(id): auth-extra-groups: \"\(group)\" must start with system:bootstrappers:")
            }
            groups.append(group)
        }
        return .accepted(User(name: "system:bootstrap:\(id)", groups: groups + [User.authenticated]), audiences: [])
    }

    /// `system:bootstrappers:` and letters, digits, `:` and `-`, ending with a letter or digit.
    private static func isGroup(_ text: String) -> Bool {
        guard text.hasPrefix("system:bootstrappers:") else { return false }
        let rest = Array(text.dropFirst(21).utf8)
        guard let last = rest.last, rest.count <= 256, last != UInt8(ascii: ":"), last != UInt8(ascii: "-") else {
            return false
        }
        return rest.allSatisfy {
            (0x30...0x3A).contains($0) || (0x61...0x7A).contains($0) || $0 == UInt8(ascii: "-")
        }
    }

    /// In a time that does not tell where two texts differ.
    private static func isEqual(_ one: String, _ other: String) -> Bool {
        let (a, b) = (Array(one.utf8), Array(other.utf8))
        guard a.count == b.count else { return false }
        var difference: UInt8 = 0
        for index in a.indices { difference |= a[index] ^ b[index] }
        return difference == 0
    }
}
