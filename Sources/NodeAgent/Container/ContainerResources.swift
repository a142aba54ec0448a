import KubeTypes
package import Wire

/// What of a container's resources can change while it runs: processor time and memory, asked for and allowed.
package struct ContainerResources: Sendable, Hashable {
    /// The annotation of a run that says what it has now.
    package static let annotation = "weft.dev/resources"
    private static let names = ["cpu", "memory"]

    /// As written: `requests`, `limits`.
    package let json: JSON
    private let amounts: [String: Quantity]

    /// - Parameter resources: a container's `resources`.
    package init(_ resources: JSON?) {
        var json: JSON = [:]
        var amounts: [String: Quantity] = [:]
        for list in ["limits", "requests"] {
            for name in Self.names {
                guard let text = resources?[path: [list, name]], let amount = Quantity(text) else { continue }
                json[path: [list, name]] = text
                amounts["\(list).\(name)"] = amount
            }
        }
        self.json = json
        self.amounts = amounts
    }

    /// - Parameter text: as `json.text` gives it.
    init?(text: String) {
        guard let json = try? JSON(parsing: Array(text.utf8)) else { return nil }
        self.init(json)
    }

    package static func == (one: ContainerResources, other: ContainerResources) -> Bool { one.amounts == other.amounts }
    package func hash(into hasher: inout Hasher) { hasher.combine(amounts) }

    var isEmpty: Bool { amounts.isEmpty }

    /// `cpu`, `memory`: those whose amounts differ.
    func changed(from other: ContainerResources) -> [String] {
        Self.names.filter { name in
            ["limits", "requests"].contains { amounts["\($0).\(name)"] != other.amounts["\($0).\(name)"] }
        }
    }
}

/// Whether a node has room for what a pod's containers now ask for (KEP-1287).
package struct ResizeRefusal: Sendable, Hashable {
    /// `Deferred`: later, perhaps. `Infeasible`: never on this node.
    package let reason: String
    package let message: String

    /// - Parameter others: the other pods of the node that have not ended.
    package static func check(_ pod: JSON, among others: [JSON], machine: MachineSize) -> ResizeRefusal? {
        for (name, capacity) in [("cpu", machine.processors * 1000), ("memory", machine.memoryBytes)] {
            let wanted = requested(name, by: pod)
            if wanted > capacity {
                return ResizeRefusal(
                    reason: "Infeasible",
                    message: "Node didn't have enough capacity: \(name), requested: \(wanted), capacity: \(capacity)")
            }
            let used = others.reduce(0) { $0 + requested(name, by: $1) }
            if wanted + used > capacity {
                return ResizeRefusal(
                    reason: "Deferred",
                    message:
                        "Node didn't have enough resource: \(name), requested: \(wanted), used: \(used), capacity: \(capacity)"
                )
            }
        }
        return nil
    }

    /// Thousandths of a processor, or bytes.
    private static func requested(_ name: String, by spec: JSON) -> Int {
        let sidecars = (spec["initContainers"]?.array ?? []).filter { $0["restartPolicy"]?.string == "Always" }
        var sum = 0
        for container in (spec["containers"]?.array ?? []) + sidecars {
            let resources = container["resources"]
            let amount =
                Quantity(resources?[path: ["requests", name]]) ?? Quantity(resources?[path: ["limits", name]])
            sum += Int(name == "cpu" ? amount?.boundedMilli ?? 0 : amount?.boundedWhole ?? 0)
            sum = min(sum, Int(Quantity.most))
        }
        return sum
    }
}
