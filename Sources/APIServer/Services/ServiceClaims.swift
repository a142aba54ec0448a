import KubeClient
import KubeTypes
import Logging
import Store
import Wire

/// What a service may claim for itself alone in the cluster.
enum ServiceClaim: Sendable, Hashable {
    case address(UInt32)
    case port(Int)

    /// What a stored service has claimed.
    static func all(of service: KubeObject, in range: ServiceRange) -> Set<ServiceClaim> {
        var found: Set<ServiceClaim> = []
        if let address = service.spec["clusterIP"]?.string.flatMap(ServiceRange.address), range.contains(address) {
            found.insert(.address(address))
        }
        for port in ports(of: service) { found.insert(.port(port)) }
        if ServiceFields.needsHealthCheck(service.spec), let port = service.spec["healthCheckNodePort"]?.int, port > 0 {
            found.insert(.port(port))
        }
        return found
    }

    static func ports(of service: KubeObject) -> Set<Int> {
        Set((service.spec["ports"]?.array ?? []).compactMap { $0["nodePort"]?.int }.filter { $0 > 0 })
    }
}

/// A claim as the store keeps it.
struct KeptClaim: Sendable {
    let key: String
    let revision: Int64
    /// The service it is of.
    let owner: ObjectKey
}

/// Claims in the store: a key each, made only where it is not there, so that of all servers that share the store one gets it.
///
/// An address is an IPAddress, which users can see, as in Kubernetes (KEP-1880); a port is a key of our own.
struct ServiceClaims: Sendable {
    static let addressType = ResourceType(
        group: "networking.k8s.io", version: "v1", resource: "ipaddresses", kind: "IPAddress", isNamespaced: false)
    static let portScope = "/registry/ranges/servicenodeports/"
    static let addressScope = StorageKey.scope(addressType)
    /// Kubernetes' mark of those IPAddresses that are made, and taken away, by the server.
    private static let maker = (label: "ipaddress.kubernetes.io/managed-by", value: "ipallocator.k8s.io")

    let registry: Registry

    static func key(_ claim: ServiceClaim) -> String {
        switch claim {
        case .address(let address): addressScope + ServiceRange.text(address)
        case .port(let port): portScope + String(port)
        }
    }

    func isFree(_ claim: ServiceClaim) -> Bool { registry.store.get(Self.key(claim)) == nil }

    /// - Returns: `nil` for none, or for an IPAddress that a user made.
    func kept(_ claim: ServiceClaim) -> KeptClaim? { registry.store.get(Self.key(claim)).flatMap(kept) }

    func kept(_ record: Record) -> KeptClaim? {
        guard let json = try? JSON(parsing: registry.plainValue(record)) else { return nil }
        let owner: JSON?
        if record.key.hasPrefix(Self.portScope) {
            owner = json["service"]
        } else {
            guard json[path: ["metadata", "labels"]]?[Self.maker.label]?.string == Self.maker.value else { return nil }
            owner = json[path: ["spec", "parentRef"]]
        }
        let key = ObjectKey(namespace: owner?["namespace"]?.string ?? "", name: owner?["name"]?.string ?? "")
        return KeptClaim(key: record.key, revision: record.revision, owner: key)
    }

    /// - Returns: `nil` when another has it.
    func take(_ claim: ServiceClaim, for owner: ObjectKey) async throws(APIFailure) -> KeptClaim? {
        if !isFree(claim) { return nil }
        do throws(APIFailure) {
            let revision: Int64
            switch claim {
            case .address(let address): revision = try await makeAddress(ServiceRange.text(address), owner)
            case .port: revision = try await makePort(Self.key(claim), owner)
            }
            return KeptClaim(key: Self.key(claim), revision: revision, owner: owner)
        } catch {
            if error.alreadyExists { return nil }
            throw error
        }
    }

    private func makeAddress(_ name: String, _ owner: ObjectKey) async throws(APIFailure) -> Int64 {
        var address = KubeObject(apiVersion: "networking.k8s.io/v1", kind: "IPAddress", name: name)
        address.labels = ["ipaddress.kubernetes.io/ip-family": "IPv4", Self.maker.label: Self.maker.value]
        address.json["spec"] = [
            "parentRef": [
                "group": "", "resource": "services", "namespace": .string(owner.namespace),
                "name": .string(owner.name),
            ]
        ]
        var context = WriteContext(user: .apiServer)
        context.isAdmitted = true
        let made = try await registry.create(
            try registry.definition(of: Self.addressType), namespace: "", address, context)
        return Int64(made.resourceVersion) ?? 0
    }

    private func makePort(_ key: String, _ owner: ObjectKey) async throws(APIFailure) -> Int64 {
        let value: JSON = ["service": ["namespace": .string(owner.namespace), "name": .string(owner.name)]]
        do throws(StoreFailure) {
            return try await registry.store.create(key, value.bytes).revision
        } catch {
            throw registry.failure(error, .services, owner.name)
        }
    }

    /// Gives up what a write that failed has taken, or a service has no more. What cannot be given up now is found by `ClaimRepair`.
    func giveUp(_ claims: [KeptClaim]) async {
        for claim in claims {
            do throws(StoreFailure) {
                _ = try await registry.store.delete(claim.key, .revision(claim.revision))
            } catch {
                registry.logger.debug(
                    "a claim stays for now", metadata: ["key": "\(claim.key)", "reason": "\(error)"])
            }
        }
    }

    /// Gives up what a service had and has no more.
    func release(_ old: KubeObject, keeping new: KubeObject?, _ range: ServiceRange) async {
        let kept = new.map { ServiceClaim.all(of: $0, in: range) } ?? []
        let gone = ServiceClaim.all(of: old, in: range).subtracting(kept)
        if !gone.isEmpty { await giveUp(gone.compactMap { self.kept($0) }.filter { $0.owner == old.key }) }
    }
}
