import Glibc
import ProxyResources
import TLS

/// An endpoint as one loop knows it: its connections and how busy it is.
struct LiveEndpoint {
    var address: UInt32 = 0
    var port: UInt16 = 0
    /// Must be spoken to over mutual TLS with this peer.
    var principal: UnsafeMutablePointer<UInt8>? = nil
    var principalLength: Int32 = 0
    var labels: UInt32 = 0
    var label: UInt32 = 0
    var idleHead: Int32 = -1
    var idleCount: Int32 = 0
    /// Requests and streams in flight.
    var active: Int32 = 0
    var connections: Int32 = 0
    /// Tables of this loop that have it; none left: it is going away.
    var references: Int32 = 0
    /// After a failed connection, others are preferred until then.
    var avoidedUntil: UInt64 = 0
    var session: OpaquePointer? = nil
    /// What its app speaks, and until when its sidecar is not asked for streams again: it has chosen HTTP/1.1.
    var appProtocol = AppProtocol.unknown
    var declinesUntil: UInt64 = 0
    /// Requests in flight to it of late; see `SharingRule.crowded`.
    var lately: Int32 = 0
    /// Bytes of its exchanges with us, both ways, on average.
    var usualBytes: Int32 = 0
    /// Connections with streams that may take another.
    var sessionHead: Int32 = -1
    var sessionCount: Int32 = 0
    /// On the health board; -1 when nobody keeps watch.
    var place: Int32 = -1
    /// Names it to clients.
    var identity: UInt64 = 0
    var latency = LatencyEstimate()
    /// Not yet added to the board's counts.
    var newlySucceeded: UInt32 = 0
    var newlyFailed: UInt32 = 0
    var attempts: UInt64 = 0
    var failures: UInt64 = 0
    /// TLS of its own, outside the mesh; released with the endpoint.
    var origination: Unmanaged<OriginationContext>? = nil
    /// It wants TLS whose settings cannot be used.
    var isUnspeakable = false
    var proxyProtocol = ProxyProtocolVersion.none
    var isUsed = false
    var nextFree: Int32 = -1
}

/// A routing table in use by one loop: kept while it is the current one or a request that was routed by it is in flight.
struct LiveTable {
    /// Holds the table; released when this ends.
    var table: Unmanaged<RoutingTable>
    var arrays: TableView
    /// From the table's endpoints to the loop's.
    var slots: UnsafeMutablePointer<Int32>
    /// By balanced backend.
    var pools: UnsafeMutablePointer<LivePool>
    var users = 0
    var isCurrent = true
    var server: OpaquePointer?
    var client: OpaquePointer?
}
