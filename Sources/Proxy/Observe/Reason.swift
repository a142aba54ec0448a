import Glibc

/// Why an answer was made here, in the words of `x-weft-reason`: the flag it comes with, the status, and what it likely means.
/// `docs/reasons.md` shows this table.
struct Reason: Sendable {
    let word: String
    /// The word as text that lives as long as the program.
    let text: StaticString
    let flags: String
    let status: String
    let meaning: String
    let cause: String

    private init(_ word: StaticString, _ flags: String, _ status: String, _ meaning: String, _ cause: String) {
        (self.word, self.flags, self.status, self.meaning, self.cause) = ("\(word)", flags, status, meaning, cause)
        text = word
    }

    /// `nil` when the word is of another proxy, or of an app.
    static func named(_ word: String) -> Reason? { all.first { $0.word == word } }

    private static let texts = all.map(\.text)

    /// The word that these bytes are.
    static func text(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> StaticString? {
        texts.first { $0.utf8CodeUnitCount == count && memcmp($0.utf8Start, bytes, count) == 0 }
    }

    private static let likelyAttack = "the sender's HTTP library, or somebody who tries where two hops disagree"
    private static let likelyHTTP2 = "the sender's HTTP/2 library, or an attack"

    static let all: [Reason] = [
        Reason(
            "direct_response", "-", "any", "the route answers by itself",
            "a route says so: `directResponse`, or a reference to a backend that does not exist (500)"),
        Reason(
            "no_route", "NR", "404, 503", "no rule takes the request",
            "its host, path, method or headers fit no rule; `meshctl explain --from … --to …` says which and why"),
        Reason(
            "control_plane_lost", "UD", "503", "the destination is not loaded, and there is no control plane to ask",
            "meshd does not run; what was used before goes on"),
        Reason(
            "destination_timeout", "UD", "503",
            "the destination is not loaded, and the control plane has not said what it is",
            "meshd is overloaded, or refused configuration holds the answer up; see `meshctl proxy-status`"),
        Reason(
            "too_many_destinations", "UD", "503",
            "no room for another destination, or for another connection that waits for one",
            "an app that calls thousands of addresses; `weft.dev/configuration: all` on its pod"),
        Reason(
            "no_backend", "NC", "500, 503", "the rule has no backend that can be used",
            "the weights are all 0, or the backend of the route does not exist"),
        Reason("no_healthy_endpoint", "UH", "503", "the service has no endpoint to send to", "no pod of it is ready"),
        Reason(
            "no_endpoints", "UH", "503", "the service has no endpoints at all",
            "no pod is ready, or the selector fits none"),
        Reason(
            "all_ejected", "UH", "503", "outlier detection has put out every endpoint",
            "all of them failed lately; see `weft_proxy_*` and the app's log"),
        Reason(
            "all_unhealthy", "UH", "503", "active health checks find no endpoint well",
            "the pods run, but their health path fails"),
        Reason(
            "no_local_endpoint", "UH", "503", "no endpoint in the places locality allows",
            "the zone has no ready pod, and there is no failover"),
        Reason(
            "connect_failure", "UF", "503", "no connection to an endpoint could be made",
            "the pod is gone or its app does not listen on the port; or the peer's certificate is not the expected one"),
        Reason(
            "upstream_closed", "UC", "502", "the endpoint closed before it had answered",
            "the app crashed, was restarted, or closes idle connections sooner than the proxy"),
        Reason(
            "bad_response", "UPE", "502", "what the endpoint sent is not a response",
            "the app's HTTP library, or another protocol on that port"),
        Reason(
            "upstream_timeout", "UT", "504", "no answer within the time the route gives",
            "the app is slow or waits for somebody; see the attempts"),
        Reason(
            "per_try_timeout", "UT", "504", "no attempt answered within its time",
            "the app is slow; the try is shorter than its answers"),
        Reason(
            "deadline_exceeded", "UT", "504", "the time the caller gave is over",
            "an earlier hop gave `grpc-timeout` or `x-request-deadline`; the time was spent there or here"),
        Reason("idle_timeout", "UT", "504", "nothing moved for too long", "the app or the client hangs"),
        Reason(
            "retries_exhausted", "URX", "as answered", "every try failed",
            "the last answer is passed on; see the attempts"),
        Reason(
            "too_many_connections", "UO", "503", "more connections than one endpoint may have",
            "the app is slower than its callers; raise the limit or add pods"),
        Reason(
            "no_descriptor", "UO", "503", "the proxy has no descriptor left for a connection to an endpoint",
            "more connections than its limit of open files allows (`ulimit -n`)"),
        Reason(
            "out_of_memory", "UO", "503", "the system gives the proxy no more memory",
            "a limit on its memory; requests in progress go on, new ones are refused until some end"),
        Reason(
            "backend_connections_limit", "UO", "503", "the backend's limit on connections is reached",
            "circuit breaking by its DestinationRule or default"),
        Reason(
            "backend_requests_limit", "UO", "503", "the backend's limit on requests is reached",
            "circuit breaking by its DestinationRule or default"),
        Reason(
            "backend_pending_limit", "UO", "503", "too many requests wait for the backend",
            "circuit breaking: the queue is full"),
        Reason(
            "route_requests_limit", "UO", "503", "the route's limit on requests is reached",
            "circuit breaking by the route"),
        Reason(
            "route_pending_limit", "UO", "503", "too many requests wait for the route",
            "circuit breaking: the queue is full"),
        Reason(
            "pending_timeout", "UO", "503", "waited too long for its turn",
            "the backend is at its limit and answers slowly"),
        Reason(
            "concurrency_limit", "UO", "503", "the adaptive limit on requests is reached",
            "the app has become slower, so fewer requests are let in"),
        Reason(
            "rate_limited", "RL", "429", "more requests than the rate limit allows",
            "the caller is faster than its share"),
        Reason(
            "rate_lease_lost", "RL", "429", "a global rate limit that is closed without the control plane",
            "the proxy has lost the control plane, and the limit says `whenLost: closed`"),
        Reason(
            "client_gone", "DC", "0, 499", "the client left before it had its answer",
            "it gave up: its own time-out is shorter than the answer took"),
        Reason(
            "request_head_timeout", "DPE", "408", "the request's head did not come in time",
            "a stalled client, or slowloris"),
        Reason(
            "request_body_timeout", "DPE", "408", "the request's body did not come in time",
            "a stalled client, or slowloris"),
        Reason(
            "slow_response_reader", "DC", "as answered", "the client reads its answer too slowly",
            "a stalled client, or slowloris"),
        Reason("request_body_too_long", "DPE", "413", "the body is longer than allowed", "an upload beyond the limit"),
        Reason("bad_request", "DPE", "400", "what the client sent is not a request", likelyAttack),
        Reason(
            "bad_path", "DPE", "400", "the path could be read in two ways",
            "escaped slashes or dots, where policies look at paths"),
        Reason(
            "rewritten_path_too_long", "DPE", "414", "a rewritten path is too long",
            "the route's rewrite makes long paths longer"),
        Reason(
            "connect_not_supported", "DPE", "501", "CONNECT is not served here",
            "a client takes the proxy for a forward proxy"),
        Reason(
            "mutual_tls_required", "UAEX", "403", "the port takes mutual TLS only",
            "the caller has no sidecar, or PeerAuthentication is STRICT too early"),
        Reason(
            "tls_required", "UAEX", "400", "plain HTTP on a port of TLS",
            "the client says http where it should say https"),
        Reason(
            "misdirected_request", "NR", "421",
            "the host has TLS of its own on this port, and this connection is another host's",
            "a client that shares connections between hosts; it should open another one"),
        Reason(
            "rbac_denied", "RBAC", "403", "an authorization policy refuses the caller",
            "the policy in the record; without one, no ALLOW policy matches"),
        Reason("jwt_invalid", "JWT", "401", "the token is not accepted", "see the more exact reason in the record"),
        Reason("jwt_missing", "JWT", "401", "a token is needed and there is none", "the client is not logged in"),
        Reason("jwt_malformed", "JWT", "401", "the token cannot be read", "it is cut off, or no JWT at all"),
        Reason("jwt_too_long", "JWT", "401", "the token is too long", "far too many claims, or no token"),
        Reason(
            "jwt_algorithm", "JWT", "401", "the token's algorithm is not accepted",
            "`none`, or one the key is not for"),
        Reason(
            "jwt_audience", "JWT", "401", "the token is for somebody else",
            "the rule's audiences do not hold the token's"),
        Reason("jwt_issuer", "JWT", "401", "nobody is known who could have issued it", "no rule for its issuer"),
        Reason(
            "jwt_expired", "JWT", "401", "the token is too old",
            "the client must get a new one; or a clock is wrong"),
        Reason("jwt_not_yet_valid", "JWT", "401", "the token is not valid yet", "a clock is wrong"),
        Reason(
            "jwt_no_key", "JWT", "401", "no key for the token's signature",
            "the issuer has new keys the proxy has not fetched"),
        Reason("jwt_signature", "JWT", "401", "the signature is wrong", "forged, or signed with other keys"),
        Reason(
            "ext_authz_denied", "UAEX", "as answered", "the external authorizer refused",
            "its own rules: ask its log"),
        Reason(
            "ext_authz_error", "UAEX", "403, 5xx", "the external authorizer gave no answer that can be followed",
            "one of the reasons that follow; this word is that of metrics"),
        Reason(
            "ext_authz_timeout", "UAEX", "403, 5xx", "the external authorizer did not answer in time",
            "it is slow, or the provider's `timeout` too short"),
        Reason(
            "ext_authz_unreachable", "UAEX", "403, 5xx", "the external authorizer could not be asked",
            "it is down or unreachable from here, or closed the connection without an answer"),
        Reason(
            "ext_authz_failed", "UAEX", "403, 5xx", "the external authorizer answered with an error of its own",
            "a status of 500 or more, or a gRPC status other than OK: see its log"),
        Reason(
            "ext_authz_bad_answer", "UAEX", "403, 5xx", "what the external authorizer answered cannot be followed",
            "it is not a CheckResponse, is too long, or has a header that could be read as two"),
        Reason(
            "ext_authz_overloaded", "UAEX", "403, 5xx", "the external authorizer has too much to do",
            "circuit breaking of its backend, too many questions at once, or its own RESOURCE_EXHAUSTED"),
        Reason(
            "ext_authz_body_too_long", "DPE", "413", "the body is longer than the external authorizer is shown",
            "`maxRequestBytes` without `allowPartialMessage`"),
        Reason(
            "identity_revoked", "RVK", "none", "the peer's identity was revoked: its connections were cut off",
            "its SPIFFE ID or serial stands in the ConfigMap `weft-mesh`"),
        Reason("fault_delay", "DI", "as answered", "delayed on purpose", "a fault of the route"),
        Reason("fault_abort", "FI", "as set", "refused on purpose", "a fault of the route"),
        Reason(
            "mirrored", "MIR", "-", "a copy of a request for a mirror",
            "only in records and metrics: nobody waits for its answer"),
        Reason("draining", "DO", "503", "the proxy is about to end", "the pod is being stopped"),
        Reason(
            "cors_preflight", "-", "200, 204", "a browser's question whether it may ask",
            "answered by the route's CORS policy"),
        Reason(
            "cors_origin_not_allowed", "-", "204, 403", "the page's origin is not one of the policy's",
            "the policy lacks the origin, or another site asks"),
        Reason(
            "upgrade_not_asked_for", "UPE", "502", "101 without an upgrade that was asked for",
            "the app's HTTP library, or another protocol on that port"),
        Reason(
            "chunked_for_http_1_0", "UPE", "502", "a chunked answer for a client that cannot read it",
            "the app ignores the request's version"),
        Reason(
            "too_many_interim_responses", "UPE", "502", "too many 1xx answers",
            "the app's HTTP library, or another protocol on that port"),
        Reason("bad_start_line", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad start line", likelyAttack),
        Reason("bad_version", "DPE, UPE", "505, 502", "HTTP/1 message refused: bad version", likelyAttack),
        Reason("bare_line_feed", "DPE, UPE", "400, 502", "HTTP/1 message refused: bare line feed", likelyAttack),
        Reason(
            "bare_carriage_return", "DPE, UPE", "400, 502", "HTTP/1 message refused: bare carriage return",
            likelyAttack),
        Reason("nul_in_head", "DPE, UPE", "400, 502", "HTTP/1 message refused: nul in head", likelyAttack),
        Reason("bad_target", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad target", likelyAttack),
        Reason(
            "fragment_in_target", "DPE, UPE", "400, 502", "HTTP/1 message refused: fragment in target",
            "a client that sends the part of a URL behind # too; some hops cut it off, and others do not"),
        Reason("target_too_long", "DPE, UPE", "414, 502", "HTTP/1 message refused: target too long", likelyAttack),
        Reason("method_too_long", "DPE, UPE", "501, 502", "HTTP/1 message refused: method too long", likelyAttack),
        Reason("bad_header_name", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad header name", likelyAttack),
        Reason("empty_header_name", "DPE, UPE", "400, 502", "HTTP/1 message refused: empty header name", likelyAttack),
        Reason(
            "ambiguous_header_name", "DPE, UPE", "400, 502", "HTTP/1 message refused: ambiguous header name",
            likelyAttack),
        Reason("missing_colon", "DPE, UPE", "400, 502", "HTTP/1 message refused: missing colon", likelyAttack),
        Reason(
            "space_before_colon", "DPE, UPE", "400, 502", "HTTP/1 message refused: space before colon",
            likelyAttack),
        Reason("bad_header_value", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad header value", likelyAttack),
        Reason("obsolete_folding", "DPE, UPE", "400, 502", "HTTP/1 message refused: obsolete folding", likelyAttack),
        Reason("too_many_headers", "DPE, UPE", "431, 502", "HTTP/1 message refused: too many headers", likelyAttack),
        Reason("head_too_long", "DPE, UPE", "431, 502", "HTTP/1 message refused: head too long", likelyAttack),
        Reason(
            "bad_content_length", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad content length",
            likelyAttack),
        Reason(
            "duplicate_content_length", "DPE, UPE", "400, 502", "HTTP/1 message refused: duplicate content length",
            likelyAttack),
        Reason(
            "conflicting_framing", "DPE, UPE", "400, 502", "HTTP/1 message refused: conflicting framing",
            likelyAttack),
        Reason(
            "bad_transfer_encoding", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad transfer encoding",
            likelyAttack),
        Reason(
            "duplicate_transfer_encoding", "DPE, UPE", "400, 502",
            "HTTP/1 message refused: duplicate transfer encoding",
            likelyAttack),
        Reason(
            "unknown_transfer_encoding", "DPE, UPE", "501, 502", "HTTP/1 message refused: unknown transfer encoding",
            likelyAttack),
        Reason(
            "chunked_in_http_1_0", "DPE, UPE", "400, 502", "HTTP/1 message refused: chunked in http 1 0",
            likelyAttack),
        Reason("bad_host", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad host", likelyAttack),
        Reason("missing_host", "DPE, UPE", "400, 502", "HTTP/1 message refused: missing host", likelyAttack),
        Reason("empty_host", "DPE, UPE", "400, 502", "HTTP/1 message refused: empty host", likelyAttack),
        Reason("duplicate_host", "DPE, UPE", "400, 502", "HTTP/1 message refused: duplicate host", likelyAttack),
        Reason("host_mismatch", "DPE, UPE", "400, 502", "HTTP/1 message refused: host mismatch", likelyAttack),
        Reason("bad_status", "DPE, UPE", "502", "HTTP/1 message refused: bad status", likelyAttack),
        Reason(
            "bad_connection_header", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad connection header",
            likelyAttack),
        Reason("bad_body", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad body", likelyAttack),
        Reason("bad_chunk_size", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad chunk size", likelyAttack),
        Reason(
            "bad_chunk_line_end", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad chunk line end",
            likelyAttack),
        Reason("bad_chunk_end", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad chunk end", likelyAttack),
        Reason(
            "bad_chunk_extension", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad chunk extension",
            likelyAttack),
        Reason(
            "chunk_overhead_too_long", "DPE, UPE", "400, 502", "HTTP/1 message refused: chunk overhead too long",
            likelyAttack),
        Reason("bad_trailer", "DPE, UPE", "400, 502", "HTTP/1 message refused: bad trailer", likelyAttack),
        Reason("forbidden_trailer", "DPE, UPE", "400, 502", "HTTP/1 message refused: forbidden trailer", likelyAttack),
        Reason("h2_bad_authority", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad authority", likelyHTTP2),
        Reason("h2_bad_length", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad length", likelyHTTP2),
        Reason("h2_bad_method", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad method", likelyHTTP2),
        Reason("h2_bad_name", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad name", likelyHTTP2),
        Reason("h2_bad_path", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad path", likelyHTTP2),
        Reason("h2_bad_scheme", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad scheme", likelyHTTP2),
        Reason("h2_bad_status", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad status", likelyHTTP2),
        Reason("h2_bad_te", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad te", likelyHTTP2),
        Reason("h2_bad_trailers", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad trailers", likelyHTTP2),
        Reason("h2_bad_value", "DPE, UPE", "400, 502", "HTTP/2 message refused: bad value", likelyHTTP2),
        Reason("h2_connection_field", "DPE, UPE", "400, 502", "HTTP/2 message refused: connection field", likelyHTTP2),
        Reason("h2_data_before_head", "DPE, UPE", "400, 502", "HTTP/2 message refused: data before head", likelyHTTP2),
        Reason(
            "h2_data_without_body", "DPE, UPE", "400, 502", "HTTP/2 message refused: data without body",
            likelyHTTP2),
        Reason(
            "h2_headers_too_large", "DPE, UPE", "400, 502", "HTTP/2 message refused: headers too large",
            likelyHTTP2),
        Reason("h2_length_mismatch", "DPE, UPE", "400, 502", "HTTP/2 message refused: length mismatch", likelyHTTP2),
        Reason("h2_missing_pseudo", "DPE, UPE", "400, 502", "HTTP/2 message refused: missing pseudo", likelyHTTP2),
        Reason("h2_not_allowed", "DPE, UPE", "400, 502", "HTTP/2 message refused: not allowed", likelyHTTP2),
        Reason(
            "h2_pseudo_after_field", "DPE, UPE", "400, 502", "HTTP/2 message refused: pseudo after field",
            likelyHTTP2),
        Reason("h2_repeated_pseudo", "DPE, UPE", "400, 502", "HTTP/2 message refused: repeated pseudo", likelyHTTP2),
        Reason("h2_unknown_pseudo", "DPE, UPE", "400, 502", "HTTP/2 message refused: unknown pseudo", likelyHTTP2),
        Reason("bad_frame_size", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: bad frame size", likelyHTTP2),
        Reason("bad_header_block", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: bad header block", likelyHTTP2),
        Reason("bad_preface", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: bad preface", likelyHTTP2),
        Reason("bad_settings", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: bad settings", likelyHTTP2),
        Reason("bad_stream", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: bad stream", likelyHTTP2),
        Reason("bad_window_update", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: bad window update", likelyHTTP2),
        Reason(
            "broken_header_block", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: broken header block",
            likelyHTTP2),
        Reason("closed_stream", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: closed stream", likelyHTTP2),
        Reason("continuation_flood", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: continuation flood", likelyHTTP2),
        Reason("control_flood", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: control flood", likelyHTTP2),
        Reason("data_beyond_window", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: data beyond window", likelyHTTP2),
        Reason("empty_frame_flood", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: empty frame flood", likelyHTTP2),
        Reason(
            "header_block_too_long", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: header block too long",
            likelyHTTP2),
        Reason("no_settings", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: no settings", likelyHTTP2),
        Reason("ping_flood", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: ping flood", likelyHTTP2),
        Reason("push_promise", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: push promise", likelyHTTP2),
        Reason("reset_flood", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: reset flood", likelyHTTP2),
        Reason("settings_flood", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: settings flood", likelyHTTP2),
        Reason("slow_frame", "DPE", "GOAWAY", "HTTP/2 connection ended: slow frame", likelyHTTP2),
        Reason("unexpected_frame", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: unexpected frame", likelyHTTP2),
        Reason("window_overflow", "DPE, UPE", "GOAWAY", "HTTP/2 connection ended: window overflow", likelyHTTP2),
    ]
}
