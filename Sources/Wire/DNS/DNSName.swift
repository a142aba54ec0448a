/// A domain name, in its wire form: each label behind its length, a zero at the end (RFC 1035 §3.1).
///
/// Names differ by case here, since answers repeat the case of the question; compare `folded` names.
package struct DNSName: Sendable, Hashable {
    /// Without compression; 1 to 255 bytes.
    package let wire: [UInt8]

    package static let root = DNSName(checked: [0])

    init(checked wire: [UInt8]) { self.wire = wire }

    /// `web.demo.svc.cluster.local`, with or without the dot at the end. No escapes.
    /// - Returns: `nil` for an empty label, a label over 63 bytes, or a name over 255.
    package init?(_ text: String) {
        var wire: [UInt8] = []
        wire.reserveCapacity(text.utf8.count + 2)
        let bytes = text.utf8.last == UInt8(ascii: ".") ? text.utf8.dropLast() : text.utf8[...]
        if !bytes.isEmpty {
            for label in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
                guard (1...63).contains(label.count) else { return nil }
                wire.append(UInt8(label.count))
                wire += label
            }
        }
        wire.append(0)
        guard wire.count <= 255 else { return nil }
        self.wire = wire
    }

    /// The name in lower case, by which zones look names up (RFC 4343).
    package var folded: DNSName {
        // A length byte is at most 63, below "A", so that folding leaves lengths alone.
        DNSName(checked: wire.map { $0 >= 0x41 && $0 <= 0x5a ? $0 + 0x20 : $0 })
    }

    package var isRoot: Bool { wire.count == 1 }

    /// The labels, first to last, as text; bytes that are not UTF-8 are replaced.
    package var labels: [String] {
        var labels: [String] = []
        var place = 0
        while place < wire.count, wire[place] != 0 {
            let end = place + 1 + Int(wire[place])
            labels.append(String(decoding: wire[(place + 1)..<end], as: UTF8.self))
            place = end
        }
        return labels
    }

    /// The name without its first label; the root stays the root.
    package var parent: DNSName {
        isRoot ? self : DNSName(checked: Array(wire[(1 + Int(wire[0]))...]))
    }

    /// Whether the name is `zone` or below it. Both as they are: fold first.
    package func isWithin(_ zone: DNSName) -> Bool {
        guard wire.count >= zone.wire.count, wire.suffix(zone.wire.count) == zone.wire[...] else { return false }
        var place = 0  // The suffix must begin at a label, not inside one.
        while place < wire.count - zone.wire.count { place += 1 + Int(wire[place]) }
        return place == wire.count - zone.wire.count
    }

    /// The name with `label` in front, or `nil` when that is too long.
    package func child(_ label: String) -> DNSName? {
        guard (1...63).contains(label.utf8.count), wire.count + 1 + label.utf8.count <= 255 else { return nil }
        return DNSName(checked: [UInt8(label.utf8.count)] + Array(label.utf8) + wire)
    }
}

extension DNSName: CustomStringConvertible {
    /// Dotted, with the dot at the end; bytes outside printable ASCII, dots and backslashes inside labels as `\DDD`.
    package var description: String {
        if isRoot { return "." }
        var text = ""
        var place = 0
        while place < wire.count, wire[place] != 0 {
            let end = place + 1 + Int(wire[place])
            for byte in wire[(place + 1)..<end] {
                if byte > 0x20, byte < 0x7f, byte != UInt8(ascii: "."), byte != UInt8(ascii: "\\") {
                    text.unicodeScalars.append(Unicode.Scalar(byte))
                } else {
                    let digits = String(byte)
                    text += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
                }
            }
            text += "."
            place = end
        }
        return text
    }
}
