/// What routing looks at in a request.
package struct RequestForm: Sendable, Hashable {
    package var method: String
    package var path: String  // as sent; a query is not looked at
    package var headers: [HeaderValue]  // names in any case

    package init(method: String = "GET", path: String, headers: [HeaderValue] = []) {
        self.method = method
        self.path = path
        self.headers = headers
    }
}

/// What the rules mean: the first rule that matches takes the request. The data plane matches bytes in its own way and must agree with this.
package func chooseRule(in rules: [RouteRule], for request: RequestForm) -> Int? {
    rules.firstIndex { rule in rule.matches.isEmpty || rule.matches.contains { $0.admits(request) } }
}

/// The virtual host for an authority (a port is not looked at): the exact name, else the longest wildcard, else `*`.
package func chooseHost(in hosts: [VirtualHost], for authority: String) -> Int? {
    var best: (index: Int, rank: Int)? = nil
    let name = hostName(authority)
    for (index, host) in hosts.enumerated() {
        for pattern in host.hosts {
            guard let rank = hostRank(of: pattern, for: name), rank > best?.rank ?? -1 else { continue }
            best = (index, rank)
        }
    }
    return best?.index
}

/// `nil` when the pattern does not cover the name; larger is more specific.
private func hostRank(of pattern: String, for name: String) -> Int? {
    if pattern == "*" { return 0 }
    let pattern = pattern.lowercased()
    if pattern == name { return Int.max }
    guard pattern.hasPrefix("*.") else { return nil }
    let suffix = pattern.dropFirst()
    return name.utf8.count > suffix.utf8.count && name.hasSuffix(suffix) ? suffix.utf8.count : nil
}

private func hostName(_ authority: String) -> String {
    let lower = authority.lowercased()
    if lower.hasPrefix("[") { return String(lower.prefix { $0 != "]" }.dropFirst()) }
    let name = lower.prefix { $0 != ":" }
    return name.hasSuffix(".") ? String(name.dropLast()) : String(name)
}

extension RouteMatch {
    package func admits(_ request: RequestForm) -> Bool {
        if let method, method != request.method { return false }
        let requested = request.path.prefix { $0 != "?" && $0 != "#" }
        switch path {
        case .any: break
        case .exact(let wanted): if requested != wanted { return false }
        case .textPrefix(let wanted): if !requested.hasPrefix(wanted) { return false }
        case .prefix(let wanted):
            let elements = wanted.hasSuffix("/") ? wanted.dropLast() : wanted[...]
            guard requested.hasPrefix(elements) else { return false }
            let rest = requested.dropFirst(elements.count)
            if !rest.isEmpty, rest.first != "/" { return false }
        }
        return headers.allSatisfy { $0.admits(request) }
    }
}

extension HeaderMatch {
    func admits(_ request: RequestForm) -> Bool {
        request.headers.contains { header in
            guard header.name.lowercased() == name else { return false }
            return switch kind {
            case .present: true
            case .exact: header.value == value
            case .prefix: header.value.hasPrefix(value)
            }
        }
    }
}
