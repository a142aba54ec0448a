package import KubeTypes
package import ProxyResources
import Wire

/// The words on pods that the mesh reads and injection writes.
package enum MeshWords {
    package static let proxyContainer = "weft-proxy"
    package static let intercept = "weft.dev/intercept"
    package static let gateway = "weft.dev/gateway"
    package static let machineListeners = "weft.dev/machine-listeners"
    package static let controller = "weft.dev/mesh-controller"
    /// The driver of the volume that holds a proxy's socket.
    package static let volumeDriver = "mesh.weft.dev"
}

/// A pod as the mesh sees it.
package struct MeshPod: Sendable, Hashable {
    package struct Port: Sendable, Hashable {
        package var name: String
        package var port: Int
    }

    package var key: ObjectKey
    package var uid: String
    package var address: String  // empty until it has one
    package var node: String
    package var account: String
    package var labels: [String: String]
    package var hasSidecar: Bool
    package var isGateway: Bool
    package var machineListeners: [String]  // names of descriptors the gateway inherits
    package var ports: [Port]  // TCP ports its containers declare
    package var workload: String
    package var isFinished: Bool
    package var rateLimits: Annotated<[RateLimit]>
    package var loading: LoadingWish

    package init(_ object: KubeObject) {
        key = object.key
        uid = object.uid
        labels = object.labels
        rateLimits = Annotated(object, MeshWords.rateLimits, RateLimit.list(json:of:))
        rateLimits.value?.nameBudgets(in: object.namespace)
        let annotations = object.annotations
        loading = LoadingWish(
            { annotations[$0] }, (mode: MeshWords.configuration, idle: MeshWords.configurationIdle),
            of: PolicyReference(.pods, object.key), at: "metadata.annotations.")
        let spec = object.spec
        node = spec["nodeName"]?.string ?? ""
        account = spec["serviceAccountName"]?.string ?? "default"
        if account.isEmpty { account = "default" }
        let phase = object.status["phase"]?.string ?? ""
        isFinished = phase == "Succeeded" || phase == "Failed"
        let onHostNetwork = spec["hostNetwork"]?.bool ?? false
        address = onHostNetwork ? "" : object.status["podIP"]?.string ?? ""

        let containers = (spec["initContainers"]?.array ?? []) + (spec["containers"]?.array ?? [])
        let hasProxy = containers.contains { $0["name"]?.string == MeshWords.proxyContainer }
        isGateway = labels[MeshWords.gateway].map { !$0.isEmpty } ?? false
        hasSidecar = hasProxy && !isGateway && object.annotations[MeshWords.intercept] == "true"
        let listeners = object.annotations[MeshWords.machineListeners] ?? ""
        machineListeners = listeners.split(separator: ",").map { entry in
            String(entry.prefix { $0 != "=" }).filter { $0 != " " }
        }

        var found: [Port] = []
        for container in containers where container["name"]?.string != MeshWords.proxyContainer || isGateway {
            for port in container["ports"]?.array ?? [] where port["protocol"]?.string ?? "TCP" == "TCP" {
                guard let number = port["containerPort"]?.int, (1...65535).contains(number) else { continue }
                found.append(Port(name: port["name"]?.string ?? "", port: number))
            }
        }
        ports = found
        workload = Self.workload(of: object)
    }

    /// Whether a proxy of ours, sidecar or gateway, is ready in the pod, as its status says: it may be sending requests.
    package static func hasReadyProxy(_ object: KubeObject) -> Bool {
        let volumes = object.spec["volumes"]?.array ?? []
        let meshVolumes = volumes.filter { $0[path: ["csi", "driver"]]?.string == MeshWords.volumeDriver }
            .compactMap { $0["name"]?.string }
        if meshVolumes.isEmpty { return false }
        let containers = (object.spec["initContainers"]?.array ?? []) + (object.spec["containers"]?.array ?? [])
        let proxies = containers.filter { container in
            (container["volumeMounts"]?.array ?? []).contains { meshVolumes.contains($0["name"]?.string ?? "") }
        }
        let names = proxies.compactMap { $0["name"]?.string }
        let statuses =
            (object.status["initContainerStatuses"]?.array ?? []) + (object.status["containerStatuses"]?.array ?? [])
        return statuses.contains { $0["ready"]?.bool == true && names.contains($0["name"]?.string ?? "") }
    }

    /// The Deployment behind a ReplicaSet's pod, whose name ends in the template's hash; else the controller; else the pod itself.
    private static func workload(of object: KubeObject) -> String {
        guard let owner = object.controller else { return object.name }
        let ending = "-" + (object.labels["pod-template-hash"] ?? "\u{0}")
        return owner.kind == "ReplicaSet" && owner.name.hasSuffix(ending)
            ? String(owner.name.dropLast(ending.count)) : owner.name
    }

    package var app: String { labels["app"] ?? labels["app.kubernetes.io/name"] ?? workload }
    package var version: String { labels["version"] ?? labels["app.kubernetes.io/version"] ?? "" }
    /// A pod a proxy of ours runs in.
    package var hasProxy: Bool { hasSidecar || isGateway }

    func isSelected(by selector: [String: String]) -> Bool { selector.allSatisfy { labels[$0.key] == $0.value } }
}
