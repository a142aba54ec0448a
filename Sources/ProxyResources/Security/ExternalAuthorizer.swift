/// A service that decides on requests (Istio's `envoyExtAuthzHttp` and `envoyExtAuthzGrpc`).
package struct ExternalAuthorizer: Sendable, Hashable {
    package enum Form: String, Sendable {
        case http = "HTTP"
        case grpc = "GRPC"
    }

    package var name: String
    package var form: Form
    package var backend: String  // a `Backend`'s name
    package var authority: String  // `authz.demo.svc.cluster.local:8000`
    package var timeoutMilliseconds: Int
    /// HTTP: put before the request's path.
    package var pathPrefix: String
    /// Without an answer requests pass.
    package var failsOpen: Bool
    /// For a request refused because there was no answer.
    package var statusOnError: Int
    /// Names in lower case of headers it is shown; one may end in `*`. HTTP: beside `authorization`. gRPC: empty for all.
    package var shownHeaders: [String]
    /// Of the question itself.
    package var addedHeaders: [HeaderValue]
    /// How much of the body it is shown, in bytes; 0 for none.
    package var shownBody: Int
    /// A longer body is shown in part; otherwise the request is refused with 413.
    package var allowsPartialBody: Bool
    /// gRPC: as `raw_body`, not as text.
    package var packsBodyAsBytes: Bool
    /// gRPC: what every check carries beside the request.
    package var contextExtensions: [HeaderValue]
    /// gRPC: the client's certificate is shown.
    package var includesCertificate: Bool
    /// HTTP: headers of its answer that go on to the workload, in lower case; one may end in `*`.
    package var headersOnAllow: [String]
    /// HTTP: headers of its refusal that the client gets, beside those about the body; empty for all.
    package var headersOnDeny: [String]

    package init(
        name: String, form: Form = .http, backend: String, authority: String = "", timeoutMilliseconds: Int = 600,
        pathPrefix: String = "", failsOpen: Bool = false, statusOnError: Int = 403, shownHeaders: [String] = [],
        addedHeaders: [HeaderValue] = [], shownBody: Int = 0, allowsPartialBody: Bool = false,
        packsBodyAsBytes: Bool = false, contextExtensions: [HeaderValue] = [], includesCertificate: Bool = false,
        headersOnAllow: [String] = [], headersOnDeny: [String] = []
    ) {
        self.name = name
        self.form = form
        self.backend = backend
        self.authority = authority
        self.timeoutMilliseconds = timeoutMilliseconds
        self.pathPrefix = pathPrefix
        self.failsOpen = failsOpen
        self.statusOnError = statusOnError
        self.shownHeaders = shownHeaders
        self.addedHeaders = addedHeaders
        self.shownBody = shownBody
        self.allowsPartialBody = allowsPartialBody
        self.packsBodyAsBytes = packsBodyAsBytes
        self.contextExtensions = contextExtensions
        self.includesCertificate = includesCertificate
        self.headersOnAllow = headersOnAllow
        self.headersOnDeny = headersOnDeny
    }
}
