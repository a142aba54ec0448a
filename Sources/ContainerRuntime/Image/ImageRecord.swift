import Wire

/// An image of the store: what its manifest and its configuration say.
package struct ImageRecord: Sendable {
    package struct Layer: Sendable, Hashable {
        package var digest: String
        package var size: Int
    }
    package var name: String
    package var manifestDigest: String
    package var configDigest: String
    package var layers: [Layer]  // the lowest first
    package var environment: [String] = []
    package var entrypoint: [String] = []
    package var command: [String] = []
    package var workingDirectory = ""
    /// `user[:group]`, each a name or a number.
    package var user = ""
    package var stopSignal: String?
    package var exposedPorts: [String] = []

    init(name: String, manifestDigest: String, manifest: JSON, config: JSON) throws(RuntimeFailure) {
        self.name = name
        self.manifestDigest = manifestDigest
        guard let configDigest = manifest["config"]?["digest"]?.string else {
            throw RuntimeFailure(.badImage, "image \(name): its manifest \(manifestDigest) names no config")
        }
        self.configDigest = configDigest
        layers = []
        for (place, layer) in (manifest["layers"]?.array ?? []).enumerated() {
            guard let digest = layer["digest"]?.string, Digest.hex(digest) != nil else {
                throw RuntimeFailure(
                    .badImage, "image \(name): layers[\(place)].digest of its manifest is no sha256 digest")
            }
            layers.append(Layer(digest: digest, size: layer["size"]?.int ?? 0))
        }
        let settings = config["config"] ?? .object(JSONObject())
        func strings(_ key: String) -> [String] { (settings[key]?.array ?? []).compactMap(\.string) }
        environment = strings("Env")
        entrypoint = strings("Entrypoint")
        command = strings("Cmd")
        workingDirectory = settings["WorkingDir"]?.string ?? ""
        user = settings["User"]?.string ?? ""
        stopSignal = settings["StopSignal"]?.string
        exposedPorts = settings["ExposedPorts"]?.object?.keys ?? []
    }

    package var status: ImageStatus {
        ImageStatus(
            name: name, digest: manifestDigest, bytes: layers.reduce(0) { $0 + $1.size }, entrypoint: entrypoint,
            command: command)
    }
}
