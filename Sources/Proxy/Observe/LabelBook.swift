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

    /// Things by number, and numbers by thing.
    private struct Page<Entry: Hashable & Sendable>: Sendable {
        private(set) var entries: [Entry]
        private var numbers: [Entry: UInt32]

        init(unknown: Entry, alike: [Entry] = []) {
            entries = [unknown]
            numbers = [unknown: 0]
            for entry in alike { numbers[entry] = 0 }
        }

        mutating func number(of entry: Entry) -> UInt32 {
            if let known = numbers[entry] { return known }
            guard entries.count < LabelBook.limit else { return 0 }
            let number = UInt32(entries.count)
            entries.append(entry)
            numbers[entry] = number
            return number
        }
    }
    private let peers = Mutex(Page(unknown: PeerLabels.unknown))
    private let services = Mutex(Page(unknown: "unknown", alike: [""]))
    private let ruleNames = Mutex(Page(unknown: ""))

    func number(of peer: PeerLabels) -> UInt32 { peers.withLock { $0.number(of: peer) } }

    func number(ofService name: String) -> UInt32 { services.withLock { $0.number(of: name) } }

    /// Of a route's rule or a policy, for request records.
    func number(ofName name: String) -> UInt32 { ruleNames.withLock { $0.number(of: name) } }

    func names() -> [String] { ruleNames.withLock { $0.entries } }

    func contents() -> (peers: [PeerLabels], services: [String]) {
        (peers.withLock { $0.entries }, services.withLock { $0.entries })
    }
}
