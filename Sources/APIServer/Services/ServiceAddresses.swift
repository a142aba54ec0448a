import KubeTypes
import Synchronization
import Wire

/// The service addresses and node ports that are taken. What is stored in services is the truth; this is its index.
final class ServiceAddresses: Sendable {
    /// What one write took, to be given back when it fails.
    struct Lease: Sendable {
        var address: UInt32?
        var ports: [Int] = []
    }

    private struct State {
        var addresses: Set<UInt32> = []
        var ports: Set<Int> = []
        var next: UInt32 = 0
    }

    private let base: UInt32
    private let size: UInt32
    private let reserved: Set<UInt32>
    private let nodePorts: ClosedRange<Int>
    private let range: String
    private let state: Mutex<State>

    /// `range`: `10.96.0.0/16`.
    /// `reserved`: addresses given only to those who ask for them by name: the API's and the DNS's.
    init(range: String, reserved: [String], nodePorts: ClosedRange<Int> = 30000...32767) throws(APIFailure) {
        let parts = range.split(separator: "/")
        guard parts.count == 2, let base = Self.address(String(parts[0])), let bits = Int(parts[1]),
            (8...30).contains(bits)
        else {
            throw .internalError("service range \(range) is not an IPv4 range such as 10.96.0.0/16")
        }
        self.range = range
        self.base = base
        size = 1 << UInt32(32 - bits)
        self.reserved = Set(reserved.compactMap(Self.address))
        self.nodePorts = nodePorts
        state = Mutex(State(next: UInt32.random(in: 0..<size)))
    }

    /// Learns what stored services have.
    func adopt(_ services: [KubeObject]) {
        state.withLock { state in
            for service in services {
                if let address = Self.clusterAddress(service) { state.addresses.insert(address) }
                state.ports.formUnion(Self.nodePorts(service))
            }
        }
    }

    /// Gives a service what its type needs and it has not: a cluster address, node ports. Asked ones are honoured when free.
    func assign(
        _ service: inout KubeObject, old: KubeObject?, _ type: ResourceType, isDryRun: Bool
    ) throws(APIFailure) -> Lease {
        guard type == .services else { return Lease() }
        var lease = Lease()
        do throws(APIFailure) {
            try assignAddress(&service, old: old, &lease)
            try assignPorts(&service, old: old, &lease)
        } catch {
            giveBack(lease)
            throw error
        }
        if isDryRun {
            giveBack(lease)
            return Lease()
        }
        return lease
    }

    private func assignAddress(_ service: inout KubeObject, old: KubeObject?, _ lease: inout Lease) throws(APIFailure) {
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
            set(before, in: &service)
            return
        }
        if asked.isEmpty {
            let address = try free(service.name)
            lease.address = address
            set(Self.text(address), in: &service)
            return
        }
        guard let address = Self.address(asked), address > base, address < base + size - 1 else {
            throw refusal(
                service, asked, "the provided IP is not in the valid range; the range of valid IPs is \(range)")
        }
        guard state.withLock({ $0.addresses.insert(address).inserted }) else {
            throw refusal(service, asked, "the provided IP is already allocated")
        }
        lease.address = address
        set(asked, in: &service)
    }

    private func refusal(_ service: KubeObject, _ asked: String, _ why: String) -> APIFailure {
        .invalid(
            .services, service.name,
            [FieldFault(.invalid, "spec.clusterIPs", value: [.string(asked)], "failed to allocate IP \(asked): \(why)")]
        )
    }

    private func set(_ address: String, in service: inout KubeObject) {
        service.json[path: ["spec", "clusterIP"]] = .string(address)
        service.json[path: ["spec", "clusterIPs"]] = [.string(address)]
    }

    private func free(_ name: String) throws(APIFailure) -> UInt32 {
        let found = state.withLock { state -> UInt32? in
            for _ in 0..<size {
                state.next = (state.next &+ 1) % size
                let address = base + state.next
                if state.next == 0 || state.next == size - 1 || reserved.contains(address) { continue }
                if state.addresses.insert(address).inserted { return address }
            }
            return nil
        }
        if let found { return found }
        throw .internalError("failed to allocate a serviceIP for \(name): range \(range) is full")
    }

    private func assignPorts(_ service: inout KubeObject, old: KubeObject?, _ lease: inout Lease) throws(APIFailure) {
        let kind = service.spec["type"]?.string ?? "ClusterIP"
        guard var ports = service.spec["ports"]?.array else { return }
        let needsPorts =
            kind == "NodePort" || kind == "LoadBalancer" && service.spec["allocateLoadBalancerNodePorts"]?.bool != false
        let own = old.map(Self.nodePorts) ?? []
        for index in ports.indices {
            let asked = ports[index]["nodePort"]?.int ?? 0
            if kind != "NodePort", kind != "LoadBalancer" {
                ports[index]["nodePort"] = nil
                continue
            }
            if asked != 0 {
                if own.contains(asked) || lease.ports.contains(asked) { continue }
                let path = "spec.ports[\(index)].nodePort"
                guard nodePorts.contains(asked) else {
                    let text =
                        "provided port is not in the valid range. The range of valid ports is \(nodePorts.lowerBound)-\(nodePorts.upperBound)"
                    throw .invalid(
                        .services, service.name, [FieldFault(.invalid, path, value: .int(Int64(asked)), text)])
                }
                guard state.withLock({ $0.ports.insert(asked).inserted }) else {
                    throw .invalid(
                        .services, service.name,
                        [FieldFault(.invalid, path, value: .int(Int64(asked)), "provided port is already allocated")])
                }
                lease.ports.append(asked)
            } else if needsPorts {
                let kept = Self.samePort(ports[index], in: old)
                let port: Int
                if let kept { port = kept } else { port = try freePort(service.name) }
                if kept == nil { lease.ports.append(port) }
                ports[index]["nodePort"] = .int(Int64(port))
            }
        }
        service.json[path: ["spec", "ports"]] = .array(ports)
    }

    /// The node port the same service port had before.
    private static func samePort(_ port: JSON, in old: KubeObject?) -> Int? {
        let before = old?.spec["ports"]?.array?.first {
            $0["port"] == port["port"] && ($0["protocol"]?.string ?? "TCP") == (port["protocol"]?.string ?? "TCP")
        }
        return before?["nodePort"]?.int
    }

    private func freePort(_ name: String) throws(APIFailure) -> Int {
        let found = state.withLock { state -> Int? in
            let start = Int.random(in: nodePorts)
            for offset in 0..<nodePorts.count {
                let port = nodePorts.lowerBound + (start - nodePorts.lowerBound + offset) % nodePorts.count
                if state.ports.insert(port).inserted { return port }
            }
            return nil
        }
        if let found { return found }
        throw .internalError("failed to allocate a nodePort for \(name): all of \(nodePorts) are taken")
    }

    func giveBack(_ lease: Lease) {
        if lease.address == nil, lease.ports.isEmpty { return }
        state.withLock { state in
            if let address = lease.address { state.addresses.remove(address) }
            state.ports.subtract(lease.ports)
        }
    }

    /// Frees what a service had and has no more.
    func release(_ old: KubeObject, keeping new: KubeObject?, _ type: ResourceType) {
        guard type == .services else { return }
        state.withLock { state in
            if let address = Self.clusterAddress(old), new.flatMap(Self.clusterAddress) != address {
                state.addresses.remove(address)
            }
            state.ports.subtract(Self.nodePorts(old).subtracting(new.map(Self.nodePorts) ?? []))
        }
    }

    private static func clusterAddress(_ service: KubeObject) -> UInt32? {
        service.spec["clusterIP"]?.string.flatMap(address)
    }

    private static func nodePorts(_ service: KubeObject) -> Set<Int> {
        Set((service.spec["ports"]?.array ?? []).compactMap { $0["nodePort"]?.int }.filter { $0 > 0 })
    }

    static func address(_ text: String) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part) else { return nil }
            value = value << 8 | UInt32(byte)
        }
        return value
    }

    static func text(_ address: UInt32) -> String {
        "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
    }
}
