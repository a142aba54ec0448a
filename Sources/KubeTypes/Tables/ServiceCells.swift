import Wire

extension Cells {
    func service() -> [String: JSON] {
        let type = spec["type"]?.string ?? "ClusterIP"
        let ports = spec.list("ports").map { port in
            let node = port["nodePort"]?.int ?? 0
            return "\(port["port"]?.int ?? 0)\(node > 0 ? ":\(node)" : "")/\(port["protocol"]?.string ?? "TCP")"
        }
        return [
            "Type": .string(type), "Cluster-IP": text("spec", "clusterIP"), "External-IP": externalAddress(type),
            "Port(s)": Self.joined(ports),
            "Selector": Self.labels(spec["selector"]),
        ]
    }

    private func externalAddress(_ type: String) -> JSON {
        let own = spec.list("externalIPs").compactMap(\.string)
        switch type {
        case "ExternalName": return text("spec", "externalName")
        case "LoadBalancer":
            let given = (status["loadBalancer"]?.list("ingress") ?? []).compactMap {
                $0["ip"]?.string ?? $0["hostname"]?.string
            }
            let all = given + own
            return all.isEmpty ? "<pending>" : .string(all.joined(separator: ","))
        default: return Self.joined(own)
        }
    }

    /// At most three, then how many more.
    private static func short(_ entries: [String]) -> JSON {
        if entries.isEmpty { return none }
        let shown = entries.prefix(3).joined(separator: ",")
        return .string(entries.count > 3 ? "\(shown) + \(entries.count - 3) more..." : shown)
    }

    func endpoints() -> JSON {
        var entries: [String] = []
        for subset in object.json.list("subsets") {
            let ports = subset.list("ports")
            for address in subset.list("addresses") {
                let ip = address["ip"]?.string ?? ""
                let host = ip.contains(":") ? "[\(ip)]" : ip
                entries += ports.isEmpty ? [ip] : ports.map { "\(host):\($0["port"]?.int ?? 0)" }
            }
        }
        return Self.short(entries)
    }

    func endpointSlice() -> [String: JSON] {
        let ports = object.json.list("ports").map { $0["port"]?.int.map(String.init) ?? "*" }
        let addresses = object.json.list("endpoints").flatMap { $0.list("addresses").compactMap(\.string) }
        return [
            "AddressType": text("addressType"), "Ports": ports.isEmpty ? "<unset>" : Self.short(ports),
            "Endpoints": addresses.isEmpty ? "<unset>" : Self.short(addresses),
        ]
    }

    func ingress() -> [String: JSON] {
        let hosts = spec.list("rules").compactMap { $0["host"]?.string }.filter { !$0.isEmpty }
        let addresses = (status["loadBalancer"]?.list("ingress") ?? []).compactMap {
            $0["ip"]?.string ?? $0["hostname"]?.string
        }
        let shown =
            hosts.count > 3
            ? hosts.prefix(3).joined(separator: ",") + " + \(hosts.count - 3) more..." : hosts.joined(separator: ",")
        return [
            "Class": text("spec", "ingressClassName"), "Hosts": hosts.isEmpty ? "*" : .string(shown),
            "Address": .string(addresses.joined(separator: ",")), "Ports": spec.list("tls").isEmpty ? "80" : "80, 443",
        ]
    }
}
