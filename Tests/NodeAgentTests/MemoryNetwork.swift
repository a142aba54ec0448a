import KubeTypes
import NodeAgent
import ServiceNetwork
import Synchronization

/// Addresses without interfaces: all pods live on the machine's own loopback.
final class MemoryNetwork: PodNetwork {
    private struct State {
        var attached: [String: PodAttachment] = [:]
        var interceptions: [String: Interception] = [:]
        var last = 0
    }
    private let state = Mutex(State())

    var attachedCount: Int { state.withLock { $0.attached.count } }
    func interception(_ uid: String) -> Interception? { state.withLock { $0.interceptions[uid] } }

    func attach(podUID: String, interception: Interception?) async throws(NetworkFailure) -> PodAttachment {
        state.withLock { state in
            if let known = state.attached[podUID] { return known }
            state.last += 1
            let made = PodAttachment(address: "127.0.1.\(state.last)", networkNamespace: "/proc/self/ns/net")
            state.attached[podUID] = made
            state.interceptions[podUID] = interception
            return made
        }
    }
    func detach(podUID: String) async throws(NetworkFailure) {
        state.withLock { _ = $0.attached.removeValue(forKey: podUID) }
    }
    func attachments() async throws(NetworkFailure) -> [String: PodAttachment] { state.withLock { $0.attached } }
}

/// Remembers which pods' sockets are open.
final class MemoryMesh: MeshSockets {
    private let directories = Mutex<[String: String]>([:])
    var open: [String: String] { directories.withLock { $0 } }
    func open(pod: KubeObject, directory: String) async throws { directories.withLock { $0[pod.uid] = directory } }
    func close(podUID: String) async { directories.withLock { _ = $0.removeValue(forKey: podUID) } }
}
