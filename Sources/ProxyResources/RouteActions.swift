/// Changes to a message's headers, in the order remove, set, add.
package struct HeaderEdits: Sendable, Hashable {
    package var set: [HeaderValue]
    package var add: [HeaderValue]
    package var remove: [String]

    package init(set: [HeaderValue] = [], add: [HeaderValue] = [], remove: [String] = []) {
        self.set = set
        self.add = add
        self.remove = remove
    }

    package var isEmpty: Bool { self.set.isEmpty && add.isEmpty && remove.isEmpty }
}

extension HeaderEdits {
    /// Both changes as one: the other's come second.
    package func followed(by other: HeaderEdits) -> HeaderEdits {
        if other.isEmpty { return self }
        let later = Set((other.set.map(\.name) + other.remove).map { $0.lowercased() })
        func stays(_ header: HeaderValue) -> Bool { !later.contains(header.name.lowercased()) }
        let earlier = self.set.map(\.name).filter { later.contains($0.lowercased()) }
        return HeaderEdits(
            set: self.set.filter(stays) + other.set, add: add.filter(stays) + other.add,
            remove: remove + earlier + other.remove)
    }

    /// A message's headers after the changes.
    package func applied(to headers: [HeaderValue]) -> [HeaderValue] {
        let gone = Set((self.set.map(\.name) + remove).map { $0.lowercased() })
        return headers.filter { !gone.contains($0.name.lowercased()) } + self.set + add
    }
}

extension RouteRule {
    package var requestEdits: HeaderEdits {
        HeaderEdits(set: setRequestHeaders, add: addRequestHeaders, remove: removeRequestHeaders)
    }
}

/// What a path becomes. The query always stays.
package enum PathRewrite: Sendable, Hashable {
    /// This and nothing else.
    case full(String)
    /// Instead of the elements the match's prefix names (Gateway API): `/foo` by `/xyz` makes `/foo/bar` into `/xyz/bar`.
    case prefix(String)
    /// Instead of the characters the match names: its prefix, or the whole path (Istio).
    case matched(String)
    /// Wherever the pattern matches; `\1` to `\9` and `\0` stand for what its groups took.
    case regex(pattern: String, substitution: String)
}

/// An answer that sends the client elsewhere. What is not given stays as the client sent it.
package struct Redirect: Sendable, Hashable {
    package var scheme: String?
    package var host: String?
    /// `nil`: none beside a scheme or a host, else as in the request. The port a scheme has anyway is not written.
    package var port: Int?
    package var path: PathRewrite?
    package var status: Int

    package init(
        scheme: String? = nil, host: String? = nil, port: Int? = nil, path: PathRewrite? = nil, status: Int = 302
    ) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.status = status
    }

    package static let statuses: Set<Int> = [301, 302, 303, 307, 308]
}

/// What stands in an answer made here, beside its status.
package struct DirectBody: Sendable, Hashable {
    package var text: String
    package var contentType: String

    package init(text: String, contentType: String = "text/plain") {
        self.text = text
        self.contentType = contentType
    }

    /// Bytes.
    package static let limit = 65536
}

/// A copy of requests for another backend, whose answers nobody waits for.
package struct Mirror: Sendable, Hashable {
    package var backend: String
    /// How many of a million requests.
    package var millionths: Int

    package init(backend: String, millionths: Int = 1_000_000) {
        self.backend = backend
        self.millionths = millionths
    }
}

/// Who in a browser may read the answers (WHATWG Fetch §3.3).
package struct CORSPolicy: Sendable, Hashable {
    /// `*` as an exact text is any; so is a `*` for a name's first labels (`https://*.example.com`).
    package var origins: [TextMatch]
    package var methods: [String]
    package var headers: [String]
    package var exposedHeaders: [String]
    package var maxAgeSeconds: Int?
    package var allowsCredentials: Bool
    /// A preflight from another origin goes on to the backend instead of being answered here without permission.
    package var forwardsUnmatched: Bool

    package init(
        origins: [TextMatch], methods: [String] = [], headers: [String] = [], exposedHeaders: [String] = [],
        maxAgeSeconds: Int? = nil, allowsCredentials: Bool = false, forwardsUnmatched: Bool = false
    ) {
        self.origins = origins
        self.methods = methods
        self.headers = headers
        self.exposedHeaders = exposedHeaders
        self.maxAgeSeconds = maxAgeSeconds
        self.allowsCredentials = allowsCredentials
        self.forwardsUnmatched = forwardsUnmatched
    }
}

/// Failures made on purpose.
package struct Fault: Sendable, Hashable {
    package struct Delay: Sendable, Hashable {
        package var milliseconds: Int
        package var millionths: Int
        package init(milliseconds: Int, millionths: Int = 1_000_000) {
            self.milliseconds = milliseconds
            self.millionths = millionths
        }
    }
    package struct Abort: Sendable, Hashable {
        package enum Answer: Sendable, Hashable {
            case http(Int)
            case grpc(Int)
        }
        package var answer: Answer
        package var millionths: Int
        package init(_ answer: Answer, millionths: Int = 1_000_000) {
            self.answer = answer
            self.millionths = millionths
        }
    }
    package var delay: Delay?
    package var abort: Abort?
    /// Requests may ask for faults of their own by `x-envoy-fault-delay-request` (milliseconds) and
    /// `x-envoy-fault-abort-request` (status), within the shares given by `delay` and `abort`.
    package var isHeaderControlled: Bool

    package init(delay: Delay? = nil, abort: Abort? = nil, isHeaderControlled: Bool = false) {
        self.delay = delay
        self.abort = abort
        self.isHeaderControlled = isHeaderControlled
    }

    /// Milliseconds.
    package static let longestDelay = 3_600_000
}

/// What a rule does beside choosing a backend.
package struct RouteActions: Sendable, Usual {
    package var path: PathRewrite?
    package var host: String?
    package var redirect: Redirect?
    /// With the rule's `directStatus`.
    package var directBody: DirectBody?
    package var response: HeaderEdits
    package var mirrors: [Mirror]
    package var cors: CORSPolicy?
    package var fault: Fault?

    package init(
        path: PathRewrite? = nil, host: String? = nil, redirect: Redirect? = nil, directBody: DirectBody? = nil,
        response: HeaderEdits = HeaderEdits(), mirrors: [Mirror] = [], cors: CORSPolicy? = nil, fault: Fault? = nil
    ) {
        self.path = path
        self.host = host
        self.redirect = redirect
        self.directBody = directBody
        self.response = response
        self.mirrors = mirrors
        self.cors = cors
        self.fault = fault
    }

    package static let usual = RouteActions()
    package var isEmpty: Bool { self == .usual }
}
