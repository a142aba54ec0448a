import Wire

/// A URL taken apart: one with a scheme, or a path that starts with a slash.
final class WebAddress: OpaqueValue {
    static let type = ValueType.named("kubernetes.URL")

    private let text: String
    let scheme: String
    /// With the port.
    let host: String
    /// Escaped as it was written.
    let path: String
    let query: String

    init?(_ text: String) {
        let bytes = text.utf8
        if bytes.isEmpty || bytes.contains(where: { $0 < 33 || $0 == 127 }) { return nil }
        var rest = Substring(text)
        var scheme = ""
        if let mark = rest.firstIndex(of: ":"), rest.first != "/" {
            let name = rest[..<mark]
            let isName = name.utf8.enumerated().allSatisfy { place, byte in
                (byte | 32 >= 97 && byte | 32 <= 122)
                    || (place > 0 && ((byte >= 48 && byte <= 57) || byte == 43 || byte == 45 || byte == 46))
            }
            guard isName, !name.isEmpty else { return nil }
            scheme = name.lowercased()
            rest = rest[rest.index(after: mark)...]
        } else if rest.first != "/" {
            return nil
        }
        var query = ""
        if let mark = rest.firstIndex(of: "?") {
            query = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        var host = ""
        if !scheme.isEmpty, rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            let end = rest.firstIndex(of: "/") ?? rest.endIndex
            host = String(rest[..<end])
            rest = rest[end...]
            if let at = host.lastIndex(of: "@") { host = String(host[host.index(after: at)...]) }
            guard let name = Self.parts(host) else { return nil }
            if !name.port.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) { return nil }
        }
        guard Self.hasWholeEscapes(rest), rest.isEmpty || rest.first == "/" || host.isEmpty && !scheme.isEmpty else {
            return nil
        }
        self.text = text
        self.scheme = scheme
        self.host = host
        self.path = String(rest)
        self.query = query
    }

    private static func hasWholeEscapes(_ text: Substring) -> Bool {
        let bytes = Array(text.utf8)
        func isHex(_ place: Int) -> Bool { place < bytes.count && Character(Unicode.Scalar(bytes[place])).isHexDigit }
        return bytes.indices.allSatisfy { bytes[$0] != 37 || isHex($0 + 1) && isHex($0 + 2) }
    }

    private static func parts(_ host: String) -> (name: String, port: String)? {
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return nil }
            let behind = host[host.index(after: end)...]
            guard behind.isEmpty || behind.hasPrefix(":") else { return nil }
            return (String(host[host.index(after: host.startIndex)..<end]), String(behind.dropFirst()))
        }
        guard let mark = host.lastIndex(of: ":") else { return (host, "") }
        let name = host[..<mark]
        return name.contains(":") ? nil : (String(name), String(host[host.index(after: mark)...]))
    }

    var hostname: String { Self.parts(host)?.name ?? "" }
    var port: String { Self.parts(host)?.port ?? "" }

    /// A query's values by their names, in the order of their coming.
    var values: [(String, [String])] {
        var made: [(String, [String])] = []
        for pair in query.split(separator: "&") where !pair.contains(";") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = Self.decoded(parts[0])
            let value = parts.count > 1 ? Self.decoded(parts[1]) : ""
            if let place = made.firstIndex(where: { $0.0 == name }) {
                made[place].1.append(value)
            } else {
                made.append((name, [value]))
            }
        }
        return made
    }

    private static func decoded(_ text: Substring) -> String {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBufferPointer { String(decoding: PercentText.decodeForm($0), as: UTF8.self) }
    }

    var type: ValueType { Self.type }
    func equals(_ other: any OpaqueValue) -> Bool { (other as? WebAddress)?.text == text }
}

extension Library {
    package static let urls = Library(
        [
            Function(
                "url",
                .global("string_to_url", [.string], WebAddress.type, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    let text = try values[0].text()
                    guard let made = WebAddress(text) else {
                        throw .failed("URL parse error during conversion from string: '\(text.prefix(100))'")
                    }
                    return .opaque(made)
                }),
            Function(
                "isURL",
                .global("is_url_string", [.string], .bool, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .bool(WebAddress(try values[0].text()) != nil)
                }),
            part("getScheme") { .string($0.scheme) }, part("getHost") { .string($0.host) },
            part("getHostname") { .string($0.hostname) }, part("getPort") { .string($0.port) },
            part("getEscapedPath") { .string($0.path) },
            part("getQuery", .map(.string, .list(.string))) { url in
                let entries = url.values.map { (Value.string($0.0), Value.strings($0.1)) }
                return MapEntries(entries).map { .map(.entries($0)) } ?? .null
            },
        ], types: [WebAddress.type])

    private static func part(
        _ name: String, _ result: ValueType = .string, _ body: @escaping @Sendable (WebAddress) -> Value
    ) -> Function {
        Function(
            name,
            .member("url_\(name)", [WebAddress.type], result) { (values) throws(EvaluationFault) -> Value in
                body(try values[0].own(WebAddress.self))
            })
    }
}
