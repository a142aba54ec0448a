import ProxyResources
import Wire

/// `ClientLimits` as a loop uses them: times in nanoseconds, connections for this loop alone.
struct ClientGrant {
    var connections = Int32.max
    var bodyBytes = Int.max
    var head = Limits.head
    var idle = Limits.idleClient
    /// 0 when nothing is asked.
    var progressBytes = 0
    var progressWindow: UInt64 = 0

    init() {}

    init(_ limits: ClientLimits, loops: Int) {
        if limits.connections > 0 {
            // Each loop takes its share of a listener's connections, as the kernel spreads them.
            connections = Int32(clamping: (limits.connections + loops - 1) / loops)
        }
        if limits.bodyBytes > 0 { bodyBytes = limits.bodyBytes }
        head = UInt64(limits.headTimeoutMilliseconds) * 1_000_000
        idle = UInt64(limits.idleTimeoutMilliseconds) * 1_000_000
        progressBytes = limits.progressBytes
        progressWindow = UInt64(limits.progressWindowMilliseconds) * 1_000_000
    }
}

extension Engine {
    /// Takes the limits of a new table.
    mutating func grant(_ limits: ClientLimits) {
        clientGrant = ClientGrant(limits, loops: max(1, loops.count))
        parser.requestLimits = HeadParser.Limits(
            target: limits.targetBytes, lines: limits.headerLines, head: limits.headBytes)
    }

    /// How long a client may keep a connection between two requests; little while room is scarce.
    var idlePatience: UInt64 {
        isCrowded ? min(clientGrant.idle, Limits.idleWhenCrowded) : clientGrant.idle
    }

    private var isCrowded: Bool { counts.clients &+ counts.upstreams > roomForConnections / 4 * 3 }

    /// There is no room for a new connection: idle ones go, and heads that do not come on. A bounded part of the slab is looked at.
    ///
    /// - Returns: whether there is room now.
    mutating func shedIdle() -> Bool {
        var looked = 0
        var shed = 0
        while looked < Limits.shedLooks && shed < Limits.shedAtOnce && top > 0 {
            shedPlace = (shedPlace &+ 1) % top
            looked += 1
            let connection = slab + Int(shedPlace)
            guard connection.pointee.role == .client, connection.pointee.fd >= 0, connection.pointee.peer == nil,
                connection.pointee.phase == .head, connection.pointee.tls != .handshaking,
                connection.pointee.parking == .none
            else { continue }
            if let session = connection.pointee.session {
                if !shedSession(connection, session) { continue }
                counts.shed += 1
                shed += 1
                continue
            }
            if connection.pointee.mode != .http { continue }
            if isFresh(connection) { continue }
            counts.shed += 1
            shed += 1
            close(connection)
        }
        return shed > 0
    }

    /// Whether a connection has come, been answered or begun a request within the last second: it keeps its place.
    private func isFresh(_ client: Conn) -> Bool {
        if client.pointee.inputCount > 0 { return client.pointee.startedAt &+ Limits.second > now }
        // Its deadline was set then, when room was scarce or when it was not yet.
        return wasSetLately(client, clientGrant.idle)
            || wasSetLately(client, min(clientGrant.idle, Limits.idleWhenCrowded))
    }

    /// Whether the client's deadline was set within the last second, if it was set so far ahead.
    private func wasSetLately(_ client: Conn, _ patience: UInt64) -> Bool {
        let latest = now &+ patience
        return client.pointee.deadline <= latest
            && client.pointee.deadline &+ min(Limits.second, patience / 2) > latest
    }

    // MARK: progress

    /// From now on the client has to move something in each window.
    mutating func openWindow(_ client: Conn) {
        if clientGrant.progressBytes == 0 || client.pointee.hasTimeout { return }
        client.pointee.windowEnd = now &+ clientGrant.progressWindow
        client.pointee.windowBytes = client.pointee.requestBytes &+ client.pointee.responseBytes
        if client.pointee.deadline > client.pointee.windowEnd {
            setDeadline(client, after: clientGrant.progressWindow)
        }
    }

    /// Bytes a client has to move in a window. Streams of a session have one connection: it is asked of all of them together.
    private func progressWanted(_ client: Conn) -> Int {
        guard let open = client.pointee.carrier?.pointee.session?.pointee.open, open > 1 else {
            return clientGrant.progressBytes
        }
        return max(1, clientGrant.progressBytes / Int(open))
    }

    /// A window is over: a client that was waited for and moved too little has had its time.
    mutating func windowPassed(_ client: Conn, _ upstream: Conn) {
        let moved = client.pointee.requestBytes &+ client.pointee.responseBytes &- client.pointee.windowBytes
        client.pointee.windowEnd = .max
        let owesBody =
            (client.pointee.phase == .length || client.pointee.phase == .chunked) && !client.pointee.isPaused
            && !upstream.pointee.sawResponse
        let owesReading = client.pointee.hasOutput || upstream.pointee.isPaused
        if moved < progressWanted(client) {
            if owesBody {
                cutRequest(client, upstream, status: 408, .clientProtocol, "request_body_timeout")
                return
            }
            if owesReading {
                draft(client).pointee.reason = "slow_response_reader"
                closePair(client, .timeout)
                return
            }
        }
        setDeadline(client, after: Limits.idleExchange)
        if owesBody || owesReading { openWindow(client) }
    }
}
