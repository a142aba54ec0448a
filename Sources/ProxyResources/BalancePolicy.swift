/// How a request's endpoint is chosen among a backend's. The empty policy takes the less busy of two drawn at random.
package struct BalancePolicy: Sendable, Usual {
    package static let usual = BalancePolicy()

    package enum Algorithm: String, Sendable, Hashable, CaseIterable {
        /// The less busy of two drawn at random.
        case leastRequest = ""
        case roundRobin = "ROUND_ROBIN"
        case random = "RANDOM"
        /// The one expected to answer sooner, of two drawn at random: its latency of late times the requests it has in hand.
        case peakEWMA = "PEAK_EWMA"
        /// The same endpoint for the same `hashOn`; a request without any of it is spread at random.
        case ringHash = "RING_HASH"
        case maglev = "MAGLEV"
    }

    package var algorithm: Algorithm
    /// Tried in order; the first the request has is hashed.
    package var hashOn: [HashInput]
    /// Points on the ring at least (ring hash), or places of the table (Maglev); nil for the proxy's own choice.
    package var hashSize: Int?
    package var ewma: LatencyAverage
    package var session: SessionPolicy?
    package var slowStart: SlowStart?
    package var locality: LocalityPolicy
    /// With fewer usable endpoints than this share, health is not looked at; 0 answers 503 instead.
    package var panicPercent: Int

    package static let defaultPanicPercent = 50

    package init(
        algorithm: Algorithm = .leastRequest, hashOn: [HashInput] = [], hashSize: Int? = nil,
        ewma: LatencyAverage = LatencyAverage(), session: SessionPolicy? = nil, slowStart: SlowStart? = nil,
        locality: LocalityPolicy = LocalityPolicy(), panicPercent: Int = BalancePolicy.defaultPanicPercent
    ) {
        self.algorithm = algorithm
        self.hashOn = hashOn
        self.hashSize = hashSize
        self.ewma = ewma
        self.session = session
        self.slowStart = slowStart
        self.locality = locality
        self.panicPercent = panicPercent
    }

    package var isHashing: Bool { algorithm == .ringHash || algorithm == .maglev }
}

/// A part of a request that decides its endpoint.
package struct HashInput: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        case header = "HEADER"
        case cookie = "COOKIE"
        case query = "QUERY"
        case source = "SOURCE"
        case path = "PATH"
    }
    package var kind: Kind
    package var name: String  // of the header, cookie or parameter
    /// A client without the cookie is given one, for this long in seconds; 0: until it closes. nil: it is not given one.
    package var cookieSeconds: Int?
    package var cookiePath: String

    package init(_ kind: Kind, name: String = "", cookieSeconds: Int? = nil, cookiePath: String = "") {
        self.kind = kind
        self.name = name
        self.cookieSeconds = cookieSeconds
        self.cookiePath = cookiePath
    }
}

/// Of `peakEWMA`. Times in milliseconds.
package struct LatencyAverage: Sendable, Hashable {
    /// After this long a measurement counts for a third.
    package var decayMilliseconds: Int
    /// What a failure counts as; a longer `Retry-After` counts as itself.
    package var penaltyMilliseconds: Int

    package init(decayMilliseconds: Int = 10_000, penaltyMilliseconds: Int = 5_000) {
        self.decayMilliseconds = decayMilliseconds
        self.penaltyMilliseconds = penaltyMilliseconds
    }
}

/// Endpoints newly seen, or back from ejection, get their share little by little.
package struct SlowStart: Sendable, Hashable {
    package var windowMilliseconds: Int
    /// 100 is a straight line; more gives traffic earlier: (elapsed / window) ^ (100 / aggressionPercent).
    package var aggressionPercent: Int
    package var minimumPercent: Int

    package init(windowMilliseconds: Int, aggressionPercent: Int = 100, minimumPercent: Int = 10) {
        self.windowMilliseconds = windowMilliseconds
        self.aggressionPercent = aggressionPercent
        self.minimumPercent = minimumPercent
    }
}

/// Requests of one client's session go to one endpoint, named in a cookie or header that the proxy sets.
package struct SessionPolicy: Sendable, Hashable {
    package enum Carrier: String, Sendable, Hashable {
        case cookie = ""
        case header = "HEADER"
    }
    package var carrier: Carrier
    package var name: String
    /// How long the client shall keep the cookie; 0: until it closes.
    package var seconds: Int
    package var path: String
    /// `SameSite` and such, as the cookie shall have them.
    package var attributes: [CookieAttribute]

    package init(
        _ carrier: Carrier = .cookie, name: String, seconds: Int = 0, path: String = "",
        attributes: [CookieAttribute] = []
    ) {
        self.carrier = carrier
        self.name = name
        self.seconds = seconds
        self.path = path
        self.attributes = attributes
    }
}

package struct CookieAttribute: Sendable, Hashable {
    package var name: String
    package var value: String

    package init(name: String, value: String = "") {
        self.name = name
        self.value = value
    }
}
