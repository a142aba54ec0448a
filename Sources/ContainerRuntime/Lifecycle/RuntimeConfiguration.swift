/// Where a runtime keeps its things. Two runtimes with different directories and groups do not see each other.
package struct RuntimeConfiguration: Sendable, Hashable {
    /// `/var/lib/weft/<cluster>`: images, writable layers.
    package var stateDirectory: String
    /// `/run/weft/<cluster>`: control sockets, states.
    package var runDirectory: String
    /// `weft/<cluster>`, below each cgroup hierarchy.
    package var cgroupRoot: String
    /// The program `mesh-init`.
    package var supervisorPath: String

    package init(stateDirectory: String, runDirectory: String, cgroupRoot: String, supervisorPath: String) {
        self.stateDirectory = stateDirectory
        self.runDirectory = runDirectory
        self.cgroupRoot = cgroupRoot
        self.supervisorPath = supervisorPath
    }

    package var imageDirectory: String { stateDirectory + "/images" }
}
