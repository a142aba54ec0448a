package import KubeClient
package import KubeTypes
import Wire

/// The contents of ConfigMaps and Secrets, as files and variables are made of them.
package struct ConfigData: Sendable {
    private let api: any KubeAPI
    private let namespace: String

    package init(_ api: any KubeAPI, namespace: String) {
        self.api = api
        self.namespace = namespace
    }

    /// - Returns: `nil` when there is no such ConfigMap.
    package func configMap(_ name: String) async throws(APIFailure) -> [String: [UInt8]]? {
        guard let object = try await find(.configMaps, name) else { return nil }
        var data: [String: [UInt8]] = [:]
        for member in object.json["data"]?.object ?? .init() {
            if let text = member.value.string { data[member.key] = Array(text.utf8) }
        }
        for member in object.json["binaryData"]?.object ?? .init() {
            if let text = member.value.string { data[member.key] = Base64.decode(text) }
        }
        return data
    }

    /// - Returns: `nil` when there is no such Secret.
    package func secret(_ name: String) async throws(APIFailure) -> [String: [UInt8]]? {
        guard let object = try await find(.secrets, name) else { return nil }
        var data: [String: [UInt8]] = [:]
        for member in object.json["data"]?.object ?? .init() {
            if let text = member.value.string { data[member.key] = Base64.decode(text) }
        }
        return data
    }

    private func find(_ type: ResourceType, _ name: String) async throws(APIFailure) -> KubeObject? {
        do throws(APIFailure) {
            return try await api.get(type, ObjectKey(namespace: namespace, name: name))
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }
}

/// RFC 4648 §4, as JSON carries bytes.
enum Base64 {
    /// - Returns: `nil` for text that is not base64; line ends inside are allowed.
    static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 4 * 3)
        var bits: UInt32 = 0
        var count = 0
        var padding = 0
        for letter in text.utf8 {
            let value: UInt8
            switch letter {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = letter - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = letter - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = letter - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="):
                padding += 1
                continue
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"): continue
            default: return nil
            }
            if padding > 0 { return nil }
            bits = bits << 6 | UInt32(value)
            count += 1
            if count % 4 == 0 {
                bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
                bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
                bytes.append(UInt8(truncatingIfNeeded: bits))
            }
        }
        guard padding <= 2, (count + padding) % 4 == 0 else { return nil }
        if count % 4 == 2 { bytes.append(UInt8(truncatingIfNeeded: bits >> 4)) }
        if count % 4 == 3 {
            bytes.append(UInt8(truncatingIfNeeded: bits >> 10))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 2))
        }
        return count % 4 == 1 ? nil : bytes
    }
}
