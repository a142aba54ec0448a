import Kernel
import KubeTypes
import Wire

@testable import ServiceNetwork

/// Objects as the API server stores them.
enum Manifest {
    static func service(
        _ name: String, namespace: String = "demo", address: String?, ports: [JSON], _ more: [String: JSON] = [:]
    ) -> KubeObject {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: namespace, name: name)
        if let address {
            service.spec["clusterIP"] = .string(address)
            service.spec["clusterIPs"] = [.string(address)]
        }
        service.spec["ports"] = .array(ports)
        for (key, value) in more { service.spec[key] = value }
        return service
    }

    static func port(_ port: Int, name: String? = nil, _ transport: String = "TCP", nodePort: Int? = nil) -> JSON {
        var json: JSON = ["port": .int(Int64(port)), "protocol": .string(transport)]
        json["name"] = name.map(JSON.string)
        json["nodePort"] = nodePort.map { .int(Int64($0)) }
        return json
    }

    static func endpoint(_ address: String, node: String? = nil, hostname: String? = nil, conditions: JSON? = nil)
        -> JSON
    {
        var json: JSON = ["addresses": [.string(address)]]
        json["nodeName"] = node.map(JSON.string)
        json["hostname"] = hostname.map(JSON.string)
        json["conditions"] = conditions ?? ["ready": true, "serving": true, "terminating": false]
        return json
    }

    static func slice(
        _ service: String, namespace: String = "demo", suffix: String = "a", ports: [JSON], _ endpoints: [JSON]
    ) -> KubeObject {
        var slice = KubeObject(
            apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace: namespace, name: "\(service)-\(suffix)"
        )
        slice.labels = ["kubernetes.io/service-name": service]
        slice.json["addressType"] = "IPv4"
        slice.json["ports"] = .array(ports)
        slice.json["endpoints"] = .array(endpoints)
        return slice
    }

    static func pod(_ name: String, namespace: String = "demo", address: String) -> KubeObject {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: namespace, name: name)
        pod.status = ["phase": "Running", "podIP": .string(address), "podIPs": [["ip": .string(address)]]]
        return pod
    }
}
