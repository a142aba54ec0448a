extension RouteMatch {
    /// What of a match a request does not fit, in words; empty when it fits.
    package func mismatches(with request: RequestForm) -> [String] {
        var found: [String] = []
        func test(_ words: @autoclosure () -> String, _ set: (inout RouteMatch) -> Void) {
            var only = RouteMatch()
            set(&only)
            if !only.admits(request) { found.append(words()) }
        }
        let (path, method) = (self.path, self.method)
        test("the path must \(path.words)\(ignoresPathCase ? ", in any case" : "")") {
            $0.path = path
            $0.ignoresPathCase = ignoresPathCase
        }
        test("the method must be \(method ?? "")") { $0.method = method }
        if let methodText { test("the method must \(methodText.words)") { $0.methodText = methodText } }
        if let scheme { test("the scheme must \(scheme.words)") { $0.scheme = scheme } }
        if let authority { test("the host must \(authority.words)") { $0.authority = authority } }
        if let port { test("the port must be \(port)") { $0.port = port } }
        for header in headers {
            let not = header.isInverted ? "not " : ""
            test("header \(header.name) must \(not)\(header.text.words)") { $0.headers = [header] }
        }
        for member in query { test("query member \(member.name) must \(member.text.words)") { $0.query = [member] } }
        if !source.isAnyone {
            let source = source
            test("the caller must be \(source.words)") { $0.source = source }
        }
        return found
    }
}

extension RouteMatch.PathMatch {
    fileprivate var words: String {
        switch self {
        case .any: "be any"
        case .exact(let text): "be \(text)"
        case .prefix(let text): "be \(text) or under it"
        case .textPrefix(let text): "begin with \(text)"
        case .regex(let text): "match \(text)"
        }
    }
}

extension TextMatch {
    fileprivate var words: String {
        let word =
            switch kind {
            case .exact: "be \(value)"
            case .prefix: "begin with \(value)"
            case .suffix: "end with \(value)"
            case .present: "be there"
            case .regex: "match \(value)"
            }
        return ignoresCase ? "\(word), in any case" : word
    }
}

extension SourceMatch {
    fileprivate var words: String {
        var parts: [String] = []
        if let namespace { parts.append("in namespace \(namespace)") }
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) { parts.append("labelled \(name)=\(value)") }
        if !addresses.isEmpty { parts.append("at \(addresses.joined(separator: " or "))") }
        return parts.joined(separator: " and ")
    }
}
