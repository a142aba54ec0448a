package import Wire

/// What a proxy grants those who call it. The defaults are what holds when nothing is said.
package struct ClientLimits: Sendable, Hashable {
    /// Open connections of one listener; 0 for as many as the proxy has room for.
    package var connections = 0
    /// Of a request's head: bytes in all, lines, and bytes of its target.
    package var headBytes = Self.mostHeadBytes
    package var headerLines = Self.mostHeaderLines
    package var targetBytes = Self.mostTargetBytes
    /// Of a request's content; what comes in chunks counts with its framing and the request's head. 0 for no limit.
    package var bodyBytes = 0
    /// From a head's first byte to its last.
    package var headTimeoutMilliseconds = 30_000
    /// Between two requests of a connection.
    package var idleTimeoutMilliseconds = 3_600_000
    /// A client we wait for, to send a body or to take a response, must move this many bytes in each window; 0 for none.
    package var progressBytes = 256
    package var progressWindowMilliseconds = 60_000

    package static let mostHeadBytes = 61440
    package static let mostHeaderLines = 128
    package static let mostTargetBytes = 8192

    package init() {}
}

extension ClientLimits {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        let times = 1...86_400_000
        connections = try fields.integer("connections", in: 0...1_000_000) ?? connections
        headBytes = try fields.integer("headBytes", in: 256...Self.mostHeadBytes) ?? headBytes
        headerLines = try fields.integer("headerLines", in: 1...Self.mostHeaderLines) ?? headerLines
        targetBytes = try fields.integer("targetBytes", in: 16...Self.mostTargetBytes) ?? targetBytes
        bodyBytes = try fields.integer("bodyBytes", in: 0...1 << 50) ?? bodyBytes
        headTimeoutMilliseconds = try fields.integer("headTimeoutMilliseconds", in: times) ?? headTimeoutMilliseconds
        idleTimeoutMilliseconds = try fields.integer("idleTimeoutMilliseconds", in: times) ?? idleTimeoutMilliseconds
        progressBytes = try fields.integer("progressBytes", in: 0...1 << 30) ?? progressBytes
        progressWindowMilliseconds =
            try fields.integer("progressWindowMilliseconds", in: times) ?? progressWindowMilliseconds
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("connections", connections)
        out.write("headBytes", headBytes)
        out.write("headerLines", headerLines)
        out.write("targetBytes", targetBytes)
        out.write("bodyBytes", bodyBytes)
        out.write("headTimeoutMilliseconds", headTimeoutMilliseconds)
        out.write("idleTimeoutMilliseconds", idleTimeoutMilliseconds)
        out.write("progressBytes", progressBytes)
        out.write("progressWindowMilliseconds", progressWindowMilliseconds)
        return out.json
    }
}
