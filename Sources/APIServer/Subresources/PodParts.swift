import KubeTypes
import Wire

/// The parts of a running pod that have ways of their own to be changed.
enum PodParts {
    /// Containers for debugging: they may be added, not changed or removed.
    static func withEphemeralContainers(of fresh: KubeObject, in old: KubeObject) throws(APIFailure) -> KubeObject {
        let before = old.spec["ephemeralContainers"]?.array ?? []
        let after = fresh.spec["ephemeralContainers"]?.array ?? []
        var faults: [FieldFault] = []
        for container in before {
            let name = container["name"]?.string ?? ""
            let found = after.first { $0["name"]?.string == name }
            if found == nil {
                faults.append(
                    FieldFault(
                        .forbidden, "spec.ephemeralContainers",
                        "existing ephemeral containers \"\(name)\" may not be removed"))
            } else if found != container {
                faults.append(
                    FieldFault(
                        .forbidden, "spec.ephemeralContainers",
                        "existing ephemeral containers \"\(name)\" may not be changed"))
            }
        }
        if old.annotations["kubernetes.io/config.mirror"] != nil {
            faults.append(FieldFault(.forbidden, "", "static pods do not support ephemeral containers"))
        }
        if !faults.isEmpty { throw .invalid(.pods, old.name, faults) }
        var merged = old
        merged.json[path: ["spec", "ephemeralContainers"]] = after.isEmpty ? nil : .array(after)
        return merged
    }

    /// What containers ask of the node and may use; everything else stays (KEP-1287).
    static func withResources(of fresh: KubeObject, in old: KubeObject) throws(APIFailure) -> KubeObject {
        var merged = old
        for list in ["containers", "initContainers"] {
            var containers = old.spec[list]?.array ?? []
            for asked in fresh.spec[list]?.array ?? [] {
                guard let place = containers.firstIndex(where: { $0["name"] == asked["name"] }) else {
                    throw .invalid(
                        .pods, old.name,
                        [
                            FieldFault(
                                .forbidden, "spec.\(list)",
                                "containers may not be added or removed by a resize: \"\(asked["name"]?.string ?? "")\""
                            )
                        ])
                }
                containers[place]["resources"] = asked["resources"]
                containers[place]["resizePolicy"] = asked["resizePolicy"]
            }
            if !containers.isEmpty { merged.json[path: ["spec", list]] = .array(containers) }
        }
        return merged
    }
}
