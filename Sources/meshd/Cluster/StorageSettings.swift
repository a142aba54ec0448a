import APIServer
import ArgumentParser
import Kernel
import Store
import Wire

/// Where a cluster keeps its objects, and how.
struct StorageSettings: Hashable {
    /// "" is the embedded store, else `etcd=` and its endpoints.
    var store = ""
    /// Paths of PEM files.
    var authority = ""
    var certificate = ""
    var key = ""
    /// The path of an EncryptionConfiguration.
    var encryption = ""

    init() {}

    init(_ json: JSON) {
        store = json["store"]?.string ?? ""
        authority = json["authority"]?.string ?? ""
        certificate = json["certificate"]?.string ?? ""
        key = json["key"]?.string ?? ""
        encryption = json["encryption"]?.string ?? ""
    }

    var json: JSON {
        [
            "store": .string(store), "authority": .string(authority), "certificate": .string(certificate),
            "key": .string(key), "encryption": .string(encryption),
        ]
    }

    func configure(_ configuration: inout APIServerConfiguration) throws {
        if !store.isEmpty {
            configuration.storage = .etcd(
                try EtcdConfiguration.parse(
                    store, authority: try file(authority), certificate: try file(certificate), key: try file(key)))
        }
        if let text = try file(encryption) {
            do throws(EncryptionFileFault) {
                configuration.encryption = try EncryptionAtRest(file: String(decoding: text, as: UTF8.self))
            } catch {
                throw StartFailed("\(encryption): \(error)")
            }
        }
    }

    private func file(_ path: String) throws -> [UInt8]? { path.isEmpty ? nil : try SmallFile.read(path) }
}

/// The same as options; what is not given stays as it was.
struct StorageOptions: ParsableArguments {
    @Option(help: "Where objects are kept: embedded, or etcd=https://host:port,…")
    var store: String?
    @Option(help: "Who signs etcd's certificates, PEM.")
    var storeCa: String?
    @Option(help: "The certificate we show to etcd, PEM.")
    var storeCert: String?
    @Option(help: "The key of that certificate, PEM.")
    var storeKey: String?
    @Option(help: "Which kinds to encrypt in the store: an EncryptionConfiguration; an empty name ends it.")
    var encryptionProviderConfig: String?

    func change(_ settings: inout StorageSettings) {
        if let store {
            settings.store = store == "embedded" ? "" : store
            // The files belong to the endpoints.
            (settings.authority, settings.certificate, settings.key) = ("", "", "")
        }
        settings.authority = storeCa ?? settings.authority
        settings.certificate = storeCert ?? settings.certificate
        settings.key = storeKey ?? settings.key
        settings.encryption = encryptionProviderConfig ?? settings.encryption
    }
}
