package struct VirtualHost: Sendable, Hashable {
    package var hosts: [String]  // exact, `*.example.com`, or `*`
    package var rules: [RouteRule]

    package init(hosts: [String], rules: [RouteRule]) {
        self.hosts = hosts
        self.rules = rules
    }
}

package struct RouteRule: Sendable, Hashable {
    package var name: String  // `HTTPRoute demo/catalog rule 0`: shown in metrics, logs and `explain`
    package var matches: [RouteMatch]  // any of them; empty matches all
    package var backends: [WeightedBackend]
    package var timeoutMilliseconds: Int?
    /// Order of the changes: remove, set, add.
    package var setRequestHeaders: [HeaderValue]
    package var addRequestHeaders: [HeaderValue]
    package var removeRequestHeaders: [String]
    /// Answers without a backend: an invalid reference gives 500, as Gateway API asks.
    package var directStatus: Int?
    /// Instead of the session policies of its backends.
    package var session: SessionPolicy?

    package init(
        name: String, matches: [RouteMatch] = [], backends: [WeightedBackend] = [], timeoutMilliseconds: Int? = nil,
        setRequestHeaders: [HeaderValue] = [], addRequestHeaders: [HeaderValue] = [],
        removeRequestHeaders: [String] = [],
        directStatus: Int? = nil, session: SessionPolicy? = nil
    ) {
        self.name = name
        self.matches = matches
        self.backends = backends
        self.timeoutMilliseconds = timeoutMilliseconds
        self.setRequestHeaders = setRequestHeaders
        self.addRequestHeaders = addRequestHeaders
        self.removeRequestHeaders = removeRequestHeaders
        self.directStatus = directStatus
        self.session = session
    }
}

package struct RouteMatch: Sendable, Hashable {
    package enum PathMatch: Sendable, Hashable {
        case any
        case exact(String)
        /// Whole path elements: `/foo` matches `/foo` and `/foo/bar`, not `/foobar` (Gateway API).
        case prefix(String)
        /// The characters themselves: `/foo` matches `/foobar` too (Istio).
        case textPrefix(String)
    }
    package var path: PathMatch
    package var method: String?
    package var headers: [HeaderMatch]

    package init(path: PathMatch = .any, method: String? = nil, headers: [HeaderMatch] = []) {
        self.path = path
        self.method = method
        self.headers = headers
    }
}

package struct HeaderMatch: Sendable, Hashable {
    package enum Kind: String, Sendable { case exact, prefix, present }
    package var name: String  // lower case
    package var kind: Kind
    package var value: String

    package init(name: String, kind: Kind, value: String = "") {
        self.name = name
        self.kind = kind
        self.value = value
    }
}

package struct HeaderValue: Sendable, Hashable {
    package var name: String
    package var value: String

    package init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

package struct WeightedBackend: Sendable, Hashable {
    package var backend: String  // a `Backend`'s name; empty for one that cannot be resolved: its share gets 500
    package var weight: Int

    package init(backend: String, weight: Int = 1) {
        self.backend = backend
        self.weight = weight
    }
}
