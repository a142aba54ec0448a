import CKernel
import Glibc
import Kernel

/// Users and groups as an image's own `/etc/passwd` and `/etc/group` name them.
struct ImageUser: Sendable, Hashable {
    var user: UInt32 = 0
    var group: UInt32 = 0
    var groups: [UInt32] = []
    var home = "/"

    /// Looks up `user[:group]`, names or numbers, in the unpacked layers, the uppermost first.
    init(_ text: String, layers: [String], image: String) throws(RuntimeFailure) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let wanted = parts.first ?? ""
        let users = Self.lines("etc/passwd", layers)
        let groupLines = Self.lines("etc/group", layers)
        var name = ""
        if let line = users.first(where: { $0[0] == wanted })
            ?? users.first(where: { $0.count > 2 && $0[2] == (wanted.isEmpty ? "0" : wanted) }),
            line.count > 5, let number = UInt32(line[2])
        {
            name = line[0]
            user = number
            group = UInt32(line[3]) ?? 0
            home = line[5]
        } else if let number = UInt32(wanted.isEmpty ? "0" : wanted) {
            user = number
        } else {
            throw RuntimeFailure(
                .badCommand, "image \(image) runs as user '\(wanted)', which its /etc/passwd does not have")
        }
        if parts.count > 1 {
            let wantedGroup = parts[1]
            guard
                let number = UInt32(wantedGroup)
                    ?? groupLines.first(where: { $0[0] == wantedGroup && $0.count > 2 }).flatMap({ UInt32($0[2]) })
            else {
                throw RuntimeFailure(
                    .badCommand, "image \(image) runs as group '\(wantedGroup)', which its /etc/group does not have")
            }
            group = number
        }
        if !name.isEmpty {
            for line in groupLines where line.count > 3 && line[3].split(separator: ",").contains(Substring(name)) {
                if let number = UInt32(line[2]) { groups.append(number) }
            }
        }
    }

    /// Read without following links out of the layer.
    private static func lines(_ path: String, _ layers: [String]) -> [[String]] {
        for layer in layers {
            let root = open(layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard root >= 0 else { continue }
            defer { close(root) }
            let number = weft_open_in(root, path, O_RDONLY, 0)
            guard number >= 0 else { continue }
            let file = OwnedDescriptor(taking: number)
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let outcome = bytes.withUnsafeMutableBytes { space in try? file.read(into: space) }
            guard case .bytes(let count)? = outcome else { return [] }
            return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").map {
                $0.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            }
        }
        return []
    }
}
