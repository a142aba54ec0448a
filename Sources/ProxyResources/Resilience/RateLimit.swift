/// So many requests in so much time, counted over all loops of a proxy, or over all proxies: a bucket for each key, filled at a
/// steady rate.
package struct RateLimit: Sendable, Hashable {
    /// What requests are counted apart by.
    package enum Key: Sendable, Hashable {
        case none
        case header(String)
        /// The caller's certificate; all without one count as one.
        case principal
        case address
        case path  // without the query
    }

    package var name: String  // for metrics
    package var requests: Int
    package var perMilliseconds: Int
    /// How many at once after a pause; `requests` when 0.
    package var burst: Int
    package var key: Key
    /// The keys remembered; beyond it the ones longest unused are forgotten.
    package var maxKeys: Int
    /// Counted over all proxies.
    package var global: GlobalQuota? = nil
    package var headers = Headers.prefixed
    /// Answers within the limit have the headers too.
    package var headersAlways = false

    /// What answers call the limit, what is left of it and when there is more.
    package enum Headers: String, Sendable, Hashable, CaseIterable {
        /// `x-ratelimit-limit`, `-remaining` and `-reset`, as Envoy has them.
        case prefixed = ""
        /// `ratelimit-limit` and so on (draft-ietf-httpapi-ratelimit-headers-03).
        case draft
        case off
    }

    package static let defaultKeys = 4096
    package static let mostKeys = 1 << 20

    package init(
        name: String = "", requests: Int, perMilliseconds: Int = 1000, burst: Int = 0, key: Key = .none,
        maxKeys: Int = defaultKeys
    ) {
        self.name = name
        self.requests = requests
        self.perMilliseconds = perMilliseconds
        self.burst = burst
        self.key = key
        self.maxKeys = maxKeys
    }
}
