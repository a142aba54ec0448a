import KubeClient
import KubeTypes
import Logging
import Store
import TLS

/// Between the registry and its store: what is encrypted there, and what others have written to it.
extension Registry {
    /// The value of a record as it was before encryption; empty when no key of ours opens it.
    func plainValue(_ record: Record) -> [UInt8] {
        guard let encryption else { return record.value }
        if let plain = encryption.plain(record.value, record.key) { return plain }
        logger.error("a record cannot be read", metadata: ["reason": "\(Self.unreadable(record))"])
        return []
    }

    /// An object's bytes as they may lie in the store.
    func sealed(
        _ bytes: [UInt8], _ object: KubeObject, _ definition: ResourceDefinition, _ encryption: EncryptionAtRest
    ) throws(APIFailure) -> [UInt8] {
        let type = definition.storageType
        do throws(TLSFailure) {
            return try encryption.stored(bytes, StorageKey.key(type, object.key), type)
        } catch {
            throw .internalError(
                "\(definition.type.qualifiedName) \"\(object.name)\" cannot be encrypted, so it was not stored: \(error)"
            )
        }
    }

    /// An object that cannot be read must not look like an empty one to somebody who writes it back.
    func requireReadable(_ record: Record) throws(APIFailure) {
        if encryption?.plain(record.value, record.key) == nil { throw .internalError(Self.unreadable(record)) }
    }

    private static func unreadable(_ record: Record) -> String {
        "\(record.key) cannot be decrypted: it was encrypted as \(EncryptionAtRest.keyName(record.value)), and no key of the"
            + " encryption configuration opens it"
    }

    /// Whether a record must be written even though nothing of its object changes: its key is not the first one any more.
    func isStale(_ record: Record, _ type: ResourceType) -> Bool {
        guard let encryption else { return false }
        return encryption.isStale(record.value, type)
    }

    /// Looks whether everything encrypted can be read, before anything is served.
    func requireReadableSecrets() throws(APIFailure) {
        var failure: APIFailure?
        store.snapshot().index.visit(under: "/registry/") { record in
            guard record.value.starts(with: EncryptionAtRest.mark) else { return true }
            guard encryption != nil else {
                failure = .internalError(
                    "\(record.key) is encrypted (\(EncryptionAtRest.keyName(record.value))): give the server the encryption"
                        + " configuration it was written with")
                return false
            }
            do throws(APIFailure) { try requireReadable(record) } catch { failure = error }
            return failure == nil
        }
        if let failure { throw failure }
    }

    var isShared: Bool { store.isShared }

    /// Where others write to the store too, waits until reads show what a request must see: everything, unless it names a version.
    func catchUp(for request: APIRequest) async throws(APIFailure) {
        let verb = request.verb
        if verb == "list", !request.query["continue"].isEmpty { return }
        try await catchUp(verb, from: request.query["resourceVersion"])
    }

    func catchUp(_ verb: String, from resourceVersion: String) async throws(APIFailure) {
        let isRead = verb == "get" || verb == "list" || verb == "watch"
        if isRead, let asked = Int64(resourceVersion), asked <= store.revision { return }
        do throws(StoreFailure) { try await store.catchUp() } catch { throw failure(error, .namespaces, "") }
    }
}
