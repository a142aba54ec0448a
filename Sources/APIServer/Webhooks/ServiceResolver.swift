import KubeClient
import KubeTypes
import Wire

/// Finds the pods behind a service, as a node's proxy would.
struct ServiceResolver: Sendable {
    let registry: Registry

    func endpoint(_ config: WebhookClientConfig) throws(WebhookFault) -> WebhookEndpoint {
        switch config.server {
        case nil: throw WebhookFault("clientConfig has neither a url nor a service")
        case .url(let text):
            guard let url = WebhookURL(text) else { throw WebhookFault("\(text) is not an https URL") }
            return WebhookEndpoint(
                place: .machine(host: url.host, port: url.port), serverName: url.host, target: url.target,
                trust: config.trust, url: text)
        case .service(let service): return try endpoint(service, trust: config.trust)
        }
    }

    func endpoint(_ service: WebhookClientConfig.Service, trust: [UInt8]) throws(WebhookFault) -> WebhookEndpoint {
        let name = "\(service.name).\(service.namespace).svc"
        let target = service.path.hasPrefix("/") ? service.path : "/" + service.path
        return WebhookEndpoint(
            place: try place(service), serverName: name, target: target, trust: trust,
            url: "https://\(name):\(service.port)\(target)")
    }

    private func place(_ wanted: WebhookClientConfig.Service) throws(WebhookFault) -> WebhookEndpoint.Place {
        let key = ObjectKey(namespace: wanted.namespace, name: wanted.name)
        do throws(APIFailure) {
            let service = try registry.get(try registry.definition(of: .services), key)
            if service.spec["type"] == "ExternalName" {
                return .machine(host: service.spec["externalName"]?.string ?? "", port: wanted.port)
            }
            let ports = service.spec["ports"]?.array ?? []
            guard let port = ports.first(where: { $0["port"]?.int == wanted.port }) else {
                throw APIFailure.badRequest("no service port \(wanted.port) found for service \"\(wanted.name)\"")
            }
            let all = try slices(key)
            guard let chosen = Self.ready(all, portName: port["name"]?.string ?? "").randomElement() else {
                throw APIFailure.badRequest("no endpoints available for service \"\(wanted.name)\"")
            }
            return .cluster(address: chosen.address, port: chosen.port)
        } catch {
            throw WebhookFault(error.message)
        }
    }

    private func slices(_ service: ObjectKey) throws(APIFailure) -> [KubeObject] {
        let selection = Selection(labels: "kubernetes.io/service-name=\(service.name)")
        return try registry.list(
            try registry.definition(of: .endpointSlices), namespace: service.namespace, selection
        ).items
    }

    struct Address: Sendable, Hashable {
        var address: String
        var port: Int
    }

    /// The endpoints that take new connections.
    static func ready(_ slices: [KubeObject], portName: String) -> [Address] {
        var found: [Address] = []
        for slice in slices where slice.json["addressType"] != "FQDN" {
            let ports = slice.json["ports"]?.array ?? []
            let port = ports.first { ($0["name"]?.string ?? "") == portName }
            guard let number = port?["port"]?.int else { continue }
            for endpoint in slice.json["endpoints"]?.array ?? [] where endpoint["conditions"]?["ready"] != false {
                for address in endpoint["addresses"]?.array?.compactMap(\.string) ?? [] {
                    found.append(Address(address: address, port: number))
                }
            }
        }
        return found
    }
}
