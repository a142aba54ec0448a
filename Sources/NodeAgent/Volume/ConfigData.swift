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
