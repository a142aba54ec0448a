import Wire

/// What somebody asks of the admin pages.
struct AdminRequest: Sendable {
    var method = "GET"
    var path = "/"
    var query: [(String, String)] = []
    var accept = ""
    var takesGzip = false
    var isHTTP10 = false

    init() {}

    /// From a head just parsed.
    init(_ parser: borrowing HeadParser, _ bytes: [UInt8]) {
        let head = parser.head
        func text(_ offset: Int, _ count: Int) -> String {
            String(decoding: bytes[offset..<offset + count], as: UTF8.self)
        }
        self.init(target: text(head.pathOffset, head.pathLength))
        method = text(0, head.methodLength)
        isHTTP10 = head.minorVersion == 0
        for place in 0..<head.lineCount {
            let line = parser.lines[place]
            let value = { text(Int(line.valueOffset), Int(line.valueLength)) }
            switch text(Int(line.offset), Int(line.nameLength)).lowercased() {
            case "accept": accept = value()
            case "accept-encoding": takesGzip = Self.takesGzip(value())
            default: break
            }
        }
    }

    init(target: String) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts.first ?? "/")
        query = parts.count < 2 ? [] : Self.members(parts[1])
    }

    private static func members(_ text: Substring) -> [(String, String)] {
        text.split(separator: "&").map { member in
            let sides = member.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (decoded(sides[0]), sides.count > 1 ? decoded(sides[1]) : "")
        }
    }

    /// RFC 3986 §2.1, and `+` for a space.
    static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            if byte == 37, let number = UInt8(String(Substring(rest.prefix(2))), radix: 16), rest.count >= 2 {
                bytes.append(number)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == 43 ? 32 : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// RFC 9110 §12.5.3: `gzip` or `*`, unless with a weight of 0.
    private static func takesGzip(_ value: String) -> Bool {
        for element in value.split(separator: ",") {
            let parts = element.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
            guard let coding = parts.first, coding == "gzip" || coding == "*" else { continue }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            return weight > 0
        }
        return false
    }

    func value(_ key: String) -> String? { query.first { $0.0 == key }?.1 }

    /// A number in a range; nil when absent, an error's text when it is none.
    func number(_ key: String, in range: ClosedRange<Int>, or missing: Int) throws(TapFilter.Fault) -> Int {
        guard let text = value(key) else { return missing }
        guard let number = Int(text), range.contains(number) else {
            throw TapFilter.Fault(
                message: "\(key) is \"\(text)\", must be from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
