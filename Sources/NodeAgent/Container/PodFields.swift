package import KubeTypes
package import Wire

/// What the downward API tells a container about its pod.
package struct PodFields: Sendable {
    private let pod: KubeObject
    private let address: String
    private let nodeAddress: String
    private let machine: MachineSize

    package init(_ pod: KubeObject, address: String, nodeAddress: String, machine: MachineSize) {
        self.pod = pod
        self.address = address
        self.nodeAddress = nodeAddress
        self.machine = machine
    }

    /// - Parameter path: `metadata.name`, `metadata.labels['app']`, `status.podIP`, …
    package subscript(path: String) -> String? {
        switch path {
        case "metadata.name": pod.name
        case "metadata.namespace": pod.namespace
        case "metadata.uid": pod.uid
        case "metadata.labels": PodFields.lines(pod.labels)
        case "metadata.annotations": PodFields.lines(pod.annotations)
        case "spec.nodeName": pod.spec["nodeName"]?.string ?? ""
        case "spec.serviceAccountName": pod.spec["serviceAccountName"]?.string ?? "default"
        case "status.podIP", "status.podIPs": address
        case "status.hostIP", "status.hostIPs": nodeAddress
        default:
            PodFields.key(of: "metadata.labels", in: path).map { pod.labels[$0] ?? "" }
                ?? PodFields.key(of: "metadata.annotations", in: path).map { pod.annotations[$0] ?? "" }
        }
    }

    /// - Parameter reference: `resource` (`limits.cpu`), `divisor`; without a limit, what the node has.
    package func resource(_ reference: JSON, of container: JSON) -> String? {
        let path = (reference["resource"]?.string ?? "").split(separator: ".", maxSplits: 1).map(String.init)
        guard path.count == 2, path[0] == "limits" || path[0] == "requests" else { return nil }
        let name = path[1]
        var amount = Quantity(container[path: ["resources", path[0], name]])
        if amount == nil, path[0] == "limits" {
            if name == "cpu" { amount = Quantity(Int64(machine.processors)) }
            if name == "memory" { amount = Quantity(Int64(machine.memoryBytes)) }
        }
        let divisor = max(1, Quantity(reference["divisor"]).map { $0.isZero ? 1000 : $0.milli } ?? 1000)
        let milli = (amount ?? .zero).milli
        return String(milli / divisor + (milli % divisor > 0 ? 1 : 0))
    }

    private static func key(of map: String, in path: String) -> String? {
        guard path.hasPrefix(map + "['"), path.hasSuffix("']") else { return nil }
        return String(path.dropFirst(map.count + 2).dropLast(2))
    }

    /// `key="value"` lines with the value quoted, as files of the downward API have them.
    private static func lines(_ map: [String: String]) -> String {
        map.sorted { $0.key < $1.key }.map { "\($0.key)=\(JSON.string($0.value).text)" }.joined(separator: "\n")
    }
}

/// What the node offers.
package struct MachineSize: Sendable, Hashable {
    package var processors: Int
    package var memoryBytes: Int
    package init(processors: Int, memoryBytes: Int) {
        self.processors = processors
        self.memoryBytes = memoryBytes
    }
}
