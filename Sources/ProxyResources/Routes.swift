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
    /// `directStatus` is answered since no rule before this one takes the request: the end of a list that has no default.
    package var isNoRoute = false
    /// Instead of the session policies of its backends.
    @Boxed package var session: SessionPolicy?
    @Boxed package var actions: RouteActions
    @Boxed package var resilience = RouteResilience.none

    package init(
        name: String, matches: [RouteMatch] = [], backends: [WeightedBackend] = [], timeoutMilliseconds: Int? = nil,
        setRequestHeaders: [HeaderValue] = [], addRequestHeaders: [HeaderValue] = [],
        removeRequestHeaders: [String] = [],
        directStatus: Int? = nil, session: SessionPolicy? = nil, actions: RouteActions = RouteActions()
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
        self.actions = actions
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
        /// The whole path matches (see `Pattern`).
        case regex(String)
    }
    package var path: PathMatch
    package var ignoresPathCase: Bool
    package var method: String?
    /// Beside `method`, where it is not one word.
    @Boxed package var methodText: TextMatch?
    @Boxed package var scheme: TextMatch?
    /// The Host header as sent, with its port if it has one; compared in lower case.
    @Boxed package var authority: TextMatch?
    package var headers: [HeaderMatch]
    package var query: [QueryMatch]
    @Boxed package var source: SourceMatch
    /// The port that was asked: a service's, or the listener's.
    package var port: Int?

    package init(
        path: PathMatch = .any, ignoresPathCase: Bool = false, method: String? = nil, methodText: TextMatch? = nil,
        scheme: TextMatch? = nil, authority: TextMatch? = nil, headers: [HeaderMatch] = [], query: [QueryMatch] = [],
        source: SourceMatch = SourceMatch(), port: Int? = nil
    ) {
        self.path = path
        self.ignoresPathCase = ignoresPathCase
        self.method = method
        self.methodText = methodText
        self.scheme = scheme
        self.authority = authority
        self.headers = headers
        self.query = query
        self.source = source
        self.port = port
    }
}

package struct HeaderMatch: Sendable, Hashable {
    package typealias Kind = TextMatch.Kind
    package var name: String  // lower case
    package var kind: Kind
    package var value: String
    package var ignoresCase: Bool
    /// No line of this name may be like that; `present` and inverted is absent.
    package var isInverted: Bool

    package init(
        name: String, kind: Kind, value: String = "", ignoresCase: Bool = false, isInverted: Bool = false
    ) {
        self.name = name
        self.kind = kind
        self.value = value
        self.ignoresCase = ignoresCase
        self.isInverted = isInverted
    }

    package var text: TextMatch { TextMatch(kind, value, ignoresCase: ignoresCase) }
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
    /// For this backend only, after those of the rule.
    package var request: HeaderEdits
    package var response: HeaderEdits

    package init(
        backend: String, weight: Int = 1, request: HeaderEdits = HeaderEdits(), response: HeaderEdits = HeaderEdits()
    ) {
        self.backend = backend
        self.weight = weight
        self.request = request
        self.response = response
    }
}
