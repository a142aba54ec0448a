package import KubeTypes
package import Wire

/// Amounts of what pods ask for and nodes have.
package struct Resources: Sendable, Hashable {
    package var cpu: Int64 = 0  // thousandths of a core
    package var memory: Int64 = 0  // bytes
    /// `ephemeral-storage`, huge pages and extended resources, by name, in whole units.
    package var others: [String: Int64] = [:]

    package init(cpu: Int64 = 0, memory: Int64 = 0, others: [String: Int64] = [:]) {
        self.cpu = cpu
        self.memory = memory
        self.others = others
    }

    /// A `requests`, `limits` or `allocatable` object. `pods` is not an amount that pods ask for, so it is left out.
    package init(json: JSON?) {
        for member in json?.object?.members ?? [] {
            guard let quantity = Quantity(json: member.value) else { continue }
            switch member.key {
            case "cpu": cpu = quantity.boundedMilli
            case "memory": memory = quantity.boundedWhole
            case "pods": break
            default: others[member.key] = quantity.boundedWhole
            }
        }
    }

    package static func + (one: Resources, other: Resources) -> Resources {
        Resources(
            cpu: one.cpu + other.cpu, memory: one.memory + other.memory,
            others: one.others.isEmpty ? other.others : one.others.merging(other.others, uniquingKeysWith: +))
    }

    package static func - (one: Resources, other: Resources) -> Resources {
        var others = one.others
        for (name, amount) in other.others { others[name, default: 0] -= amount }
        return Resources(cpu: one.cpu - other.cpu, memory: one.memory - other.memory, others: others)
    }

    package func atLeast(_ other: Resources) -> Resources {
        Resources(
            cpu: max(cpu, other.cpu), memory: max(memory, other.memory),
            others: others.isEmpty ? other.others : others.merging(other.others, uniquingKeysWith: max))
    }

    private func adding(_ other: Resources) -> Resources {
        var sum = self + other
        sum.cpu = min(sum.cpu, Quantity.most)
        sum.memory = min(sum.memory, Quantity.most)
        for (name, amount) in sum.others where amount > Quantity.most { sum.others[name] = Quantity.most }
        return sum
    }

    /// What a pod needs at its busiest: all app containers and native sidecars together, or an init container beside the
    /// sidecars started before it, whichever is more; and what the runtime itself takes.
    package init(requestedBy pod: KubeObject) {
        var running = Resources()
        for container in pod[Pod.containers] ?? [] {
            running = running.adding(Resources(json: container[Container.requests]))
        }
        var sidecars = Resources()
        var starting = Resources()
        for container in pod[Pod.initContainers] ?? [] {
            let requests = Resources(json: container[Container.requests])
            if container[Container.restartPolicy] == "Always" {
                sidecars = sidecars.adding(requests)
                starting = starting.atLeast(sidecars)
            } else {
                starting = starting.atLeast(sidecars.adding(requests))
            }
        }
        var total = running.adding(sidecars).atLeast(starting)
        // Requests of the pod as a whole take the place of the sums.
        if let whole = pod.spec["resources"]?["requests"] {
            let stated = Resources(json: whole)
            if whole["cpu"] != nil { total.cpu = stated.cpu }
            if whole["memory"] != nil { total.memory = stated.memory }
        }
        self = total.adding(Resources(json: pod[Pod.overhead]))
    }
}
