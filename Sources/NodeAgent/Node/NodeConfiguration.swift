/// One node of the cluster, as its agent needs it.
package struct NodeConfiguration: Sendable {
    package var name: String
    package var podRange: String
    package var nodeAddress: String
    /// Holds `pods/` and `logs/`: survives the machine.
    package var stateDirectory: String
    /// Holds `pods/<uid>/mesh`: gone with the machine.
    package var runDirectory: String
    package var clusterDomain = "cluster.local"
    package var dnsAddress = "10.96.0.10"
    /// The node's own network namespace, for pods with `hostNetwork`; `nil` for the machine's.
    package var networkNamespace: String?
    package var labels: [String: String] = [:]
    /// What the node offers; `nil` for all the machine has.
    package var machine: MachineSize?
    package var mostPods = 110
    package var version = "v1.37.0-weft"
    package var heartbeat: Duration = .seconds(10)
    /// How often configuration volumes are compared with their objects.
    package var volumeRefresh: Duration = .seconds(30)

    package init(name: String, podRange: String, nodeAddress: String, stateDirectory: String, runDirectory: String) {
        self.name = name
        self.podRange = podRange
        self.nodeAddress = nodeAddress
        self.stateDirectory = stateDirectory
        self.runDirectory = runDirectory
    }

    func places(of uid: String) -> PodPlaces {
        PodPlaces(state: "\(stateDirectory)/pods/\(uid)", run: "\(runDirectory)/pods/\(uid)")
    }

    /// Where the logs of a pod are: a directory a container, a file a run.
    package func logDirectory(namespace: String, name: String, uid: String) -> String {
        "\(stateDirectory)/logs/\(namespace)_\(name)_\(uid)"
    }
}

/// Where one pod's files are.
package struct PodPlaces: Sendable, Hashable {
    package let state: String
    package let run: String

    package init(state: String, run: String) {
        self.state = state
        self.run = run
    }

    package func volume(_ name: String) -> String { "\(state)/volumes/\(name)" }
    package var mesh: String { "\(run)/mesh" }
    /// The pod object as last seen and the node it is on: whose pod this is, when the API no longer knows it.
    var record: String { "\(state)/pod.json" }
    func terminationMessage(_ id: String) -> String { "\(state)/messages/\(id)" }
}
