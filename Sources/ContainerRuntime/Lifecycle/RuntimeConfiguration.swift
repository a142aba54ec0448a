/// Where a runtime keeps its things. Two runtimes with different directories and groups do not see each other.
package struct RuntimeConfiguration: Sendable, Hashable {
    /// `/var/lib/weft/<cluster>/nodes/<node>`: writable layers.
    package var stateDirectory: String
    /// `/run/weft/<cluster>/nodes/<node>`: control sockets, states.
    package var runDirectory: String
    /// The image store; the runtimes of several nodes may share one.
    package var imageDirectory: String
    /// `weft/<cluster>`, below each cgroup hierarchy.
    package var cgroupRoot: String
    /// The program `mesh-init`.
    package var supervisorPath: String

    package init(stateDirectory: String, runDirectory: String, cgroupRoot: String, supervisorPath: String) {
        self.stateDirectory = stateDirectory
        self.runDirectory = runDirectory
        imageDirectory = "\(stateDirectory)/images"
        self.cgroupRoot = cgroupRoot
        self.supervisorPath = supervisorPath
    }
}
