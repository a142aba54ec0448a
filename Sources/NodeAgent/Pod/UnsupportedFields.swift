import Wire

/// Fields of a pod that would change how it runs, and that this node cannot follow.
enum UnsupportedFields {
    /// - Returns: the paths below `spec`, in a fixed order.
    static func found(in spec: JSON) -> [String] {
        var found: [String] = []
        if isSet(spec["runtimeClassName"]) { found.append("runtimeClassName") }
        if isSet(spec[path: ["securityContext", "sysctls"]]) { found.append("securityContext.sysctls") }
        let containers = (spec["initContainers"]?.array ?? []) + (spec["containers"]?.array ?? [])
        for container in containers {
            let label = "containers[\(container["name"]?.string ?? "")]"
            for (place, port) in (container["ports"]?.array ?? []).enumerated() {
                guard let number = port["hostPort"]?.int, number != 0, spec["hostNetwork"]?.bool != true else {
                    continue
                }
                found.append("\(label).ports[\(place)].hostPort")
            }
            if isSet(container["volumeDevices"]) { found.append("\(label).volumeDevices") }
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] where container[probe]?["grpc"] != nil {
                found.append("\(label).\(probe).grpc")
            }
        }
        return found
    }

    private static func isSet(_ json: JSON?) -> Bool {
        switch json {
        case nil, .null: false
        case .array(let elements): !elements.isEmpty
        case .string(let text): !text.isEmpty
        default: true
        }
    }
}
