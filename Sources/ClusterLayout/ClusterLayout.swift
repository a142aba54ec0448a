/// Where a cluster on this machine keeps its things, and the addresses it uses. `meshd` and `meshctl` agree through this.
package struct ClusterLayout: Sendable, Hashable {
    package let name: String

    /// - Parameter name: a DNS label of at most 20 characters; it stands in paths, cgroups and interface names.
    package init(name: String) throws(BadClusterName) {
        let letters = name.utf8.allSatisfy { $0 &- 0x61 < 26 || $0 &- 0x30 < 10 || $0 == UInt8(ascii: "-") }
        guard letters, !name.isEmpty, name.utf8.count <= 20, !name.hasPrefix("-"), !name.hasSuffix("-") else {
            throw BadClusterName(name: name)
        }
        self.name = name
    }

    package var stateDirectory: String { "/var/lib/weft/\(name)" }
    package var runDirectory: String { "/run/weft/\(name)" }
    package var cgroup: String { "weft/\(name)" }

    package var imageDirectory: String { "\(stateDirectory)/images" }
    package var kubeconfig: String { "\(stateDirectory)/kubeconfig" }
    package var daemonLog: String { "\(stateDirectory)/meshd.log" }
    /// Locked while a daemon of this cluster runs, or its teardown; its text is the process id, then `teardownMark` for the latter.
    package var pidFile: String { "\(runDirectory)/meshd.pid" }
    package static let teardownMark = "teardown"

    /// Whether the text of a pid file says that the process that holds its lock is a teardown; `nil` while it is another's text.
    package static func isTeardown(pidFileText text: String, holder: Int32) -> Bool? {
        let words = text.split { $0 == " " || $0 == "\n" }
        guard let first = words.first, Int32(first) == holder else { return nil }
        return words.count > 1 && words[1] == teardownMark
    }

    /// Holds the process id of the daemon once all it promises works.
    package var readyFile: String { "\(runDirectory)/meshd.ready" }
    /// What the cluster was started with, so that a restart finds the same.
    package var settingsFile: String { "\(stateDirectory)/cluster.json" }

    package func nodeStateDirectory(_ node: String) -> String { "\(stateDirectory)/nodes/\(node)" }
    package func nodeRunDirectory(_ node: String) -> String { "\(runDirectory)/nodes/\(node)" }
    package func nodeName(_ index: Int) -> String { "node-\(index)" }

    package static let clusterDomain = "cluster.local"
    package static let apiAddress = "127.0.0.1"
    package static let serviceRange = "10.96.0.0/16"
    package static let podRange = "10.244.0.0/16"
    package static let dnsAddress = "10.96.0.10"
    package static let kubernetesAddress = "10.96.0.1"

    package static func nodeAddress(_ index: Int) -> String { "10.245.0.\(10 + index)" }
    package static func podRange(ofNode index: Int) -> String { "10.244.\(index).0/24" }

    /// A cluster in one machine is a way to try and to test, not a data centre.
    package static let mostNodes = 32
}

package struct BadClusterName: Error, CustomStringConvertible {
    package let name: String
    package var description: String {
        "cluster name \"\(name)\" must be 1 to 20 lower-case letters, digits or dashes, with no dash at either end"
    }
}
