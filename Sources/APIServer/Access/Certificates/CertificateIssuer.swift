import KubeClient
import KubeTypes
import Logging
import TLS
import Wire

/// Approves the requests of nodes for their own client certificates, and signs what is approved for the signers of the cluster's
/// authority.
struct CertificateIssuer: Sendable {
    let registry: Registry
    let authorizer: any Authorizer
    let authority: CertificateAuthority

    /// - Returns: what ends it when cancelled.
    func start() throws(APIFailure) -> [Task<Void, Never>] {
        let (keys, feed) = AsyncStream.makeStream(of: ObjectKey.self)
        let follower = try RegistryFollower(registry: registry, type: .certificateSigningRequests).start { step in
            switch step {
            case .all(let all): for request in all { feed.yield(request.key) }
            case .changed(let request): feed.yield(request.key)
            case .deleted: break
            }
        }
        Task {
            await follower.value
            feed.finish()
        }
        Task {
            for await key in keys {
                do throws(APIFailure) { try await settle(key) } catch {
                    if !error.isNotFound, !error.isConflict {
                        registry.logger.warning("certificate request \(key.name): \(error)")
                    }
                }
            }
        }
        Task { await clean(until: follower) }
        return [follower]
    }

    private func settle(_ key: ObjectKey) async throws(APIFailure) {
        let definition = try registry.definition(of: .certificateSigningRequests)
        let object = try registry.get(definition, key)
        let conditions = object.status["conditions"]?.array ?? []
        let types = Set(conditions.compactMap { $0["type"]?.string })
        if types.contains("Denied") || types.contains("Failed") { return }
        guard let signer = CertificateSigner(rawValue: object.spec["signerName"]?.string ?? "") else { return }
        guard let pem = object.spec["request"]?.string.flatMap(Base64.decode),
            let request = try? SigningRequest(pem: pem)
        else { return }
        if !types.contains("Approved") {
            guard approves(object, signer, request) else { return }
            try await write(key, "approval") { object in
                object.appendCondition(
                    "Approved", reason: "AutoApproved",
                    message: "Auto approving kubelet client certificate after SubjectAccessReview.")
            }
            return
        }
        guard object.status["certificate"]?.string?.isEmpty ?? true else { return }
        try await sign(object, signer, request)
    }

    /// Whether the requester's roles let it have a node's certificate: its own to renew, or any.
    private func approves(_ object: KubeObject, _ signer: CertificateSigner, _ request: SigningRequest) -> Bool {
        let spec = object.spec
        let usages = spec["usages"]?.array?.compactMap(\.string) ?? []
        let name = spec["username"]?.string ?? ""
        guard signer == .kubeletClient, signer.objection(request, usages: usages, username: name) == nil else {
            return false
        }
        let user = User(
            name: name, uid: spec["uid"]?.string ?? "", groups: spec["groups"]?.array?.compactMap(\.string) ?? [],
            extra: User.extra(spec["extra"]))
        let kinds = request.commonName == name ? ["selfnodeclient", "nodeclient"] : ["nodeclient"]
        return kinds.contains { kind in
            authorizer.allows(Attempt(user, "create", .certificateSigningRequests, subresource: kind))
        }
    }

    private func sign(_ object: KubeObject, _ signer: CertificateSigner, _ request: SigningRequest)
        async throws(APIFailure)
    {
        let usages = object.spec["usages"]?.array?.compactMap(\.string) ?? []
        let name = object.spec["username"]?.string ?? ""
        if let why = signer.objection(request, usages: usages, username: name) {
            try await write(object.key, "status") { object in
                object.appendCondition("Failed", reason: "SignerValidationFailure", message: why)
            }
            return
        }
        let pem: [UInt8]
        do throws(TLSFailure) {
            let lifetime = object.spec["expirationSeconds"]?.int.map(Int64.init)
            let now = Timestamp.now().seconds
            let made = try signer.certificate(request, usages: usages, lifetime: lifetime, by: authority, now: now)
            pem = try made.pem()
        } catch {
            throw .internalError("signing: \(error)")
        }
        try await write(object.key, "status") { object in
            object.json[path: ["status", "certificate"]] = .string(Base64.encode(pem))
        }
    }

    private func write(
        _ key: ObjectKey, _ subresource: String, _ change: @Sendable (inout KubeObject) -> Void
    ) async throws(APIFailure) {
        let definition = try registry.definition(of: .certificateSigningRequests)
        let context = WriteContext(user: .apiServer)
        _ = try await registry.change(definition, key, subresource: subresource, context) { old throws(APIFailure) in
            var fresh = old
            change(&fresh)
            return fresh
        }
    }

    // MARK: Cleaning

    /// Old requests go: decided ones after an hour, those nobody answered after a day.
    private func clean(until follower: Task<Void, Never>) async {
        let cleaning = Task {
            while (try? await Task.sleep(for: .seconds(600))) != nil {
                guard let definition = try? registry.definition(of: .certificateSigningRequests),
                    let all = try? registry.list(definition, namespace: "", .all).items
                else { continue }
                for object in all where Self.isOld(object, now: Timestamp.now()) {
                    let options = DeleteOptions(uid: object.uid)
                    _ = try? await registry.delete(definition, object.key, options, WriteContext(user: .apiServer))
                }
            }
        }
        await follower.value
        cleaning.cancel()
    }

    static func isOld(_ object: KubeObject, now: Timestamp) -> Bool {
        guard let made = object.creationTimestamp.flatMap({ Timestamp($0) }) else { return false }
        var since = made
        let conditions = object.status["conditions"]?.array ?? []
        for condition in conditions {
            if let time = condition["lastUpdateTime"].flatMap(Timestamp.init(json:)), time > since { since = time }
        }
        return now - since > (conditions.isEmpty ? .seconds(86400) : .seconds(3600))
    }
}

extension KubeObject {
    fileprivate mutating func appendCondition(_ type: String, reason: String, message: String) {
        let condition: JSON = [
            "type": .string(type), "status": "True", "reason": .string(reason), "message": .string(message),
        ]
        json[path: ["status", "conditions"]] = .array((status["conditions"]?.array ?? []) + [condition])
    }
}
