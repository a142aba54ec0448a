extension JSON {
    /// The value as compact JSON text, UTF-8.
    package var bytes: [UInt8] {
        var text = JSONText()
        text.put(self)
        return text.bytes
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The value as JSON indented by four spaces, as `kubectl -o json` prints it.
    package func pretty(indent: Int = 4) -> String {
        var out: [UInt8] = []
        writePretty(to: &out, indent: indent, depth: 0)
        return String(decoding: out, as: UTF8.self)
    }

    package func write(to out: inout [UInt8]) {
        var text = JSONText()
        text.put(self)
        text.append(to: &out)
    }

    private func writePretty(to out: inout [UInt8], indent: Int, depth: Int) {
        func newLine(_ depth: Int) {
            out.append(0x0A)
            out.append(contentsOf: repeatElement(0x20, count: indent * depth))
        }
        switch self {
        case .array(let elements) where !elements.isEmpty:
            out.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                newLine(depth + 1)
                element.writePretty(to: &out, indent: indent, depth: depth + 1)
            }
            newLine(depth)
            out.append(UInt8(ascii: "]"))
        case .object(let object) where !object.isEmpty:
            out.append(UInt8(ascii: "{"))
            for (index, member) in object.members.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                newLine(depth + 1)
                Self.write(member.key, to: &out)
                out.append(contentsOf: ": ".utf8)
                member.value.writePretty(to: &out, indent: indent, depth: depth + 1)
            }
            newLine(depth)
            out.append(UInt8(ascii: "}"))
        default: write(to: &out)
        }
    }

    /// JSON has no infinity and no NaN: they become null. A whole double keeps no fraction.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return "\(value)"
    }

    package static func write(_ string: String, to out: inout [UInt8]) {
        var text = JSONText(capacity: string.utf8.count + 8)
        text.put(quoted: string)
        text.append(to: &out)
    }
}
