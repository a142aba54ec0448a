import KubeTypes
import Wire

/// The members of a service that its type has a use for, or not.
///
/// A user who changes the type, or replaces the object as written at first, need not know what the server has given: as in Kubernetes
/// what was given stays where the update says nothing of it, and goes with the type that needs it where the update leaves it alone.
enum ServiceFields {
    /// What an update means, given what is stored.
    static func settle(_ service: inout KubeObject, old: KubeObject) throws(APIFailure) {
        var spec = service.spec
        keep(&spec, old.spec)
        drop(&spec, old.spec)
        service.spec = spec
        service = try AddressFamilies(service: service, old: old).settled()
    }

    static func needsHealthCheck(_ spec: JSON) -> Bool {
        type(spec) == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
    }

    private static func type(_ spec: JSON) -> String { spec["type"]?.string ?? "ClusterIP" }
    private static func needsAddress(_ spec: JSON) -> Bool { type(spec) != "ExternalName" }
    private static func needsNodePorts(_ spec: JSON) -> Bool { ["NodePort", "LoadBalancer"].contains(type(spec)) }
    private static func isExposed(_ spec: JSON) -> Bool {
        needsNodePorts(spec) || type(spec) == "ClusterIP" && spec["externalIPs"]?.array?.isEmpty == false
    }

    private static func keep(_ spec: inout JSON, _ old: JSON) {
        if needsAddress(spec), needsAddress(old) {
            if spec["clusterIP"]?.string ?? "" == "" { spec["clusterIP"] = old["clusterIP"] }
            if spec["clusterIPs"]?.array?.isEmpty ?? true, spec["clusterIP"] == old["clusterIP"] {
                spec["clusterIPs"] = old["clusterIPs"]
            }
        }
        if needsHealthCheck(spec), needsHealthCheck(old), spec["healthCheckNodePort"]?.int ?? 0 == 0 {
            spec["healthCheckNodePort"] = old["healthCheckNodePort"]
        }
        if needsNodePorts(spec), needsNodePorts(old) { keepNodePorts(&spec, old) }
    }

    /// A port is known by its name, whatever else of it changes.
    private static func keepNodePorts(_ spec: inout JSON, _ old: JSON) {
        guard var ports = spec["ports"]?.array, ports.contains(where: { $0["nodePort"]?.int ?? 0 == 0 }) else { return }
        var numbers: [String: Int] = [:]
        for port in old["ports"]?.array ?? [] { numbers[port["name"]?.string ?? ""] = port["nodePort"]?.int }
        var used = Set(ports.compactMap { $0["nodePort"]?.int })
        for place in ports.indices where ports[place]["nodePort"]?.int ?? 0 == 0 {
            guard let number = numbers[ports[place]["name"]?.string ?? ""], number != 0, used.insert(number).inserted
            else { continue }
            ports[place]["nodePort"] = .int(Int64(number))
        }
        spec["ports"] = .array(ports)
    }

    private static func drop(_ spec: inout JSON, _ old: JSON) {
        func leave(_ members: [String], _ isNeeded: (JSON) -> Bool, _ spec: inout JSON) {
            guard isNeeded(old), !isNeeded(spec) else { return }
            for member in members where spec[member] == old[member] { spec[member] = nil }
        }
        if needsAddress(old), !needsAddress(spec), spec["clusterIP"] == old["clusterIP"] {
            spec["clusterIP"] = nil
            spec["clusterIPs"] = nil
        }
        leave(["ipFamilies", "ipFamilyPolicy"], needsAddress, &spec)
        leave(["healthCheckNodePort"], needsHealthCheck, &spec)
        leave(["externalTrafficPolicy"], isExposed, &spec)
        leave(["allocateLoadBalancerNodePorts", "loadBalancerClass"], { type($0) == "LoadBalancer" }, &spec)
        guard needsNodePorts(old), !needsNodePorts(spec), var ports = spec["ports"]?.array else { return }
        let before = old["ports"]?.array ?? []
        guard ports.map({ $0["nodePort"] }) == before.map({ $0["nodePort"] }) else { return }
        for place in ports.indices { ports[place]["nodePort"] = nil }
        spec["ports"] = .array(ports)
    }
}
