import ProxyResources

/// Whether requests to other sidecars become streams of shared connections.
enum MeshSharing: UInt8 {
    case never, byLoad, always

    init(_ multiplexing: Multiplexing) {
        switch multiplexing {
        case .on: self = .always
        case .off: self = .never
        case .byLoad: self = .byLoad
        }
    }
}

/// When a request between two sidecars is cheaper as a stream of a shared connection than on a connection it has alone.
///
/// Frames and header compression cost work that a connection of HTTP/1.1 does not need. What they save are TLS records and system
/// calls: requests that are in flight at the same time leave together. So few requests, and large bodies, go alone.
enum SharingRule {
    /// Requests in flight from one loop to the endpoint from which on sharing pays.
    static let crowd: Int32 = 8
    /// Bytes of one exchange, both ways, up to which sharing pays.
    static let light = 16384
    /// Streams of one session after which another is made: each session has one loop at the receiver.
    static let streamsPerSession: Int32 = 32
    /// Of one loop to one endpoint; all of them are filled before there are more.
    static let sessions: Int32 = 4
    /// How long an endpoint that has declined streams is not asked again.
    static let declined = 600 * Limits.second

    /// - Parameters:
    ///   - lately: requests in flight to the endpoint, as `crowded` has it.
    ///   - usualBytes: of the endpoint's exchanges, as `averaged` has it.
    ///   - body: bytes the request's body has at least; `.max` when it does not say.
    @inline(__always)
    static func pays(lately: Int32, usualBytes: Int32, body: Int) -> Bool {
        lately >= crowd &* 16 && Int(usualBytes) <= light && body <= light
    }

    /// The most requests that were in flight of late, in sixteenths, when there are `active` now. It falls by a sixteenth with each
    /// request: what left together is answered together, and then nothing is in flight for a moment.
    @inline(__always)
    static func crowded(_ lately: Int32, with active: Int32) -> Int32 {
        max(active &* 16, lately &- lately / 16)
    }

    /// The moving average of an endpoint's exchanges after one of so many bytes. Each counts for a sixteenth, none for more than 4 MB.
    static func averaged(_ usual: Int32, with bytes: Int) -> Int32 {
        usual &+ (Int32(truncatingIfNeeded: min(bytes, 1 << 22)) &- usual) / 16
    }
}

extension Engine {
    /// Whether a request to another sidecar goes as a stream although neither its client nor the app speaks HTTP/2.
    func sharesConnection(_ client: Conn, _ endpoint: UnsafeMutablePointer<LiveEndpoint>) -> Bool {
        switch sharing {
        case .never: return false
        case .always: return true
        case .byLoad: break
        }
        let lately = SharingRule.crowded(endpoint.pointee.lately, with: endpoint.pointee.active)
        endpoint.pointee.lately = lately
        let body: Int
        switch client.pointee.phase {
        case .chunked: body = .max
        case .length: body = client.pointee.remaining
        default: body = 0
        }
        return SharingRule.pays(lately: lately, usualBytes: endpoint.pointee.usualBytes, body: body)
    }

    /// An exchange with an endpoint is over: how large it was tells what the next ones may be.
    @inline(__always)
    func observeSize(_ client: Conn, _ slot: Int32) {
        if sharing != .byLoad { return }
        let usual = endpoints[Int(slot)].usualBytes
        endpoints[Int(slot)].usualBytes = SharingRule.averaged(
            usual, with: client.pointee.requestBytes &+ client.pointee.responseBytes)
    }

    /// The session to the endpoint that takes the next stream; nil when another should be made.
    ///
    /// - Parameter spreads: sessions are not filled while there are few of them.
    func roomySession(_ endpoint: UnsafeMutablePointer<LiveEndpoint>, spreads: Bool) -> Conn? {
        let most = spreads ? SharingRule.streamsPerSession : .max
        var least: Conn? = nil
        var fewest = Int32.max
        var isMaking = false
        var place = endpoint.pointee.sessionHead
        while place >= 0 {
            let carrier = slab + Int(place)
            place = carrier.pointee.next
            guard let session = carrier.pointee.session, session.pointee.hasRoom else { continue }
            if session.pointee.isReady && session.pointee.open < most { return carrier }
            if !session.pointee.isReady { isMaking = true }
            // One that is being made is for those that find no other.
            let open = session.pointee.isReady ? session.pointee.open : session.pointee.open &+ 1000
            if open < fewest { (least, fewest) = (carrier, open) }
        }
        guard let least else { return nil }
        if spreads && !isMaking && endpoint.pointee.sessionCount < SharingRule.sessions { return nil }
        return least
    }
}
