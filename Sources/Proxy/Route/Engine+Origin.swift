import Glibc
import Wire

extension Engine {
    /// CORS: answers a preflight, and notes what the answer to any other request shall say.
    mutating func checkOrigin(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ policy: CORSEntry
    ) -> Step {
        let name: StaticString = "origin"
        guard let place = findLine(bytes, name.utf8Start, name.utf8CodeUnitCount) else { return .go }
        let line = parser.lines[place]
        let origin = bytes + Int(line.valueOffset)
        let length = Int(line.valueLength)
        let isPreflight =
            parser.head.methodLength == 7 && memcmp(bytes, "OPTIONS", 7) == 0
            && findLine(bytes, CORSText.requestMethod.utf8Start, CORSText.requestMethod.utf8CodeUnitCount) != nil
        if !isAllowed(arrays, policy, origin, length) {
            if !isPreflight || policy.forwardsUnmatched { return .go }
            skipHead(client)
            guard let out = beginReply(client, status: 204, .none, "cors_origin_not_allowed", room: 0) else {
                return .over
            }
            var at = Int(client.pointee.outputEnd)
            finishReply(client, out, &at, nil, 0)
            return .over
        }
        noteOrigin(client, arrays, policy, origin, length, isPreflight ? 0 : Int(policy.exposeLine.count))
        if !isPreflight {
            client.pointee.editsResponse = true
            return .go
        }
        preflight(client, bytes, arrays, policy)
        return .over
    }

    private mutating func isAllowed(
        _ arrays: TableView, _ policy: CORSEntry, _ origin: UnsafePointer<UInt8>, _ length: Int
    ) -> Bool {
        if length == 0 || length > CORSText.longestOrigin { return false }
        for place in Int(policy.origins.start)..<Int(policy.origins.start &+ policy.origins.count)
        where textMatches(arrays, arrays.pointee.routes.origins[place], origin, length) {
            return true
        }
        return false
    }

    /// Writes the lines that every answer to an allowed origin has.
    private mutating func noteOrigin(
        _ client: Conn, _ arrays: TableView, _ policy: CORSEntry, _ origin: UnsafePointer<UInt8>, _ length: Int,
        _ expose: Int
    ) {
        let extras = extras(client)
        let out = extras.lines
        var at = 0
        put("access-control-allow-origin: ", out, &at)
        if policy.answersStar {
            put("*\r\n", out, &at)
        } else {
            put(origin, length, out, &at)
            put("\r\nvary: origin\r\n", out, &at)
        }
        if policy.allowsCredentials { put("access-control-allow-credentials: true\r\n", out, &at) }
        if expose > 0 && expose < RouteExtras.linesSize - at {
            put(arrays.pointee.text + Int(policy.exposeLine.offset), expose, out, &at)
        }
        extras.pointee.linesLength = Int32(truncatingIfNeeded: at)
        extras.pointee.hasOrigin = true
    }

    private mutating func preflight(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ arrays: TableView, _ policy: CORSEntry
    ) {
        // Where anything is allowed, what is asked for is: the word `*` would not hold with credentials.
        var method: HeaderLine? = nil
        var headers: HeaderLine? = nil
        if policy.allowsAnyMethod {
            let name = CORSText.requestMethod
            method = findLine(bytes, name.utf8Start, name.utf8CodeUnitCount).map { parser.lines[$0] }
        }
        if policy.allowsAnyHeader {
            let name = CORSText.requestHeaders
            headers = findLine(bytes, name.utf8Start, name.utf8CodeUnitCount).map { parser.lines[$0] }
        }
        let asked = Int(method?.valueLength ?? 0) + Int(headers?.valueLength ?? 0)
        let room = Int(policy.preflightLines.count) + asked + 128
        guard let out = beginReply(client, status: 200, .none, "cors_preflight", room: room) else { return }
        var at = Int(client.pointee.outputEnd)
        put(arrays.pointee.text + Int(policy.preflightLines.offset), Int(policy.preflightLines.count), out, &at)
        if let method {
            put("access-control-allow-methods: ", out, &at)
            put(bytes + Int(method.valueOffset), Int(method.valueLength), out, &at)
            put("\r\n", out, &at)
        }
        if let headers {
            put("access-control-allow-headers: ", out, &at)
            put(bytes + Int(headers.valueOffset), Int(headers.valueLength), out, &at)
            put("\r\n", out, &at)
        }
        skipHead(client)
        finishReply(client, out, &at, nil, 0)
    }

    /// What we say of the origin stands instead of what the backend says.
    func dropOriginLines(_ bytes: UnsafePointer<UInt8>) {
        for name in [CORSText.allowOrigin, CORSText.allowCredentials] {
            dropLines(bytes, name.utf8Start, name.utf8CodeUnitCount)
        }
    }
}

enum CORSText {
    static var requestMethod: StaticString { "access-control-request-method" }
    static var requestHeaders: StaticString { "access-control-request-headers" }
    static var allowOrigin: StaticString { "access-control-allow-origin" }
    static var allowCredentials: StaticString { "access-control-allow-credentials" }
    static var longestOrigin: Int { 2048 }
}
