import KubeTypes
package import Wire

/// Which files a volume of configuration has: pure, from the volume's manifest and the data it names.
package enum VolumePayload {
    /// What the files are made of; `nil` stands for an object that does not exist.
    package struct Data: Sendable {
        package var configMaps: [String: [String: [UInt8]]?] = [:]
        package var secrets: [String: [String: [UInt8]]?] = [:]
        /// By audience; the empty audience is the API server's own.
        package var tokens: [String: [UInt8]] = [:]
        package var fields: PodFields
        package var containers: [JSON]
        package init(fields: PodFields, containers: [JSON]) {
            self.fields = fields
            self.containers = containers
        }
    }

    /// - Parameter volume: with `configMap`, `secret`, `downwardAPI` or `projected`; `nil` is returned for other kinds.
    package static func files(of volume: JSON, _ data: Data) throws(ContainerConfigFault) -> [PayloadFile]? {
        let name = volume["name"]?.string ?? ""
        if let projected = volume["projected"] {
            let mode = mode(projected["defaultMode"], else: 0o644)
            var files: [PayloadFile] = []
            for source in projected["sources"]?.array ?? [] {
                for file in try self.files(
                    ofSource: source, named: source["configMap"] ?? source["secret"], mode, data, name)
                {
                    files.removeAll { $0.path == file.path }
                    files.append(file)
                }
            }
            return files
        }
        guard let inner = volume["configMap"] ?? volume["secret"] ?? volume["downwardAPI"] else { return nil }
        return try files(ofSource: volume, named: inner, mode(inner["defaultMode"], else: 0o644), data, name)
    }

    /// Which objects a volume needs: configMaps, secrets, audiences of tokens.
    static func references(of volume: JSON) -> (configMaps: Set<String>, secrets: Set<String>, audiences: Set<String>) {
        var needs: (configMaps: Set<String>, secrets: Set<String>, audiences: Set<String>) = ([], [], [])
        for source in (volume[path: ["projected", "sources"]]?.array ?? []) + [volume] {
            if let name = source[path: ["configMap", "name"]]?.string { needs.configMaps.insert(name) }
            if let secret = source["secret"], let name = (secret["secretName"] ?? secret["name"])?.string {
                needs.secrets.insert(name)
            }
            if let token = source["serviceAccountToken"] { needs.audiences.insert(token["audience"]?.string ?? "") }
        }
        return needs
    }

    private static func files(
        ofSource source: JSON, named reference: JSON?, _ mode: UInt32, _ data: Data, _ volume: String
    ) throws(ContainerConfigFault) -> [PayloadFile] {
        let isOptional = reference?["optional"]?.bool ?? false
        if source["configMap"] != nil {
            let name = reference?["name"]?.string ?? ""
            let found = data.configMaps[name] ?? nil
            return try items(reference, found, "configmap \"\(name)\"", isOptional, mode, volume)
        }
        if source["secret"] != nil {
            let name = (reference?["secretName"] ?? reference?["name"])?.string ?? ""
            let found = data.secrets[name] ?? nil
            return try items(reference, found, "secret \"\(name)\"", isOptional, mode, volume)
        }
        if let token = source["serviceAccountToken"] {
            guard let bytes = data.tokens[token["audience"]?.string ?? ""] else { return [] }
            return [PayloadFile(path: try safe(token["path"]?.string ?? "token", volume), bytes: bytes, mode: mode)]
        }
        if let downward = source["downwardAPI"] { return try fields(downward, mode, data, volume) }
        return []
    }

    private static func items(
        _ reference: JSON?, _ found: [String: [UInt8]]?, _ what: String, _ isOptional: Bool, _ mode: UInt32,
        _ volume: String
    ) throws(ContainerConfigFault) -> [PayloadFile] {
        guard let found else {
            if isOptional { return [] }
            throw ContainerConfigFault("MountVolume.SetUp failed for volume \"\(volume)\": \(what) not found")
        }
        guard let items = reference?["items"]?.array, !items.isEmpty else {
            return found.sorted { $0.key < $1.key }.map { PayloadFile(path: $0.key, bytes: $0.value, mode: mode) }
        }
        var files: [PayloadFile] = []
        for item in items {
            let key = item["key"]?.string ?? ""
            guard let bytes = found[key] else {
                if isOptional { continue }
                throw ContainerConfigFault(
                    "MountVolume.SetUp failed for volume \"\(volume)\": \(what) references non-existent key: \(key)")
            }
            let path = try safe(item["path"]?.string ?? key, volume)
            files.append(PayloadFile(path: path, bytes: bytes, mode: self.mode(item["mode"], else: mode)))
        }
        return files
    }

    private static func fields(
        _ downward: JSON, _ mode: UInt32, _ data: Data, _ volume: String
    ) throws(ContainerConfigFault) -> [PayloadFile] {
        var files: [PayloadFile] = []
        for item in downward["items"]?.array ?? [] {
            let path = try safe(item["path"]?.string ?? "", volume)
            var text: String?
            if let field = item[path: ["fieldRef", "fieldPath"]]?.string { text = data.fields[field] }
            if let resource = item["resourceFieldRef"] {
                let container = data.containers.first { $0["name"] == resource["containerName"] }
                text = container.flatMap { data.fields.resource(resource, of: $0) }
            }
            guard let text else {
                throw ContainerConfigFault(
                    "volume \"\(volume)\": item \"\(path)\" takes its value from an unknown field")
            }
            files.append(PayloadFile(path: path, bytes: Array(text.utf8), mode: self.mode(item["mode"], else: mode)))
        }
        return files
    }

    private static func mode(_ json: JSON?, else other: UInt32) -> UInt32 {
        json?.int.map { UInt32(truncatingIfNeeded: $0) & 0o777 } ?? other
    }

    private static func safe(_ path: String, _ volume: String) throws(ContainerConfigFault) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !path.isEmpty, !path.hasPrefix("/"), !parts.contains(".."), !path.hasPrefix("..") else {
            throw ContainerConfigFault(
                "volume \"\(volume)\": the path \"\(path)\" must be relative and stay in the volume")
        }
        return path
    }
}
