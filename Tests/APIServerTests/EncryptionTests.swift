import Glibc
import KubeClient
import KubeTypes
import Store
import TLS
import TestSupport
import Testing
import Wire

@testable import APIServer

@Suite("Secrets encrypted in the store")
struct EncryptionTests {
    private static let one = Base64.encode([UInt8](repeating: 1, count: 32))
    private static let two = Base64.encode([UInt8](repeating: 2, count: 16))

    private static func file(_ providers: String, resources: String = "[secrets]") -> String {
        """
        apiVersion: apiserver.config.k8s.io/v1
        kind: EncryptionConfiguration
        resources:
          - resources: \(resources)
            providers: \(providers)
        """
    }

    private static func aes(_ keys: [(String, String)]) -> String {
        "{aesgcm: {keys: [" + keys.map { "{name: \($0.0), secret: \"\($0.1)\"}" }.joined(separator: ", ") + "]}}"
    }

    private func serve<Value>(
        _ directory: String, _ file: String?, _ body: (InProcessAPI) async throws -> Value
    ) async throws -> Value {
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [])
        configuration.encryption = try file.map { try EncryptionAtRest(file: $0) }
        let server = try await APIServer.start(configuration)
        let outcome: Result<Value, any Error>
        do { outcome = .success(try await body(server.api(as: .administrator))) } catch {
            outcome = .failure(error)
        }
        await server.stop()
        return try outcome.get()
    }

    private func secret(_ name: String) -> KubeObject {
        var secret = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "default", name: name)
        secret.json["data"] = ["word": .string(Base64.encode(Array("open sesame".utf8)))]
        return secret
    }

    /// What the store holds of a key.
    private func stored(_ directory: String, _ key: String) throws -> String {
        let store = try EmbeddedStore(directory: directory)
        defer { store.close() }
        return String(decoding: try #require(store.get(key)).value, as: UTF8.self)
    }

    @Test("the first provider writes, all read, and a rewrite takes the first key")
    func rotation() async throws {
        let directory = try temporaryDirectory("weft-encryption")
        defer { removeTree(directory) }
        let word = JSON.string(Base64.encode(Array("open sesame".utf8)))
        let key = ObjectKey(namespace: "default", name: "door")
        let path = "/registry/secrets/default/door"
        // Written plain, before anybody thought of encryption.
        try await serve(directory, nil) { _ = try await $0.create(.secrets, secret("door")) }
        #expect(try stored(directory, path).contains(word.string ?? ""))

        let first = Self.file("[\(Self.aes([("one", Self.one)])), {identity: {}}]")
        try await serve(directory, first) { api in
            let read = try await api.get(.secrets, key)
            #expect(read.json["data"]?["word"] == word)
            let written = try await api.update(.secrets, read)
            #expect(written.resourceVersion != read.resourceVersion, "nothing but the encryption changes, and it does")
            #expect(try await api.update(.secrets, written).resourceVersion == written.resourceVersion)
            _ = try await api.create(.secrets, secret("other"))
            _ = try await api.create(.configMaps, configMap("plain", ["a": "open sesame"]))
            #expect(try await api.list(.secrets, namespace: "default", .all).items.count == 2)
        }
        for name in ["door", "other"] {
            let value = try stored(directory, "/registry/secrets/default/\(name)")
            // As bytes: what follows may happen to be a character that joins the one before.
            #expect(value.utf8.starts(with: "k8s:enc:aesgcm:v1:one:".utf8) && !value.contains("word"), "\(value)")
        }
        #expect(try stored(directory, "/registry/configmaps/default/plain").contains("open sesame"))

        let second = Self.file("[\(Self.aes([("two", Self.two), ("one", Self.one)]))]")
        try await serve(directory, second) { api in
            _ = try await api.update(.secrets, try await api.get(.secrets, key))
            #expect(try await api.get(.secrets, key).json["data"]?["word"] == word)
            #expect(
                try await api.get(.secrets, ObjectKey(namespace: "default", name: "other")).json["data"]?["word"]
                    == word)
        }
        #expect(try stored(directory, path).utf8.starts(with: "k8s:enc:aesgcm:v1:two:".utf8))

        // The old key is gone while something still needs it: the server says which, and does not start.
        let last = Self.file("[\(Self.aes([("two", Self.two)]))]")
        let failure = await #expect(throws: APIFailure.self) { try await serve(directory, last) { _ in } }
        #expect(failure?.message.contains("/registry/secrets/default/other") == true, "\(failure?.message ?? "")")
        #expect(failure?.message.contains("k8s:enc:aesgcm:v1:one") == true)
        let none = await #expect(throws: APIFailure.self) { try await serve(directory, nil) { _ in } }
        #expect(none?.message.contains("is encrypted") == true)

        // Back to plain.
        let plain = Self.file("[{identity: {}}, \(Self.aes([("two", Self.two), ("one", Self.one)]))]")
        try await serve(directory, plain) { api in
            for name in ["door", "other"] {
                let key = ObjectKey(namespace: "default", name: name)
                _ = try await api.update(.secrets, try await api.get(.secrets, key))
            }
        }
        try await serve(directory, nil) { api in
            let read = try await api.get(.secrets, key)
            #expect(read.json["data"]?["word"] == word)
        }
    }

    @Test("what cannot be encrypted is refused by name, is not stored, and ends nothing else")
    func unsealed() async throws {
        let directory = try temporaryDirectory("weft-encryption")
        defer { removeTree(directory) }
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [])
        var encryption = try EncryptionAtRest(file: Self.file("[\(Self.aes([("one", Self.one)]))]"))
        let isBroken = Shared(true)
        encryption.seal = { cipher, value, context throws(TLSFailure) in
            if isBroken.withLock({ $0 }) { throw TLSFailure("making random bytes", reasons: ["no entropy"]) }
            return try cipher.seal(value, context: context)
        }
        configuration.encryption = encryption
        let server = try await APIServer.start(configuration)
        let api = server.api(as: .administrator)
        let door = secret("door")
        let refused = await failure { () throws(APIFailure) in _ = try await api.create(.secrets, door) }
        #expect(refused?.code == 500 && refused?.reason == "InternalError")
        #expect(refused?.message.contains("secrets \"door\" cannot be encrypted") == true, "\(refused?.message ?? "")")
        #expect(refused?.message.contains("no entropy") == true)
        #expect(await isMissing(api, .secrets, door.key))
        _ = try await api.create(.configMaps, configMap("plain"))
        isBroken.withLock { $0 = false }
        var stored = try await api.create(.secrets, door)
        isBroken.withLock { $0 = true }
        stored.labels = ["a": "b"]
        let changed = stored
        let update = await failure { () throws(APIFailure) in _ = try await api.update(.secrets, changed) }
        #expect(update?.code == 500)
        #expect(try await api.get(.secrets, door.key).labels.isEmpty)
        await server.stop()
        let value = try self.stored(directory, "/registry/secrets/default/door")
        #expect(value.utf8.starts(with: "k8s:enc:aesgcm:v1:one:".utf8))
    }

    @Test("a value put into another's place does not open, and is not taken for an empty one")
    func moved() async throws {
        let directory = try temporaryDirectory("weft-encryption")
        defer { removeTree(directory) }
        let file = Self.file("[\(Self.aes([("one", Self.one)]))]")
        try await serve(directory, file) { api in
            _ = try await api.create(.secrets, secret("a"))
            _ = try await api.create(.secrets, secret("b"))
        }
        let store = try EmbeddedStore(directory: directory)
        let value = try #require(store.get("/registry/secrets/default/a")).value
        _ = try await store.update("/registry/secrets/default/b", value, .present)
        store.close()
        await #expect(throws: APIFailure.self) { try await serve(directory, file) { _ in } }
    }

    @Test(
        "a configuration that cannot be meant is refused",
        arguments: [
            ("kind: Pod", "kind must be EncryptionConfiguration"),
            (file("[]"), "resources[0].providers: names no provider"),
            (file("[{identity: {}}]", resources: "[]"), "resources[0].resources: names no kinds"),
            (file("[{aescbc: {keys: []}}]"), "providers[0]: aescbc is not supported"),
            (file("[{rot13: {}}]"), "providers[0]: rot13 is no provider"),
            (file("[{aesgcm: {keys: []}}]"), "aesgcm.keys: names no key"),
            (file("[\(aes([("k", "AAAA")]))]"), "keys[0].secret: key k must be 16, 24 or 32"),
            (file("[\(aes([("k", one), ("k", two)]))]"), "keys[1].name: \"k\""),
            (file("[\(aes([("\"a:b\"", one)]))]"), "keys[0].name: \"a:b\""),
        ])
    func refused(_ text: String, _ why: String) {
        let failure = #expect(throws: EncryptionFileFault.self) { try EncryptionAtRest(file: text) }
        #expect(failure?.description.contains(why) == true, "\(failure?.description ?? "")")
    }

    @Test(
        "kinds are meant by resource, group and stars",
        arguments: [
            ("secrets", true, false, false), ("*.apps", false, true, false), ("*.*", true, true, true),
            ("deployments.apps", false, true, false), ("*.", true, false, false), ("pods", false, false, false),
            ("ingresses.networking.k8s.io", false, false, true),
        ])
    func masks(_ name: String, _ secrets: Bool, _ deployments: Bool, _ ingresses: Bool) throws {
        let made = try EncryptionAtRest(file: Self.file("[\(Self.aes([("k", Self.one)]))]", resources: "[\"\(name)\"]"))
        func isEncrypted(_ type: ResourceType) throws -> Bool { try made.stored([1], "/k", type) != [1] }
        #expect(try isEncrypted(.secrets) == secrets)
        #expect(try isEncrypted(.deployments) == deployments)
        let ingress = ResourceType(
            group: "networking.k8s.io", version: "v1", resource: "ingresses", kind: "Ingress", isNamespaced: true)
        #expect(try isEncrypted(ingress) == ingresses)
    }
}
