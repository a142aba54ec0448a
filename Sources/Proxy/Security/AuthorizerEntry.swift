import Loop

/// A service asked about requests, compiled.
struct AuthorizerEntry {
    /// -1 when the proxy was not told of it.
    var backend: Int32
    /// In the book of labels' names.
    var label: UInt32
    var timeout: UInt64
    var failsOpen: Bool
    var statusOnError: Int
    var pathPrefix: TextRange
    /// Runs of `AccessTable.patterns`, over names of headers.
    var shown: Run
    var onAllow: Run
    var onDeny: Run
    /// `name: value\r\n`, whole.
    var added: TextRange
    var isGRPC: Bool
    /// gRPC: for `host`; and `context_extensions`, as protobuf.
    var authority: TextRange
    var extensions: TextRange
    /// Bytes of a body; 0 when it is shown none.
    var shownBody: Int
    var allowsPartialBody: Bool
    var packsBodyAsBytes: Bool
    var includesCertificate: Bool
}

/// What a request has heard from its authorizer: leave, or why there is no answer that can be followed. A refusal ends the request.
enum ExternalVerdict: UInt8 {
    case none, allowed
    case timedOut, unreachable, badAnswer, failed, overloaded

    /// In `x-weft-reason`, and of metrics.
    var reason: StaticString {
        switch self {
        case .none, .allowed, .unreachable: "ext_authz_unreachable"
        case .timedOut: "ext_authz_timeout"
        case .badAnswer: "ext_authz_bad_answer"
        case .failed: "ext_authz_failed"
        case .overloaded: "ext_authz_overloaded"
        }
    }
}

/// How a question to an authorizer ended, for counting.
struct CheckCount: Hashable, Sendable {
    enum Outcome: UInt8, Sendable {
        case allowed, denied, timeout, unreachable, badAnswer, failed, overloaded
        /// Counted beside one of the failures.
        case passedUnasked

        var word: String {
            switch self {
            case .allowed: "allowed"
            case .denied: "denied"
            case .timeout: "timeout"
            case .unreachable: "unreachable"
            case .badAnswer: "bad_answer"
            case .failed: "failed"
            case .overloaded: "overloaded"
            case .passedUnasked: "passed"
            }
        }

        init(_ verdict: ExternalVerdict) {
            switch verdict {
            case .allowed: self = .allowed
            case .none, .unreachable: self = .unreachable
            case .timedOut: self = .timeout
            case .badAnswer: self = .badAnswer
            case .failed: self = .failed
            case .overloaded: self = .overloaded
            }
        }
    }

    /// In the book of labels' names.
    var authorizer: UInt32
    var outcome: Outcome
}

/// What questions to authorizers may cost.
enum ExternalLimits {
    /// In flight in one loop.
    static let errands = 4096
    /// Bytes of an answer with its body.
    static let answer = 65536
    /// Of lines that an answer adds to the response.
    static let responseLines = 4096
}
