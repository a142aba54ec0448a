import Wire

extension PathRewrite {
    /// What a path, with its query, becomes for a request a match has taken; `nil` when it would be too long.
    package func applied(to whole: String, by match: RouteMatch) -> String? {
        let path = Array(whole.utf8.prefix { $0 != UInt8(ascii: "?") })
        let query = whole.utf8.dropFirst(path.count)
        func joined(_ made: [UInt8]) -> String {
            String(decoding: (made.first == UInt8(ascii: "/") ? [] : [UInt8(ascii: "/")]) + made + query, as: UTF8.self)
        }
        switch self {
        case .full(let path): return joined(Array(path.utf8))
        case .prefix(let prefix):
            var trimmed = Array(prefix.utf8)
            while trimmed.last == UInt8(ascii: "/") { trimmed.removeLast() }
            return joined(trimmed + path.dropFirst(match.path.length(in: path, ofAny: 0)))
        case .matched(let text): return joined(Array(text.utf8) + path.dropFirst(match.path.length(in: path, ofAny: 1)))
        case .regex(let pattern, let substitution):
            let made = (try? Pattern(pattern))?.replacing(
                in: String(decoding: path, as: UTF8.self), with: substitution, limit: 8191)
            return made.map { joined(Array($0.utf8)) }
        }
    }
}

extension RouteMatch.PathMatch {
    /// How much of a path it names.
    fileprivate func length(in path: [UInt8], ofAny: Int) -> Int {
        switch self {
        case .any: return min(ofAny, path.count)
        case .exact, .regex: return path.count
        case .textPrefix(let prefix): return prefix.utf8.count
        case .prefix(let prefix):
            var trimmed = Array(prefix.utf8)
            while trimmed.last == UInt8(ascii: "/") { trimmed.removeLast() }
            return trimmed.isEmpty ? min(ofAny, path.count) : trimmed.count
        }
    }
}

extension Redirect {
    /// The `Location` of the answer to a request a match has taken; `nil` when it would be too long.
    package func location(for request: RequestForm, _ match: RouteMatch) -> String? {
        guard let path = path.map({ $0.applied(to: request.path, by: match) }) ?? request.path else { return nil }
        let scheme = scheme ?? request.scheme
        var name = host ?? request.authority
        var port = port
        if host == nil, let colon = name.lastIndex(of: ":"), let given = Int(name[name.index(after: colon)...]) {
            name = String(name[..<colon])
            if self.scheme == nil { port = port ?? given }
        }
        let usual = scheme == "https" ? 443 : 80
        let ending = port.map { $0 == usual ? "" : ":\($0)" } ?? ""
        return "\(scheme)://\(name)\(ending)\(path)"
    }
}
