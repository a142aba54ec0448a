import KubeTypes
import Wire

/// Amounts by the resource's name.
typealias ResourceAmounts = [String: Quantity]

/// What a pod asks for and may use in all.
enum PodResources {
    /// The sum over what runs at the same time: the containers with the sidecars, or the largest step of the start.
    ///
    /// - Parameter side: `requests` or `limits`.
    static func total(_ spec: JSON, _ side: String) -> ResourceAmounts {
        var running: ResourceAmounts = [:]
        for container in spec["containers"]?.array ?? [] { add(amounts(container, side), to: &running) }
        var sidecars: ResourceAmounts = [:]
        var starting: ResourceAmounts = [:]
        for container in spec["initContainers"]?.array ?? [] {
            let own = amounts(container, side)
            if container["restartPolicy"] == "Always" {
                add(own, to: &running)
                add(own, to: &sidecars)
                raise(&starting, to: sidecars)
            } else {
                var step = own
                add(sidecars, to: &step)
                raise(&starting, to: step)
            }
        }
        raise(&running, to: starting)
        // Amounts for the pod as a whole stand for what its containers say.
        for (name, amount) in amounts(spec, side) { running[name] = amount }
        for (name, amount) in amounts(of: spec["overhead"]) where side == "requests" || running[name] != nil {
            running[name] = (running[name] ?? .zero) + amount
        }
        return running
    }

    /// Of one container, or of a pod's own `resources`.
    static func amounts(_ container: JSON, _ side: String) -> ResourceAmounts {
        amounts(of: container["resources"]?[side])
    }

    static func amounts(of json: JSON?) -> ResourceAmounts {
        var amounts: ResourceAmounts = [:]
        for entry in json?.object ?? JSONObject() { amounts[entry.key] = Quantity(json: entry.value) }
        return amounts
    }

    static func add(_ more: ResourceAmounts, to sum: inout ResourceAmounts) {
        for (name, amount) in more { sum[name] = (sum[name] ?? .zero) + amount }
    }

    private static func raise(_ amounts: inout ResourceAmounts, to others: ResourceAmounts) {
        for (name, amount) in others { amounts[name] = max(amounts[name] ?? amount, amount) }
    }

    static func json(_ amounts: ResourceAmounts) -> JSON {
        .object(JSONObject(amounts.sorted { $0.key < $1.key }.map { .init($0.key, $0.value.json) }))
    }

    /// Whether the pod asks for nothing, and so is the first to go when a node is short.
    static func isBestEffort(_ spec: JSON) -> Bool {
        let containers = (spec["containers"]?.array ?? []) + (spec["initContainers"]?.array ?? [])
        return (containers + [spec]).allSatisfy { container in
            ["requests", "limits"].allSatisfy { side in
                amounts(container, side).allSatisfy { name, amount in
                    (name != "cpu" && name != "memory") || amount.isZero
                }
            }
        }
    }
}
