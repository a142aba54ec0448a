import KubeTypes
import MeshModel
import ProxyResources
import Testing
import Wire
import Yams

#if canImport(Glibc)
    import Glibc
#endif

/// A cluster's state, built from manifests as users write them.
struct Cluster {
    var state = MeshState()
    private var born = 0

    static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }

    static func objects(_ yaml: String) throws -> [KubeObject] {
        try Yams.load_all(yaml: yaml).map(Self.json).filter { !$0.isNull }.map(KubeObject.init)
    }

    static func objects(file: String) throws -> [KubeObject] {
        try objects(String(decoding: try bytes(file: file), as: UTF8.self))
    }

    static func json(file: String) throws -> JSON { try JSON(parsing: try bytes(file: file)) }

    private static func bytes(file: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        let opened = try #require(fopen("\(root)/\(file)", "r"), "\(file) can be read")
        defer { fclose(opened) }
        var space = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&space, 1, space.count, opened)
            if count == 0 { break }
            bytes += space.prefix(count)
        }
        return bytes
    }

    private static func json(_ value: Any) -> JSON {
        switch value {
        case let value as Bool: .bool(value)
        case let value as Int: .int(Int64(value))
        case let value as Double: .double(value)
        case let value as String: .string(value)
        case let value as [Any]: .array(value.map(json))
        case let value as [String: Any]:
            .object(JSONObject(value.sorted { $0.key < $1.key }.map { .init($0.key, json($0.value)) }))
        default: .null
        }
    }

    static let types: [String: ResourceType] = Dictionary(
        uniqueKeysWithValues: MeshState.watched.map { ("\($0.apiVersion)/\($0.kind)", $0) })

    /// Applies manifests in the order given, each younger than the one before.
    mutating func apply(_ yaml: String) throws {
        for object in try Self.objects(yaml) { add(object) }
    }

    mutating func apply(file: String) throws {
        for object in try Self.objects(file: file) { add(object) }
    }

    mutating func add(_ object: KubeObject) {
        guard let type = Self.types["\(object.apiVersion)/\(object.kind)"] else { return }
        var object = object
        if object.creationTimestamp == nil {
            born += 1
            let minute = born < 10 ? "0\(born)" : "\(born)"
            object.json[path: ["metadata", "creationTimestamp"]] = .string("2026-01-01T00:\(minute):00Z")
        }
        if type == .services, object.spec["clusterIP"] == nil {
            object.json[path: ["spec", "clusterIP"]] = .string("10.96.1.\(born)")
        }
        _ = state.apply(type, object)
    }

    /// A running pod, and its place in the slices of the services named.
    mutating func pod(
        _ name: String, in namespace: String = "demo", address: String, account: String = "default",
        labels: [String: String] = [:], annotations: [String: String] = [:], sidecar: Bool = true, port: Int = 8080,
        services: [(name: String, portName: String)] = [], ready: Bool = true, terminating: Bool = false
    ) {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: name)
        pod.labels = labels
        pod.annotations = sidecar ? annotations.merging(["weft.dev/intercept": "true"]) { $1 } : annotations
        pod.spec = ["nodeName": "node-1", "serviceAccountName": .string(account)]
        let container: JSON = ["name": "app", "ports": [["name": "http", "containerPort": .int(Int64(port))]]]
        pod.json[path: ["spec", "containers"]] = [container]
        if sidecar { pod.json[path: ["spec", "initContainers"]] = [["name": "weft-proxy"]] }
        pod.status = ["phase": "Running", "podIP": .string(address)]
        _ = state.apply(.pods, pod)
        for service in services {
            var slice = KubeObject(
                apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: namespace,
                name: "\(service.name)-\(name)")
            slice.labels = ["kubernetes.io/service-name": service.name]
            slice.json["ports"] = [["name": .string(service.portName), "port": .int(Int64(port)), "protocol": "TCP"]]
            slice.json["endpoints"] = [
                [
                    "addresses": [.string(address)],
                    "conditions": [
                        "ready": .bool(ready), "serving": .bool(ready || terminating),
                        "terminating": .bool(terminating),
                    ],
                    "targetRef": ["kind": "Pod", "namespace": .string(namespace), "name": .string(name)],
                ]
            ]
            _ = state.apply(.endpointSlices, slice)
        }
    }

    /// The namespace, services and pods of the canary example.
    static func canary() throws -> Cluster {
        var cluster = Cluster()
        for file in ["00-namespace", "services"] { try cluster.apply(file: "policies/examples/canary/\(file).yaml") }
        for (version, address) in [("v1", "10.244.1.11"), ("v2", "10.244.2.12")] {
            cluster.pod(
                "catalog-\(version)-x", address: address, account: "catalog",
                labels: ["app": "catalog", "version": version],
                services: [("catalog", "http"), ("catalog-\(version)", "http")])
        }
        cluster.pod(
            "frontend-x", address: "10.244.1.13", account: "frontend", labels: ["app": "frontend", "version": "v1"],
            services: [("frontend", "http")])
        return cluster
    }
}

/// Where requests go: endpoint address to its share in 1000, or `status 404` for an answer of the proxy's own.
func shares(
    _ model: MeshModel, _ name: String, from namespace: String = "demo", _ request: RequestForm = RequestForm(path: "/")
) throws -> [String: Int] {
    let port = try #require(
        model.destinations(from: namespace).first { $0.resourceName == name }, "\(name) is a destination")
    return try shares(model, port.routes, request)
}

func shares(_ model: MeshModel, _ rules: [RouteRule], _ request: RequestForm) throws -> [String: Int] {
    let index = try #require(chooseRule(in: rules, for: request))
    let rule = rules[index]
    if let status = rule.directStatus { return ["status \(status)": 1000] }
    let total = rule.backends.map(\.weight).reduce(0, +)
    var found: [String: Int] = [:]
    for share in rule.backends where share.weight > 0 {
        let part = share.weight * 1000 / total
        guard let backend = model.backends[share.backend] else {
            found["status 500", default: 0] += part
            continue
        }
        for endpoint in backend.endpoints { found[endpoint.address, default: 0] += part / backend.endpoints.count }
    }
    return found
}
