package import KubeTypes

/// The mesh's end of the sockets pods get their proxy's configuration from.
package protocol MeshSockets: Sendable {
    /// Listens on `<directory>/mesh.sock` for this pod's proxy, and answers as its control plane. Repeating it is harmless:
    /// a restarted agent opens the sockets of the pods it finds.
    func open(pod: KubeObject, directory: String) async throws
    func close(podUID: String) async
}
