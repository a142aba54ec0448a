import KubeTypes
import Wire

/// The Endpoints object a service should have. Older clients read it instead of slices.
func endpointsObject(for service: KubeObject, pods: [KubeObject]) -> KubeObject {
    let backends = ServiceBackends(of: service, among: pods, includesTerminating: false)
    var subsets: [JSON] = []
    for group in backends.groups {
        func addresses(_ isReady: Bool) -> [JSON] {
            group.backends.filter { $0.isReady == isReady }.prefix(1000).map { backend in
                var address: JSON = ["ip": .string(backend.address)]
                if let hostname = backend.pod[Pod.hostname], !hostname.isEmpty,
                    backend.pod[Pod.subdomain] == service.name
                {
                    address["hostname"] = .string(hostname)
                }
                if let node = backend.pod[Pod.nodeName], !node.isEmpty { address["nodeName"] = .string(node) }
                address["targetRef"] = [
                    "kind": "Pod", "namespace": .string(backend.pod.namespace), "name": .string(backend.pod.name),
                    "uid": .string(backend.pod.uid),
                ]
                return address
            }
        }
        var subset: JSON = [:]
        let ready = addresses(true)
        let notReady = addresses(false)
        if !ready.isEmpty { subset["addresses"] = .array(ready) }
        if !notReady.isEmpty { subset["notReadyAddresses"] = .array(notReady) }
        if !group.ports.isEmpty {
            subset["ports"] = .array(
                group.ports.map { port in
                    var json = port.json
                    if port.name.isEmpty { json["name"] = nil }
                    return json
                })
        }
        subsets.append(subset)
    }
    var object = KubeObject(apiVersion: "v1", kind: "Endpoints", namespace: service.namespace, name: service.name)
    var labels = service.labels
    labels[endpointsManagerLabel] = endpointsManager
    if service[Service.clusterIP] == "None" { labels["service.kubernetes.io/headless"] = "" }
    object.labels = labels
    if !subsets.isEmpty { object.json["subsets"] = .array(subsets) }
    return object
}

let endpointsManagerLabel = "endpoints.kubernetes.io/managed-by"
let endpointsManager = "endpoint-controller"
