import Kernel

/// Which pod has which address of a node's range: one file an address, holding the pod's uid.
///
/// The files are the truth: a book opened again after a crash knows all that was given out. Addresses are given in turn,
/// so that one that came back is not given again before all others.
struct AddressBook: Sendable {
    let range: IPv4Range
    private let directory: String
    private var owners: [IPv4Address: String] = [:]
    private(set) var addresses: [String: IPv4Address] = [:]
    private var last: IPv4Address

    /// - Parameter range: its first address and its last are nobody's, its second is the gateway's.
    init(range: IPv4Range, node: String, runDirectory: String) throws(SystemCallFailed) {
        self.range = range
        directory = "\(Self.root(runDirectory))/\(node)"
        last = IPv4Address(bits: range.base.bits + 1)
        try SmallFile.makeDirectories(directory)
        for name in try FileNames.inDirectory(directory) {
            let path = "\(directory)/\(name)"
            let text = String(decoding: try SmallFile.read(path, limit: 1024), as: UTF8.self)
            if name == Self.cursor {
                if let address = IPv4Address(text), range.contains(address), address > last { last = address }
            } else if let address = IPv4Address(name), range.contains(address), !text.isEmpty {
                owners[address] = text
                addresses[text] = address
            } else {
                try FileNames.remove(path)  // a write a crash cut short: nobody was told of it
            }
        }
    }

    /// The pod's address: the one it has, or the next free one.
    mutating func address(for uid: String) throws(NetworkFailure) -> IPv4Address {
        if let address = addresses[uid] { return address }
        let first = range.base.bits + 2
        let count = UInt32(range.count) - 3
        for step in 0..<count {
            let address = IPv4Address(bits: first + (last.bits + 1 - first + step) % count)
            if owners[address] != nil { continue }
            do throws(SystemCallFailed) {
                try SmallFile.replace("\(directory)/\(address)", with: Array(uid.utf8))
                try SmallFile.replace("\(directory)/\(Self.cursor)", with: Array("\(address)".utf8))
            } catch {
                throw NetworkFailure("address for pod \(uid): \(error)")
            }
            owners[address] = uid
            addresses[uid] = address
            last = address
            return address
        }
        throw NetworkFailure("no address left in \(range) for pod \(uid): all \(count) are in use")
    }

    /// Gives the pod's address back. Not in the book is fine.
    mutating func release(_ uid: String) throws(SystemCallFailed) {
        guard let address = addresses[uid] else { return }
        try FileNames.remove("\(directory)/\(address)")
        addresses[uid] = nil
        owners[address] = nil
    }

    private static let cursor = "last"
    private static func root(_ runDirectory: String) -> String { "\(runDirectory)/addresses" }

    /// Forgets the books of all nodes.
    static func removeAll(under runDirectory: String) throws(SystemCallFailed) {
        for node in try FileNames.inDirectory(root(runDirectory)) {
            let directory = "\(root(runDirectory))/\(node)"
            for name in try FileNames.inDirectory(directory) { try FileNames.remove("\(directory)/\(name)") }
            try FileNames.removeDirectory(directory)
        }
        try FileNames.removeDirectory(root(runDirectory))
    }
}
