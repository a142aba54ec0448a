import KubeClient
import KubeTypes
import Logging
import TLS
import Wire

/// Fills secrets of type `kubernetes.io/service-account-token` with their account's token, and deletes them with their account.
struct SecretTokens: Sendable {
    static let secretType = "kubernetes.io/service-account-token"
    private static let accountName = "kubernetes.io/service-account.name"
    private static let accountUID = "kubernetes.io/service-account.uid"

    let registry: Registry
    let tokens: AccountTokens
    let rootCertificate: [UInt8]

    private enum Wake: Sendable {
        case secret(ObjectKey)
        case gone(ObjectKey)
        /// An account of the namespace came or went.
        case accounts(String)
    }

    /// - Returns: what ends it when cancelled.
    func start() throws(APIFailure) -> [Task<Void, Never>] {
        let (wakes, waker) = AsyncStream.makeStream(of: Wake.self)
        let selection = Selection(fields: "type=\(Self.secretType)")
        let secrets = try RegistryFollower(registry: registry, type: .secrets, selection: selection).start { step in
            switch step {
            case .all(let all): for secret in all { waker.yield(.secret(secret.key)) }
            case .changed(let secret): waker.yield(.secret(secret.key))
            case .deleted(let secret): waker.yield(.gone(secret.key))
            }
        }
        let accounts = try RegistryFollower(registry: registry, type: .serviceAccounts).start { step in
            switch step {
            case .all: break
            case .changed(let account), .deleted(let account): waker.yield(.accounts(account.namespace))
            }
        }
        Task {
            await secrets.value
            waker.finish()
        }
        Task {
            var known: Set<ObjectKey> = []
            for await wake in wakes {
                switch wake {
                case .secret(let key):
                    known.insert(key)
                    await settle(key)
                case .gone(let key): known.remove(key)
                case .accounts(let namespace):
                    for key in known where key.namespace == namespace { await settle(key) }
                }
            }
        }
        return [secrets, accounts]
    }

    private func settle(_ key: ObjectKey) async {
        do throws(APIFailure) {
            try await write(key)
        } catch {
            if !error.isNotFound, !error.isConflict { registry.logger.warning("token secret \(key): \(error)") }
        }
    }

    private func write(_ key: ObjectKey) async throws(APIFailure) {
        let definition = try registry.definition(of: .secrets)
        let secret = try registry.get(definition, key)
        let context = WriteContext(user: .apiServer)
        guard let name = secret.annotations[Self.accountName], !name.isEmpty else { return }
        let place = ObjectKey(namespace: key.namespace, name: name)
        let account = try? registry.get(try registry.definition(of: .serviceAccounts), place)
        let uid = secret.annotations[Self.accountUID] ?? ""
        guard let account, uid.isEmpty || uid == account.uid else {
            // One that never had its account may get it yet; the other kind's account is gone.
            if !uid.isEmpty { _ = try await registry.delete(definition, key, DeleteOptions(uid: secret.uid), context) }
            return
        }
        let data = secret.json["data"]
        if !uid.isEmpty, data?["token"] != nil, data?["ca.crt"] != nil, data?["namespace"] != nil { return }
        let token = try tokens.legacyToken(account, secret: key.name)
        let root = Base64.encode(rootCertificate)
        _ = try await registry.change(definition, key, context) { old throws(APIFailure) in
            var fresh = old
            fresh.annotations[Self.accountUID] = account.uid
            if old.json["data"]?["token"] == nil {
                fresh.json[path: ["data", "token"]] = .string(Base64.encode(Array(token.utf8)))
            }
            fresh.json[path: ["data", "ca.crt"]] = .string(root)
            fresh.json[path: ["data", "namespace"]] = .string(Base64.encode(Array(key.namespace.utf8)))
            return fresh
        }
    }
}
