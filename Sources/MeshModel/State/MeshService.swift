package import KubeTypes
package import ProxyResources
import Wire

package struct MeshNamespace: Sendable, Hashable {
    package var name: String
    package var labels: [String: String]

    package init(_ object: KubeObject) {
        name = object.name
        labels = object.labels
    }
}

package struct MeshService: Sendable, Hashable {
    package struct Port: Sendable, Hashable {
        package var name: String
        package var port: Int
        package var target: Target
        package var appProtocol: AppProtocol
    }
    package enum Target: Sendable, Hashable {
        case number(Int)
        case name(String)
    }

    package var key: ObjectKey
    package var addresses: [String]  // ClusterIPs; empty for a headless service
    package var selector: [String: String]
    package var ports: [Port]  // TCP only
    package var isExternalName: Bool
    package var resilience: Annotated<BackendResilience>
    package var balance: BalancePolicy
    package var locality: LocalityPolicy

    package init(_ object: KubeObject) {
        key = object.key
        let spec = object.spec
        let listed = spec["clusterIPs"]?.array?.compactMap(\.string) ?? []
        let all = listed.isEmpty ? [spec["clusterIP"]?.string ?? ""] : listed
        // The data plane speaks IPv4 only, and refuses what else it is told.
        addresses = all.filter { !$0.isEmpty && $0 != "None" && !$0.contains(":") }
        selector = spec["selector"]?.stringMap ?? [:]
        isExternalName = spec["type"]?.string == "ExternalName"
        resilience = Annotated(object, MeshWords.resilience, BackendResilience.init(json:of:))
        balance = Self.balance(object)
        locality = Self.locality(object)
        ports = (spec["ports"]?.array ?? []).compactMap(Self.port)
    }

    private static func port(_ json: JSON) -> Port? {
        guard json["protocol"]?.string ?? "TCP" == "TCP", let number = json["port"]?.int,
            (1...65535).contains(number)
        else { return nil }
        let name = json["name"]?.string ?? ""
        let target: Target
        if let word = json["targetPort"]?.string {
            target = .name(word)
        } else {
            let named = json["targetPort"]?.int ?? number
            target = .number((1...65535).contains(named) ? named : number)
        }
        return Port(
            name: name, port: number, target: target,
            appProtocol: AppProtocol(declared: json["appProtocol"]?.string, portName: name))
    }
}

extension AppProtocol {
    /// What a Service port declares: `appProtocol` first, else the part of its name before the first `-`, as Istio does.
    package init(declared: String?, portName: String) {
        let word = declared ?? String(portName.prefix { $0 != "-" })
        switch word.lowercased() {
        case "http", "kubernetes.io/ws": self = .http
        case "http2", "h2c", "kubernetes.io/h2c": self = .http2
        case "grpc": self = .grpc
        case "tcp", "tls", "https", "mongo", "mysql", "redis", "kubernetes.io/wss": self = .tcp
        default: self = .unknown
        }
    }
}

package struct MeshEndpointSlice: Sendable, Hashable {
    package struct Port: Sendable, Hashable {
        package var name: String
        package var port: Int
    }
    package struct Address: Sendable, Hashable {
        package var address: String
        package var isReady: Bool
        package var isServing: Bool
        package var isTerminating: Bool
        package var pod: ObjectKey?
        package var node: String
        package var zone: String
    }

    package var service: ObjectKey?
    package var ports: [Port]
    package var addresses: [Address]

    package init(_ object: KubeObject) {
        let serviceName = object.labels["kubernetes.io/service-name"]
        service = serviceName.map { ObjectKey(namespace: object.namespace, name: $0) }
        ports = (object.json["ports"]?.array ?? []).compactMap { port in
            guard port["protocol"]?.string ?? "TCP" == "TCP", let number = port["port"]?.int,
                (1...65535).contains(number)
            else { return nil }
            return Port(name: port["name"]?.string ?? "", port: number)
        }
        var found: [Address] = []
        for endpoint in object.json["endpoints"]?.array ?? [] {
            let conditions = endpoint["conditions"]
            let isReady = conditions?["ready"]?.bool ?? true
            let target = endpoint["targetRef"]
            var pod: ObjectKey?
            if target?["kind"]?.string == "Pod", let name = target?["name"]?.string {
                pod = ObjectKey(namespace: target?["namespace"]?.string ?? object.namespace, name: name)
            }
            // The addresses of one endpoint are the same backend; the first is enough, as kube-proxy holds too.
            guard let address = endpoint["addresses"]?[0]?.string, !address.contains(":") else { continue }
            found.append(
                Address(
                    address: address, isReady: isReady, isServing: conditions?["serving"]?.bool ?? isReady,
                    isTerminating: conditions?["terminating"]?.bool ?? false, pod: pod,
                    node: endpoint["nodeName"]?.string ?? "", zone: endpoint["zone"]?.string ?? ""))
        }
        addresses = found
    }
}
