import KubeTypes
import Wire

/// `<SERVICE>_SERVICE_HOST` and its kin, for programs from before DNS.
enum ServiceVariables {
    static func variables(for services: [KubeObject]) -> [Environment.Variable] {
        var variables: [Environment.Variable] = []
        for service in services.sorted(by: { $0.name < $1.name }) {
            guard let address = service.spec["clusterIP"]?.string, !address.isEmpty, address != "None" else { continue }
            let prefix = service.name.uppercased().replacingDashes
            let ports = service.spec["ports"]?.array ?? []
            guard let first = ports.first?["port"]?.int else { continue }
            variables.append((prefix + "_SERVICE_HOST", address))
            variables.append((prefix + "_SERVICE_PORT", String(first)))
            for port in ports {
                guard let name = port["name"]?.string, !name.isEmpty, let number = port["port"]?.int else { continue }
                variables.append((prefix + "_SERVICE_PORT_" + name.uppercased().replacingDashes, String(number)))
            }
            for (place, port) in ports.enumerated() {
                guard let number = port["port"]?.int else { continue }
                let transport = (port["protocol"]?.string ?? "TCP").lowercased()
                let url = "\(transport)://\(address):\(number)"
                if place == 0 { variables.append((prefix + "_PORT", url)) }
                let base = "\(prefix)_PORT_\(number)_\(transport.uppercased())"
                variables.append((base, url))
                variables.append((base + "_PROTO", transport))
                variables.append((base + "_PORT", String(number)))
                variables.append((base + "_ADDR", address))
            }
        }
        return variables
    }
}

extension String {
    fileprivate var replacingDashes: String { String(map { $0 == "-" ? "_" : $0 }) }
}
