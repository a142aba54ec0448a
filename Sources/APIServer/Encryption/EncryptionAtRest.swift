import KubeTypes
import TLS

/// Which kinds are encrypted in the store, and with which keys; as Kubernetes' EncryptionConfiguration says it.
///
/// Values begin with the name of what made them, in Kubernetes' form, so that a store may go from one server to the other.
package struct EncryptionAtRest: Sendable {
    /// One way to keep a value.
    enum Provider: Sendable {
        /// As it is.
        case identity
        case aesGCM(prefix: [UInt8], AESGCM)

        var prefix: [UInt8] {
            switch self {
            case .identity: []
            case .aesGCM(let prefix, _): prefix
            }
        }
    }

    /// Kinds by group and resource, each of which may be `*`.
    struct Mask: Sendable, Hashable {
        var group: String
        var resource: String

        func covers(_ type: ResourceType) -> Bool {
            (group == "*" || group == type.group) && (resource == "*" || resource == type.resource)
        }
    }

    struct Rule: Sendable {
        var masks: [Mask]
        /// The first writes, all read.
        var providers: [Provider]
    }

    /// What every encrypted value begins with.
    static let mark = Array("k8s:enc:".utf8)

    let rules: [Rule]
    /// What a test puts something else in the place of: OpenSSL without memory or randomness.
    var seal: @Sendable (AESGCM, _ value: [UInt8], _ context: [UInt8]) throws(TLSFailure) -> [UInt8] = {
        cipher, value, context throws(TLSFailure) in try cipher.seal(value, context: context)
    }

    private func rule(_ type: ResourceType) -> Rule? {
        rules.first { rule in rule.masks.contains { $0.covers(type) } }
    }

    /// A value as the store shall hold it. The key is bound into it: it cannot be put into another's place.
    ///
    /// Never plain where it should be encrypted: without memory or randomness the write fails.
    func stored(_ value: [UInt8], _ key: String, _ type: ResourceType) throws(TLSFailure) -> [UInt8] {
        guard case .aesGCM(let prefix, let cipher) = rule(type)?.providers.first else { return value }
        return prefix + (try seal(cipher, value, Array(key.utf8)))
    }

    /// The plain value; `nil` when no key we have opens it.
    func plain(_ value: [UInt8], _ key: String) -> [UInt8]? {
        guard value.starts(with: Self.mark) else { return value }
        for rule in rules {
            for case .aesGCM(let prefix, let cipher) in rule.providers where value.starts(with: prefix) {
                if let plain = cipher.open(value.dropFirst(prefix.count), context: Array(key.utf8)) { return plain }
            }
        }
        return nil
    }

    /// Whether a value is kept in another way than it would be written now.
    func isStale(_ value: [UInt8], _ type: ResourceType) -> Bool {
        let first = rule(type)?.providers.first ?? .identity
        let isPlain = !value.starts(with: Self.mark)
        switch first {
        case .identity: return !isPlain
        case .aesGCM(let prefix, _): return !value.starts(with: prefix)
        }
    }

    /// What a value says of how it was encrypted, for errors.
    static func keyName(_ value: [UInt8]) -> String {
        let parts = value.prefix(200).split(
            separator: UInt8(ascii: ":"), maxSplits: 5, omittingEmptySubsequences: false)
        return parts.prefix(5).map { String(decoding: $0, as: UTF8.self) }.joined(separator: ":")
    }
}
