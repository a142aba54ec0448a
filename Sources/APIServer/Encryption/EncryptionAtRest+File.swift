import KubeClient
import TLS
import Wire

/// Why an encryption configuration cannot be used.
package struct EncryptionFileFault: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String
}

extension EncryptionAtRest {
    /// Reads an `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`, as YAML or JSON.
    package init(file text: String) throws(EncryptionFileFault) {
        let documents: [YAMLDocument]
        do throws(YAMLFault) { documents = try yamlDocuments(text) } catch {
            throw EncryptionFileFault(description: "the encryption configuration is no YAML: \(error)")
        }
        guard documents.count == 1, let json = documents.first?.json else {
            throw EncryptionFileFault(description: "the encryption configuration must be one document")
        }
        guard json["kind"]?.string == "EncryptionConfiguration",
            json["apiVersion"]?.string == "apiserver.config.k8s.io/v1"
        else {
            throw EncryptionFileFault(
                description: "kind must be EncryptionConfiguration, of apiVersion apiserver.config.k8s.io/v1")
        }
        var rules: [Rule] = []
        let given = json["resources"]?.array ?? []
        if given.isEmpty { throw EncryptionFileFault(description: "resources: names no kinds") }
        for (place, rule) in given.enumerated() { rules.append(try Self.rule(rule, at: "resources[\(place)]")) }
        self.rules = rules
    }

    private static func rule(_ json: JSON, at path: String) throws(EncryptionFileFault) -> Rule {
        let names = json["resources"]?.array?.compactMap(\.string) ?? []
        if names.isEmpty { throw EncryptionFileFault(description: "\(path).resources: names no kinds") }
        let masks = names.map { name in
            // "*.*" are all kinds, "*." those of the core group, "*.apps" those of one group.
            let parts = name.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            return Mask(group: parts.count > 1 ? parts[1] : "", resource: parts[0])
        }
        let given = json["providers"]?.array ?? []
        if given.isEmpty { throw EncryptionFileFault(description: "\(path).providers: names no provider") }
        var providers: [Provider] = []
        for (place, provider) in given.enumerated() {
            providers += try Self.providers(provider, at: "\(path).providers[\(place)]")
        }
        return Rule(masks: masks, providers: providers)
    }

    /// A provider for each key.
    private static func providers(_ json: JSON, at path: String) throws(EncryptionFileFault) -> [Provider] {
        guard let members = json.object?.members, members.count == 1, let member = members.first else {
            throw EncryptionFileFault(description: "\(path): must have one member: aesgcm or identity")
        }
        let body = member.value
        switch member.key {
        case "identity": return [.identity]
        case "aesgcm":
            let keys = body["keys"]?.array ?? []
            if keys.isEmpty { throw EncryptionFileFault(description: "\(path).aesgcm.keys: names no key") }
            var seen: Set<String> = []
            var found: [Provider] = []
            for (place, key) in keys.enumerated() {
                let path = "\(path).aesgcm.keys[\(place)]"
                let name = key["name"]?.string ?? ""
                guard !name.isEmpty, !name.contains(":"), seen.insert(name).inserted else {
                    throw EncryptionFileFault(
                        description: "\(path).name: \"\(name)\": must be given, without a colon, and once")
                }
                guard let secret = Base64.decode(key["secret"]?.string ?? ""), let cipher = AESGCM(key: secret) else {
                    throw EncryptionFileFault(
                        description: "\(path).secret: key \(name) must be 16, 24 or 32 random bytes in base64")
                }
                found.append(.aesGCM(prefix: Array("k8s:enc:aesgcm:v1:\(name):".utf8), cipher))
            }
            return found
        case "aescbc", "secretbox", "kms":
            throw EncryptionFileFault(
                description: "\(path): \(member.key) is not supported: aesgcm and identity are")
        default:
            throw EncryptionFileFault(description: "\(path): \(member.key) is no provider: aesgcm and identity are")
        }
    }
}
