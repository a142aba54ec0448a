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
        var faults: [FieldFault] = []
        for list in ["containers", "initContainers"] {
            var containers = old.spec[list]?.array ?? []
            for asked in fresh.spec[list]?.array ?? [] {
                guard let place = containers.firstIndex(where: { $0["name"] == asked["name"] }) else {
                    let name = asked["name"]?.string ?? ""
                    faults.append(
                        FieldFault(
                            .forbidden, "spec.\(list)",
                            "containers may not be added or removed by a resize: \"\(name)\""))
                    continue
                }
                let isFixed = list == "initContainers" && asked["restartPolicy"]?.string != "Always"
                let path = "spec.\(list)[\(place)].resources"
                faults += check(asked["resources"], after: containers[place]["resources"], path, isFixed: isFixed)
                containers[place]["resources"] = asked["resources"]
                containers[place]["resizePolicy"] = asked["resizePolicy"]
            }
            if !containers.isEmpty { merged.json[path: ["spec", list]] = .array(containers) }
        }
        let (before, after) = (QualityOfService(old.spec), QualityOfService(merged.spec))
        if before != after {
            faults.append(
                FieldFault(
                    .invalid, "spec", value: .string(after.rawValue),
                    "Pod QOS Class may not change as a result of resizing: it was \(before.rawValue)"))
        }
        if ["Succeeded", "Failed"].contains(old.status["phase"]?.string ?? "") {
            faults.append(FieldFault(.forbidden, "spec", "a pod that has ended cannot be resized"))
        }
        if !faults.isEmpty { throw .invalid(.pods, old.name, faults) }
        return merged
    }

    /// Only processor time and memory change, and what was limited stays limited.
    private static func check(_ asked: JSON?, after old: JSON?, _ path: String, isFixed: Bool) -> [FieldFault] {
        if asked == old { return [] }
        if isFixed { return [FieldFault(.forbidden, path, "only sidecars among the init containers can be resized")] }
        var faults: [FieldFault] = []
        if asked?["claims"] != old?["claims"] {
            faults.append(FieldFault(.forbidden, "\(path).claims", "claims cannot be changed by a resize"))
        }
        for list in ["limits", "requests"] {
            let (new, before) = (asked?[list]?.object, old?[list]?.object)
            let names = Set(new?.keys ?? []).union(before?.keys ?? [])
            for name in names.sorted() where new?[name] != before?[name] {
                if name != "cpu", name != "memory" {
                    faults.append(
                        FieldFault(
                            .forbidden, "\(path).\(list)[\(name)]", "only cpu and memory resources are mutable"))
                } else if new?[name] == nil {
                    faults.append(
                        FieldFault(.forbidden, "\(path).\(list)", "resource \(list) cannot be removed"))
                }
            }
        }
        return faults
    }
}
