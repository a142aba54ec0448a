import KubeTypes
import Wire

/// One port of a service as it stands on a pod.
struct ResolvedPort: Hashable {
    var name: String
    var transport: String
    var number: Int
    var application: String?

    var json: JSON {
        var json: JSON = ["name": .string(name), "protocol": .string(transport), "port": .int(Int64(number))]
        if let application { json["appProtocol"] = .string(application) }
        return json
    }

    init(name: String, transport: String, number: Int, application: String?) {
        self.name = name
        self.transport = transport
        self.number = number
        self.application = application
    }

    init(_ json: JSON) {
        name = json[SlicePort.name] ?? ""
        transport = json[SlicePort.protocol] ?? "TCP"
        number = json[SlicePort.port] ?? 0
        application = json[SlicePort.appProtocol]
    }

    /// The ports of `service` on `pod`; those whose name no container has are left out.
    static func all(of service: KubeObject, on pod: KubeObject) -> [ResolvedPort] {
        (service[Service.ports] ?? []).compactMap { port in
            let transport = port[ServicePortSpec.protocol] ?? "TCP"
            guard let number = number(port, transport, pod) else { return nil }
            return ResolvedPort(
                name: port[ServicePortSpec.name] ?? "", transport: transport, number: number,
                application: port[ServicePortSpec.appProtocol])
        }
    }

    private static func number(_ port: JSON, _ transport: String, _ pod: KubeObject) -> Int? {
        let target = port[ServicePortSpec.targetPort]
        guard let name = target?.string, Int(name) == nil else {
            let number = target?.int ?? target?.string.flatMap { Int($0) } ?? 0
            return number > 0 ? number : port[ServicePortSpec.port]
        }
        let sidecars = (pod[Pod.initContainers] ?? []).filter { $0[Container.restartPolicy] == "Always" }
        for container in (pod[Pod.containers] ?? []) + sidecars {
            for candidate in container[Container.ports] ?? [] where candidate["name"]?.string == name {
                if (candidate["protocol"]?.string ?? "TCP") == transport { return candidate["containerPort"]?.int }
            }
        }
        return nil
    }
}

/// The pods that stand behind a service, grouped by the ports they serve it on.
struct ServiceBackends {
    struct Backend {
        var pod: KubeObject
        var address: String
        var isReady: Bool
        var isServing: Bool
        var isTerminating: Bool
    }

    /// In a fixed order: same input, same slices.
    var groups: [(ports: [ResolvedPort], backends: [Backend])] = []

    /// - Parameter includesTerminating: EndpointSlices show pods that are going, Endpoints do not.
    init(of service: KubeObject, among pods: [KubeObject], includesTerminating: Bool = true) {
        let publishesAll = service[Service.publishNotReadyAddresses] ?? false
        var found: [[ResolvedPort]: [Backend]] = [:]
        for pod in pods.sorted(by: { $0.name < $1.name }) {
            guard let address = pod[Pod.podIP], !address.isEmpty, !pod.isPodFinished else { continue }
            let isTerminating = pod.deletionTimestamp != nil
            if isTerminating, !includesTerminating { continue }
            let isServing = pod.isPodReady
            let backend = Backend(
                pod: pod, address: address, isReady: publishesAll || (isServing && !isTerminating),
                isServing: isServing,
                isTerminating: isTerminating)
            let ports = ResolvedPort.all(of: service, on: pod)
            if ports.isEmpty, !(service[Service.ports] ?? []).isEmpty { continue }
            found[ports, default: []].append(backend)
        }
        groups = found.map { ($0.key, $0.value) }.sorted { one, other in
            one.ports.map(\.json.text).joined() < other.ports.map(\.json.text).joined()
        }
    }
}

/// The writes that turn a service's slices into those it should have, touching as few as possible.
struct EndpointSlicePlan {
    static let nameLabel = "kubernetes.io/service-name"
    static let managerLabel = "endpointslice.kubernetes.io/managed-by"
    static let manager = "endpointslice-controller.k8s.io"
    static let most = 100

    var creations: [KubeObject] = []
    var updates: [KubeObject] = []
    var deletions: [KubeObject] = []

    var isEmpty: Bool { creations.isEmpty && updates.isEmpty && deletions.isEmpty }

    /// - Parameters:
    ///   - slices: the service's slices that this controller manages.
    ///   - zones: the zone of each node that has one.
    init(
        service: KubeObject, pods: [KubeObject], slices: [KubeObject], zones: [String: String] = [:],
        perSlice: Int = most
    ) {
        let family = (service[Service.ipFamilies] ?? []).first ?? "IPv4"
        let live = slices.filter { $0.deletionTimestamp == nil }.sorted { $0.name < $1.name }
        var unused = live.filter { $0[EndpointSlice.addressType] == family }
        deletions = live.filter { $0[EndpointSlice.addressType] != family }
        let backends = ServiceBackends(of: service, among: pods)
        for group in backends.groups {
            let ports = group.ports.map(\.json)
            let fitting = unused.filter { Self.ports(of: $0) == Set(group.ports) }
            unused.removeAll { slice in fitting.contains { $0.name == slice.name } }
            let wanted = group.backends.map { Self.endpoint($0, service, zones) }
            fill(fitting, ports, wanted, service, perSlice)
        }
        // A service without endpoints keeps one empty slice, so that a watcher sees that it is known.
        if backends.groups.isEmpty {
            if unused.isEmpty {
                creations.append(Self.slice(for: service, ports: [], endpoints: [], family: family))
            } else {
                keep(unused.removeFirst(), ports: [], endpoints: [], service)
            }
        }
        deletions += unused
    }

    /// Leaves endpoints in the slice they are in, puts new ones where there is room, and makes slices for the rest.
    private mutating func fill(
        _ slices: [KubeObject], _ ports: [JSON], _ wanted: [JSON], _ service: KubeObject, _ perSlice: Int
    ) {
        var left: [String: JSON] = [:]
        for endpoint in wanted { left[Self.identity(endpoint)] = endpoint }
        var contents: [(slice: KubeObject, endpoints: [JSON])] = slices.map { slice in
            let kept = (slice[EndpointSlice.endpoints] ?? []).compactMap { left.removeValue(forKey: Self.identity($0)) }
            return (slice, kept)
        }
        var added = wanted.filter { left[Self.identity($0)] != nil }
        // Slices that change anyway first, then the fullest.
        let order = contents.indices.sorted { one, other in
            let first = contents[one]
            let second = contents[other]
            let changes = first.endpoints != (first.slice[EndpointSlice.endpoints] ?? [])
            let otherChanges = second.endpoints != (second.slice[EndpointSlice.endpoints] ?? [])
            if changes != otherChanges { return changes }
            return first.endpoints.count > second.endpoints.count
        }
        for place in order where !added.isEmpty {
            let room = perSlice - contents[place].endpoints.count
            guard room > 0 else { continue }
            contents[place].endpoints += added.prefix(room)
            added.removeFirst(min(room, added.count))
        }
        var usedOne = false
        for (slice, endpoints) in contents {
            if endpoints.isEmpty {
                deletions.append(slice)
            } else {
                usedOne = true
                keep(slice, ports: ports, endpoints: endpoints, service)
            }
        }
        while !added.isEmpty {
            let some = Array(added.prefix(perSlice))
            added.removeFirst(some.count)
            if !usedOne,
                let reused = deletions.firstIndex(where: { slice in slices.contains { $0.name == slice.name } })
            {
                keep(deletions.remove(at: reused), ports: ports, endpoints: some, service)
            } else {
                let family = (service[Service.ipFamilies] ?? []).first ?? "IPv4"
                creations.append(Self.slice(for: service, ports: ports, endpoints: some, family: family))
            }
            usedOne = true
        }
    }

    private mutating func keep(_ slice: KubeObject, ports: [JSON], endpoints: [JSON], _ service: KubeObject) {
        var changed = slice
        if (slice[EndpointSlice.endpoints] ?? []) != endpoints { changed[EndpointSlice.endpoints] = endpoints }
        if Set((slice[EndpointSlice.ports] ?? []).map(ResolvedPort.init)) != Set(ports.map(ResolvedPort.init)) {
            changed[EndpointSlice.ports] = ports
        }
        let labels = Self.labels(for: service)
        if slice.labels != labels { changed.labels = labels }
        if changed != slice { updates.append(changed) }
    }

    private static func identity(_ endpoint: JSON) -> String {
        let address = endpoint[SliceEndpoint.addresses]?.first ?? ""
        return (endpoint[SliceEndpoint.targetUID] ?? "") + " " + address
    }

    private static func ports(of slice: KubeObject) -> Set<ResolvedPort> {
        Set((slice[EndpointSlice.ports] ?? []).map(ResolvedPort.init))
    }

    private static func endpoint(_ backend: ServiceBackends.Backend, _ service: KubeObject, _ zones: [String: String])
        -> JSON
    {
        let pod = backend.pod
        var endpoint: JSON = [
            "addresses": [.string(backend.address)],
            "conditions": [
                "ready": .bool(backend.isReady), "serving": .bool(backend.isServing),
                "terminating": .bool(backend.isTerminating),
            ],
        ]
        if let hostname = pod[Pod.hostname], !hostname.isEmpty, pod[Pod.subdomain] == service.name {
            endpoint[SliceEndpoint.hostname] = hostname
        }
        if let node = pod[Pod.nodeName], !node.isEmpty {
            endpoint[SliceEndpoint.nodeName] = node
            endpoint[SliceEndpoint.zone] = zones[node]
        }
        endpoint["targetRef"] = [
            "kind": "Pod", "namespace": .string(pod.namespace), "name": .string(pod.name), "uid": .string(pod.uid),
        ]
        return endpoint
    }

    private static func labels(for service: KubeObject) -> [String: String] {
        var labels = service.labels
        labels[nameLabel] = service.name
        labels[managerLabel] = manager
        if service[Service.clusterIP] == "None" { labels["service.kubernetes.io/headless"] = "" }
        return labels
    }

    private static func slice(for service: KubeObject, ports: [JSON], endpoints: [JSON], family: String) -> KubeObject {
        var slice = KubeObject(["apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": [:]])
        slice.json[path: ["metadata", "generateName"]] = .string(String(service.name.prefix(57)) + "-")
        slice.namespace = service.namespace
        slice.labels = labels(for: service)
        slice.ownerReferences = [OwnerReference(controlledBy: service)]
        slice[EndpointSlice.addressType] = family
        slice[EndpointSlice.endpoints] = endpoints
        slice[EndpointSlice.ports] = ports
        return slice
    }
}
