import Kernel
import KubeTypes
import Wire

extension DNSZone {
    /// The records of a service (specification §2.3 for an address of its own, §2.4 headless, §2.5 external name).
    func records(of service: ServiceModel, _ slices: [SliceModel]) -> Set<DNSEntry> {
        guard let name = name(of: service.key, under: "svc") else { return [] }
        switch service.kind {
        case .externalName(let target):
            guard let target = DNSName(target), !target.isRoot else { return [] }
            return [DNSEntry(name, .cname(target))]
        case .clusterIP: return clusterRecords(service, name)
        case .headless: return headlessRecords(service, slices, name)
        }
    }

    /// `10-244-1-5.demo.pod.cluster.local`, and the way back.
    func records(ofPod key: ObjectKey, _ addresses: [IPv4Address]) -> Set<DNSEntry> {
        var entries: Set<DNSEntry> = []
        for address in addresses {
            let dashed = ObjectKey(namespace: key.namespace, name: Self.dashed(address))
            guard let name = name(of: dashed, under: "pod") else { continue }
            entries.insert(DNSEntry(name, .a(address.bits)))
            if let reverse = Self.reverseName(address) { entries.insert(DNSEntry(reverse, .ptr(name))) }
        }
        return entries
    }

    private func clusterRecords(_ service: ServiceModel, _ name: DNSName) -> Set<DNSEntry> {
        var entries: Set<DNSEntry> = []
        for address in service.clusterAddresses {
            entries.insert(DNSEntry(name, .a(address.bits)))
            if let reverse = Self.reverseName(address) { entries.insert(DNSEntry(reverse, .ptr(name))) }
        }
        for address in service.clusterAddresses6 { entries.insert(DNSEntry(name, .aaaa(address))) }
        if entries.isEmpty { return [] }  // no address yet
        for port in service.ports {
            guard let owner = Self.portName(port.name, port.transport, name) else { continue }
            entries.insert(DNSEntry(owner, .srv(DNSService(weight: 100, port: port.port, target: name))))
        }
        return entries
    }

    private func headlessRecords(_ service: ServiceModel, _ slices: [SliceModel], _ name: DNSName) -> Set<DNSEntry> {
        var entries: Set<DNSEntry> = []
        var owners: [DNSName: Set<DNSService>] = [:]  // whom each named port leads to
        for slice in slices {
            for endpoint in slice.endpoints where endpoint.isReady || service.publishesNotReady {
                guard let data = Self.addressData(endpoint), let host = name.child(Self.label(of: endpoint)) else {
                    continue
                }
                entries.insert(DNSEntry(name, data))
                entries.insert(DNSEntry(host, data))
                if let address = endpoint.address, let reverse = Self.reverseName(address) {
                    entries.insert(DNSEntry(reverse, .ptr(host)))
                }
                for port in slice.ports {
                    guard let owner = Self.portName(port.name, port.transport, name) else { continue }
                    owners[owner, default: []].insert(DNSService(weight: 0, port: port.port, target: host))
                }
            }
        }
        for (owner, services) in owners {
            for service in services {
                var weighted = service
                weighted.weight = UInt16(max(1, 100 / services.count))
                entries.insert(DNSEntry(owner, .srv(weighted)))
            }
        }
        return entries
    }

    private func name(of key: ObjectKey, under kind: String) -> DNSName? {
        domain.child(kind)?.child(key.namespace)?.child(key.name)
    }

    /// `_http._tcp.` before the service's name; unnamed ports have none.
    private static func portName(_ port: String, _ transport: Transport, _ service: DNSName) -> DNSName? {
        port.isEmpty ? nil : service.child("_\(transport.lowercased)")?.child("_\(port)")
    }

    private static func addressData(_ endpoint: SliceModel.Endpoint) -> DNSData? {
        if let address = endpoint.address { return .a(address.bits) }
        return endpoint.address6.map(DNSData.aaaa)
    }

    /// The endpoint's own name below its service's: the hostname, else its address.
    private static func label(of endpoint: SliceModel.Endpoint) -> String {
        if let hostname = endpoint.hostname { return hostname }
        if let address = endpoint.address { return dashed(address) }
        let groups = stride(from: 0, to: endpoint.address6?.count ?? 0, by: 2).map { index -> String in
            let bytes = endpoint.address6 ?? []
            return String(Int(bytes[index]) << 8 | Int(bytes[index + 1]), radix: 16)
        }
        return groups.joined(separator: "-")
    }

    private static func dashed(_ address: IPv4Address) -> String {
        address.octets.map(String.init).joined(separator: "-")
    }

    static func reverseName(_ address: IPv4Address) -> DNSName? {
        DNSName((address.octets.reversed().map(String.init) + ["in-addr", "arpa"]).joined(separator: "."))
    }
}
