import Synchronization

/// What metrics say of a workload.
struct PeerLabels: Sendable, Hashable {
    var workload = "unknown"
    var namespace = "unknown"
    var principal = "unknown"
    var app = "unknown"
    var version = "unknown"

    static let unknown = PeerLabels()
}

/// Gives label sets and service names small numbers, the same in all loops, so that counting needs no strings.
///
/// Numbers are never taken back: workloads and services are few, unlike pods. Beyond the limit everything is number 0, unknown,
/// so that a peer that makes up names cannot fill memory.
final class LabelBook: Sendable {
    static let limit = 20000

    private struct Pages {
        var peers: [PeerLabels] = [.unknown]
        var peerNumbers: [PeerLabels: UInt32] = [.unknown: 0]
        var services = ["unknown"]
        var serviceNumbers: [String: UInt32] = ["unknown": 0, "": 0]
        var names = [""]
        var nameNumbers: [String: UInt32] = ["": 0]
    }
    private let pages = Mutex(Pages())

    func number(of peer: PeerLabels) -> UInt32 {
        pages.withLock { pages in
            if let known = pages.peerNumbers[peer] { return known }
            guard pages.peers.count < Self.limit else { return 0 }
            let number = UInt32(pages.peers.count)
            pages.peers.append(peer)
            pages.peerNumbers[peer] = number
            return number
        }
    }

    func number(ofService name: String) -> UInt32 {
        pages.withLock { pages in
            if let known = pages.serviceNumbers[name] { return known }
            guard pages.services.count < Self.limit else { return 0 }
            let number = UInt32(pages.services.count)
            pages.services.append(name)
            pages.serviceNumbers[name] = number
            return number
        }
    }

    /// Of a route's rule or a policy, for request records.
    func number(ofName name: String) -> UInt32 {
        pages.withLock { pages in
            if let known = pages.nameNumbers[name] { return known }
            guard pages.names.count < Self.limit else { return 0 }
            let number = UInt32(pages.names.count)
            pages.names.append(name)
            pages.nameNumbers[name] = number
            return number
        }
    }

    func names() -> [String] { pages.withLock { $0.names } }

    func contents() -> (peers: [PeerLabels], services: [String]) { pages.withLock { ($0.peers, $0.services) } }
}
