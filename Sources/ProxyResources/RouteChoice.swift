import Wire

/// What routing looks at in a request.
package struct RequestForm: Sendable, Hashable {
    package var method: String
    package var path: String  // as sent, with its query
    package var scheme: String
    package var authority: String
    package var headers: [HeaderValue]  // names in any case
    /// Of the client, `10.0.0.1`.
    package var address: String
    /// The port that was asked.
    package var port: Int
    /// The asking pod's; only a sidecar knows them.
    package var namespace: String
    package var labels: [String: String]

    package init(
        method: String = "GET", path: String, scheme: String = "http", authority: String = "",
        headers: [HeaderValue] = [], address: String = "", port: Int = 0, namespace: String = "",
        labels: [String: String] = [:]
    ) {
        self.method = method
        self.path = path
        self.scheme = scheme
        self.authority = authority
        self.headers = headers
        self.address = address
        self.port = port
        self.namespace = namespace
        self.labels = labels
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
        if let methodText, !methodText.admits(request.method) { return false }
        if let scheme, !scheme.admits(request.scheme) { return false }
        if let authority, !authority.admits(request.authority.lowercased()) { return false }
        if let port, port != request.port { return false }
        if !source.admits(request) || !admits(path: request.path) { return false }
        return headers.allSatisfy { $0.admits(request) } && query.allSatisfy { $0.admits(request.path) }
    }

    private func admits(path whole: String) -> Bool {
        var requested = Array(whole.utf8.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") })
        func spelled(_ text: String) -> [UInt8] {
            ignoresPathCase ? Array(text.utf8).map(lowerCase) : Array(text.utf8)
        }
        if ignoresPathCase { requested = requested.map(lowerCase) }
        switch path {
        case .any: return true
        case .exact(let wanted): return requested == spelled(wanted)
        case .textPrefix(let wanted): return requested.starts(with: spelled(wanted))
        case .prefix(let wanted):
            var elements = spelled(wanted)
            while elements.last == UInt8(ascii: "/") { elements.removeLast() }
            guard requested.starts(with: elements) else { return false }
            return elements.isEmpty || requested.count == elements.count
                || requested[elements.count] == UInt8(ascii: "/")
        case .regex(let text):
            return (try? Pattern(text, ignoresCase: ignoresPathCase))?
                .matches(String(decoding: requested, as: UTF8.self)) ?? false
        }
    }
}

extension SourceMatch {
    func admits(_ request: RequestForm) -> Bool {
        if let namespace, namespace != request.namespace { return false }
        for (name, value) in labels where request.labels[name] != value { return false }
        if addresses.isEmpty { return true }
        guard let address = AddressRange(request.address) else { return false }
        return addresses.contains { AddressRange($0)?.contains(address.address) ?? false }
    }
}

extension TextMatch {
    package func admits(_ text: String) -> Bool {
        if kind == .regex { return (try? Pattern(value, ignoresCase: ignoresCase))?.matches(text) ?? false }
        let given = ignoresCase ? Array(text.utf8).map(lowerCase) : Array(text.utf8)
        let wanted = ignoresCase ? Array(value.utf8).map(lowerCase) : Array(value.utf8)
        return switch kind {
        case .exact: given == wanted
        case .prefix: given.starts(with: wanted)
        case .suffix: given.reversed().starts(with: wanted.reversed())
        case .present, .regex: true
        }
    }
}

extension HeaderMatch {
    func admits(_ request: RequestForm) -> Bool {
        let isThere = request.headers.contains { header in
            header.name.lowercased() == name && text.admits(header.value)
        }
        return isThere != isInverted
    }
}

extension QueryMatch {
    func admits(_ path: String) -> Bool {
        let bytes = Array(path.utf8.prefix { $0 != UInt8(ascii: "#") })
        guard let mark = bytes.firstIndex(of: UInt8(ascii: "?")) else { return false }
        for part in bytes[(mark + 1)...].split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: true) {
            let sign = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            guard percentDecoded(part[..<sign]) == Array(name.utf8) else { continue }
            let value = sign == part.endIndex ? [] : percentDecoded(part[(sign + 1)...])
            return text.admits(String(decoding: value, as: UTF8.self))
        }
        return false
    }
}

private func lowerCase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

/// `%41` becomes `A`; what is no such number stays.
private func percentDecoded(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
    var made: [UInt8] = []
    var place = bytes.startIndex
    while place < bytes.endIndex {
        if bytes[place] == UInt8(ascii: "%"), place + 2 < bytes.endIndex, let high = digit(bytes[place + 1]),
            let low = digit(bytes[place + 2])
        {
            made.append(high << 4 | low)
            place += 3
        } else {
            made.append(bytes[place])
            place += 1
        }
    }
    return made
}
