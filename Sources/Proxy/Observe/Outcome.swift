/// Why a response was made or cut short here, by Envoy's short names.
enum ResponseFlag: UInt8, CaseIterable {
    case none, noRoute, noHealthyEndpoint, connectFailure, upstreamEnded, timeout, overflow, clientGone,
        upstreamProtocol, clientProtocol
    case refusedPlain, noBackend, draining
    case denied, badToken, authorizerDenied, authorizerError, badPath, revoked
    /// Made on purpose; and the copies of requests for a mirror.
    case faultDelay, faultAbort, mirrored
    case rateLimited, retriesExhausted
    /// The control plane has not said what the destination is.
    case unresolved

    var short: String {
        switch self {
        case .none: "-"
        case .noRoute: "NR"
        case .noHealthyEndpoint: "UH"
        case .connectFailure: "UF"
        case .upstreamEnded: "UC"
        case .timeout: "UT"
        case .overflow: "UO"
        case .clientGone: "DC"
        case .upstreamProtocol: "UPE"
        case .clientProtocol: "DPE"
        case .refusedPlain: "UAEX"
        case .noBackend: "NC"
        case .draining: "DO"
        case .denied: "RBAC"
        case .badToken: "JWT"
        case .authorizerDenied, .authorizerError: "UAEX"
        case .badPath: "DPE"
        case .revoked: "RVK"
        case .faultDelay: "DI"
        case .faultAbort: "FI"
        case .mirrored: "MIR"
        case .rateLimited: "RL"
        case .retriesExhausted: "URX"
        case .unresolved: "UD"
        }
    }

    /// The `x-weft-reason` of a response made here.
    var reason: StaticString {
        switch self {
        case .none: "direct_response"
        case .noRoute: "no_route"
        case .noHealthyEndpoint: "no_healthy_endpoint"
        case .connectFailure: "connect_failure"
        case .upstreamEnded: "upstream_closed"
        case .timeout: "upstream_timeout"
        case .overflow: "too_many_connections"
        case .clientGone: "client_gone"
        case .upstreamProtocol: "bad_response"
        case .clientProtocol: "bad_request"
        case .refusedPlain: "mutual_tls_required"
        case .noBackend: "no_backend"
        case .draining: "draining"
        case .denied: "rbac_denied"
        case .badToken: "jwt_invalid"
        case .authorizerDenied: "ext_authz_denied"
        case .authorizerError: "ext_authz_error"
        case .badPath: "bad_path"
        case .revoked: "identity_revoked"
        case .faultDelay: "fault_delay"
        case .faultAbort: "fault_abort"
        case .mirrored: "mirrored"
        case .rateLimited: "rate_limited"
        case .retriesExhausted: "retries_exhausted"
        case .unresolved: "destination_timeout"
        }
    }
}

/// `connection_security_policy`.
enum Security: UInt8 {
    case none, mutualTLS
    var word: String { self == .mutualTLS ? "mutual_tls" : "none" }
}

func reasonPhrase(_ status: Int) -> StaticString {
    switch status {
    case 200: "OK"
    case 204: "No Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 408: "Request Timeout"
    case 414: "URI Too Long"
    case 421: "Misdirected Request"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: "Answer"
    }
}
