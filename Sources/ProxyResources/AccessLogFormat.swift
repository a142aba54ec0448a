/// A line of an access log: text with operators such as `%RESPONSE_CODE%`, as Envoy names them.
package struct AccessLogFormat: Sendable, Equatable {
    package enum Part: Sendable, Equatable {
        case text(String)
        case value(Value, limit: Int)
    }

    /// What an operator stands for.
    package enum Value: Sendable, Equatable {
        case startTime(String)
        case request(String, or: String)
        case response(String, or: String)
        case named(Name)
    }

    package enum Name: String, Sendable, Equatable, CaseIterable {
        case responseCode = "RESPONSE_CODE"
        case responseCodeDetails = "RESPONSE_CODE_DETAILS"
        case responseFlags = "RESPONSE_FLAGS"
        case connectionTermination = "CONNECTION_TERMINATION_DETAILS"
        case transportFailure = "UPSTREAM_TRANSPORT_FAILURE_REASON"
        case bytesReceived = "BYTES_RECEIVED"
        case bytesSent = "BYTES_SENT"
        case duration = "DURATION"
        case requestDuration = "REQUEST_DURATION"
        case responseDuration = "RESPONSE_DURATION"
        case responseSending = "RESPONSE_TX_DURATION"
        case upstreamHost = "UPSTREAM_HOST"
        case upstreamCluster = "UPSTREAM_CLUSTER"
        case upstreamLocal = "UPSTREAM_LOCAL_ADDRESS"
        case upstreamPeer = "UPSTREAM_PEER_URI_SAN"
        case attempts = "UPSTREAM_REQUEST_ATTEMPT_COUNT"
        case remoteAddress = "DOWNSTREAM_REMOTE_ADDRESS"
        case remoteAddressOnly = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
        case localAddress = "DOWNSTREAM_LOCAL_ADDRESS"
        case downstreamPeer = "DOWNSTREAM_PEER_URI_SAN"
        case serverName = "REQUESTED_SERVER_NAME"
        case route = "ROUTE_NAME"
        case protocolName = "PROTOCOL"
        case grpcStatus = "GRPC_STATUS"
        case grpcNumber = "GRPC_STATUS_NUMBER"
        case trace = "TRACE_ID"
        case stream = "STREAM_ID"
        case hostName = "HOSTNAME"
        case verdict = "WEFT_VERDICT"
        case policy = "WEFT_POLICY"
        case subject = "WEFT_SUBJECT"
    }

    package struct Fault: Error, Equatable { package let message: String }

    /// Istio's usual line.
    package static let usual =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
        + "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
        + "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
        + "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
        + "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% "
        + "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
        + "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"

    package let parts: [Part]

    package init(_ text: String) throws(Fault) {
        var parts: [Part] = []
        var plain = ""
        var rest = text[...]
        while let mark = rest.firstIndex(of: "%") {
            plain += rest[..<mark]
            rest = rest[rest.index(after: mark)...]
            if rest.first == "%" {
                plain += "%"
                rest = rest.dropFirst()
                continue
            }
            guard let end = Self.end(of: rest) else {
                throw Fault(message: "the operator that begins with \"%\(rest.prefix(20))\" does not end with %")
            }
            if !plain.isEmpty { parts.append(.text(plain)) }
            plain = ""
            parts.append(try Self.part(rest[..<end]))
            rest = rest[rest.index(after: end)...]
        }
        plain += rest
        if !plain.isEmpty { parts.append(.text(plain)) }
        self.parts = parts
    }

    /// The `%` that ends an operator; one inside brackets does not.
    private static func end(of text: Substring) -> Substring.Index? {
        var depth = 0
        for place in text.indices {
            switch text[place] {
            case "(": depth += 1
            case ")": depth -= 1
            case "%" where depth == 0: return place
            default: break
            }
        }
        return nil
    }

    /// `NAME`, `NAME(argument)` or `NAME(argument):limit`.
    private static func part(_ spelled: Substring) throws(Fault) -> Part {
        var limit = Int.max
        var word = spelled
        var argument: Substring? = nil
        if let open = spelled.firstIndex(of: "("), let close = spelled.lastIndex(of: ")") {
            word = spelled[..<open]
            argument = spelled[spelled.index(after: open)..<close]
            let tail = spelled[spelled.index(after: close)...]
            if !tail.isEmpty {
                guard tail.first == ":", let number = Int(tail.dropFirst()), number > 0 else {
                    throw Fault(message: "%\(spelled)% has something else than a length after its bracket")
                }
                limit = number
            }
        }
        switch word {
        case "START_TIME": return .value(.startTime(argument.map(String.init) ?? ""), limit: limit)
        case "REQ", "RESP":
            guard let argument, !argument.isEmpty else { throw Fault(message: "%\(word)% names no header") }
            let names = argument.split(separator: "?", maxSplits: 1).map { $0.lowercased() }
            let other = names.count > 1 ? names[1] : ""
            let value: Value = word == "REQ" ? .request(names[0], or: other) : .response(names[0], or: other)
            return .value(value, limit: limit)
        default:
            guard let name = Name(rawValue: String(word)) else {
                throw Fault(message: "%\(word)% is not an operator this proxy knows")
            }
            return .value(.named(name), limit: limit)
        }
    }

    /// Headers of requests and responses whose values records must keep.
    package var headers: (requests: [String], responses: [String]) {
        var requests: [String] = []
        var responses: [String] = []
        for case .value(let value, _) in parts {
            switch value {
            case .request(let name, let other):
                requests += [name, other].filter { !Self.isInRecord($0) && !$0.isEmpty }
            case .response(let name, let other): responses += [name, other].filter { !$0.isEmpty }
            case .startTime, .named: break
            }
        }
        return (requests, responses)
    }

    package static func isInRecord(_ header: String) -> Bool {
        [":method", ":path", ":authority", "x-request-id"].contains(header)
    }
}
