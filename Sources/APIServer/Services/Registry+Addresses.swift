import KubeTypes
import Wire

extension Registry {
    /// Gives a service what its type needs and it has not: a cluster address, node ports. Asked ones are honoured when free.
    ///
    /// - Returns: what was claimed, to be given up when the write fails.
    func claimAddresses(
        for service: inout KubeObject, old: KubeObject?, _ type: ResourceType, isDryRun: Bool
    ) async throws(APIFailure) -> [KeptClaim] {
        guard type == .services else { return [] }
        if old == nil { service = try AddressFamilies(service: service, old: nil).settled() }
        var assignment = AddressAssignment(
            service: service, old: old, claims: ServiceClaims(registry: self), range: serviceRange, isDryRun: isDryRun)
        do throws(APIFailure) {
            try await assignment.assignAddress()
            try await assignment.assignPorts()
            try await assignment.assignHealthPort()
        } catch {
            await assignment.claims.giveUp(assignment.taken)
            throw error
        }
        service = assignment.service
        return assignment.taken
    }

    /// - Parameter failure: why the write of the service failed. Where that leaves open whether it is stored, its claims stay;
    ///   `ClaimRepair` gives them up when there is no such service.
    func giveUp(_ claims: [KeptClaim], after failure: APIFailure? = nil) async {
        if claims.isEmpty { return }
        if let failure, failure.code >= 500, failure.code != 507 { return }
        await ServiceClaims(registry: self).giveUp(claims)
    }

    func releaseAddresses(_ old: KubeObject, keeping new: KubeObject?, _ type: ResourceType) async {
        guard type == .services else { return }
        await ServiceClaims(registry: self).release(old, keeping: new, serviceRange)
    }
}

/// One service on its way into the store, with what was claimed for it so far.
private struct AddressAssignment {
    var service: KubeObject
    let old: KubeObject?
    let claims: ServiceClaims
    let range: ServiceRange
    let isDryRun: Bool
    private(set) var taken: [KeptClaim] = []
    /// In a dry run nothing is kept.
    private var seen: Set<ServiceClaim> = []

    init(service: KubeObject, old: KubeObject?, claims: ServiceClaims, range: ServiceRange, isDryRun: Bool) {
        self.service = service
        self.old = old
        self.claims = claims
        self.range = range
        self.isDryRun = isDryRun
    }

    private mutating func take(_ claim: ServiceClaim) async throws(APIFailure) -> Bool {
        if isDryRun { return claims.isFree(claim) && seen.insert(claim).inserted }
        guard let made = try await claims.take(claim, for: service.key) else { return false }
        taken.append(made)
        return true
    }

    /// The same for one that was asked for, which may be left over from an attempt that ended between the claim and the service.
    private mutating func takeAsked(_ claim: ServiceClaim) async throws(APIFailure) -> Bool {
        if try await take(claim) { return true }
        return old == nil && claims.kept(claim)?.owner == service.key
    }

    mutating func assignAddress() async throws(APIFailure) {
        let kind = service.spec["type"]?.string ?? "ClusterIP"
        let asked = service.spec["clusterIP"]?.string ?? ""
        if kind == "ExternalName" {
            service.json[path: ["spec", "clusterIP"]] = nil
            service.json[path: ["spec", "clusterIPs"]] = nil
            return
        }
        if asked == "None" {
            service.json[path: ["spec", "clusterIPs"]] = ["None"]
            return
        }
        let before = old?.spec["clusterIP"]?.string ?? ""
        if !before.isEmpty, old?.spec["type"]?.string != "ExternalName" {
            guard asked.isEmpty || asked == before else {
                throw .invalid(
                    .services, service.name,
                    [FieldFault(.invalid, "spec.clusterIPs[0]", value: [.string(asked)], "may not change once set")])
            }
            set(before)
            return
        }
        if asked.isEmpty {
            for address in range.candidates where claims.isFree(.address(address)) {
                if try await take(.address(address)) {
                    set(ServiceRange.text(address))
                    return
                }
            }
            throw .internalError("failed to allocate a serviceIP for \(service.name): range \(range.text) is full")
        }
        guard let address = ServiceRange.address(asked), range.contains(address) else {
            throw refusal(
                asked, "the provided IP is not in the valid range; the range of valid IPs is \(range.text)")
        }
        guard try await takeAsked(.address(address)) else {
            throw refusal(asked, "the provided IP is already allocated")
        }
        set(asked)
    }

    private func refusal(_ asked: String, _ why: String) -> APIFailure {
        .invalid(
            .services, service.name,
            [FieldFault(.invalid, "spec.clusterIPs", value: [.string(asked)], "failed to allocate IP \(asked): \(why)")]
        )
    }

    private mutating func set(_ address: String) {
        service.json[path: ["spec", "clusterIP"]] = .string(address)
        service.json[path: ["spec", "clusterIPs"]] = [.string(address)]
    }

    mutating func assignPorts() async throws(APIFailure) {
        let kind = service.spec["type"]?.string ?? "ClusterIP"
        guard var ports = service.spec["ports"]?.array else { return }
        let needsPorts =
            kind == "NodePort" || kind == "LoadBalancer" && service.spec["allocateLoadBalancerNodePorts"]?.bool != false
        var own = old.map(ServiceClaim.ports) ?? []
        for index in ports.indices {
            let asked = ports[index]["nodePort"]?.int ?? 0
            if kind != "NodePort", kind != "LoadBalancer" {
                ports[index]["nodePort"] = nil
                continue
            }
            if asked != 0 {
                if own.contains(asked) { continue }
                try await takePort(asked, "spec.ports[\(index)].nodePort")
                own.insert(asked)
            } else if needsPorts {
                let port: Int
                if let kept = Self.samePort(ports[index], in: old) { port = kept } else { port = try await freePort() }
                own.insert(port)
                ports[index]["nodePort"] = .int(Int64(port))
            }
        }
        service.json[path: ["spec", "ports"]] = .array(ports)
    }

    /// The port on which load balancers ask a node whether it has endpoints of the service.
    mutating func assignHealthPort() async throws(APIFailure) {
        guard ServiceFields.needsHealthCheck(service.spec) else {
            service.json[path: ["spec", "healthCheckNodePort"]] = nil
            return
        }
        let asked = service.spec["healthCheckNodePort"]?.int ?? 0
        if asked == 0 {
            service.json[path: ["spec", "healthCheckNodePort"]] = .int(Int64(try await freePort()))
            return
        }
        if let old, ServiceFields.needsHealthCheck(old.spec), old.spec["healthCheckNodePort"]?.int == asked { return }
        // Of the same service, a port that was claimed just now looks like one left over.
        var why: String? = Self.allocated
        if !ServiceClaim.ports(of: service).contains(asked) { why = try await refusal(ofPort: asked) }
        guard let why else { return }
        throw .internalError(
            "Internal error occurred: failed to allocate requested HealthCheck NodePort \(asked): \(why)")
    }

    private mutating func takePort(_ asked: Int, _ path: String) async throws(APIFailure) {
        guard let why = try await refusal(ofPort: asked) else { return }
        throw .invalid(.services, service.name, [FieldFault(.invalid, path, value: .int(Int64(asked)), why)])
    }

    private static let allocated = "provided port is already allocated"

    /// Takes a port somebody asked for.
    /// - Returns: why it could not be had.
    private mutating func refusal(ofPort asked: Int) async throws(APIFailure) -> String? {
        guard range.nodePorts.contains(asked) else {
            let bounds = "\(range.nodePorts.lowerBound)-\(range.nodePorts.upperBound)"
            return "provided port is not in the valid range. The range of valid ports is \(bounds)"
        }
        return try await takeAsked(.port(asked)) ? nil : Self.allocated
    }

    /// The node port the same service port had before.
    private static func samePort(_ port: JSON, in old: KubeObject?) -> Int? {
        let before = old?.spec["ports"]?.array?.first {
            $0["port"] == port["port"] && ($0["protocol"]?.string ?? "TCP") == (port["protocol"]?.string ?? "TCP")
        }
        return before?["nodePort"]?.int
    }

    private mutating func freePort() async throws(APIFailure) -> Int {
        for port in range.portCandidates where claims.isFree(.port(port)) {
            if try await take(.port(port)) { return port }
        }
        throw .internalError(
            "failed to allocate a nodePort for \(service.name): all of \(range.nodePorts) are taken")
    }
}
