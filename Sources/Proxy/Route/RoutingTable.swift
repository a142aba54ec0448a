import Glibc
import Loop
import ProxyResources
import TLS
import Wire

/// A place in a table's text.
struct TextRange {
    var offset: Int32 = 0
    var count: Int32 = 0
}

/// A run of entries in another array of the table.
struct Run {
    var start: Int32 = 0
    var count: Int32 = 0
}

struct ServiceEntry {
    var appProtocol: AppProtocol
    var label: UInt32
    var rules: RuleRun
    var defaultBackend: Int32
    /// Place among the rules of where tunnels go; -1 when nothing is said of them.
    var tunnelRule: Int32 = -1
}

struct RuleEntry {
    /// In the label book.
    var name: UInt32
    var matches: Run
    var backends: Run
    var totalWeight: UInt32
    /// 0 when none.
    var timeoutMilliseconds: Int32
    /// 0 when the rule has backends.
    var directStatus: Int32
    var isNoRoute = false
    var setHeaders: Run
    var removeHeaders: Run
    var addHeaders: Run
    var editBytes: Int32
    /// In the table's carriers: instead of its backends' sessions; -1 for theirs.
    var session: Int32 = -1
    /// What else the rule does; -1 when nothing.
    var actions: Int32 = -1
    /// Place in `resilience.efforts`; -1 when the rule asks for nothing of the kind.
    var effort: Int32 = -1
}

struct HeaderEditEntry {
    var name: TextRange
    /// `name: value\r\n`
    var line: TextRange
}

struct WeightEntry {
    /// -1 when the rule names a backend we were not told of.
    var backend: Int32
    var weight: UInt32
    var isUnresolved: Bool
    /// Changes of headers for this backend only; -1 when there are none.
    var edits: Int32 = -1
}

struct BackendEntry {
    var label: UInt32
    var members: Run
    /// Place in `resilience.guards`; -1 when nothing guards the backend.
    var guardPlace: Int32 = -1
    /// How an endpoint is chosen; -1: the less busy of two.
    var balance: Int32
}

struct EndpointEntry {
    /// What its app speaks.
    var appProtocol: AppProtocol
    /// Never reused: the same number in another table is the same endpoint.
    var number: UInt64
    var address: UInt32
    var port: UInt16
    var principal: TextRange
    var labels: UInt32
    var label: UInt32
    /// The same in every proxy, as long as service, address and port are.
    var identity: UInt64
    /// On the health board; -1 when no backend keeps watch over it.
    var place: Int32 = -1
    /// Kept by the table.
    var origination: Unmanaged<OriginationContext>? = nil
    var wantsTLS = false
    var proxyProtocol = ProxyProtocolVersion.none

    static func identity(_ service: String, _ address: UInt32, _ port: UInt16) -> UInt64 {
        var hash = StableHash(seed: UInt64(address) << 16 | UInt64(port))
        hash.add(service)
        return hash.mixed
    }
}

enum HostKind: UInt8 { case exact, suffix, any }

struct HostEntry {
    var kind: HostKind
    var name: TextRange
    var rules: RuleRun
}

struct GatewayEntry {
    var name: TextRange
    var port: UInt16
    var hosts: Run
    var index: HostIndexEntry
}

struct InboundEntry {
    var port: UInt16
    var appProtocol: AppProtocol
    var label: UInt32
    var rates = Run()
}

struct ModeEntry {
    var port: UInt16
    var mode: MutualTLS
}

/// Finds an entry by address and port: open addressing over plain memory.
struct AddressIndex {
    var keys: UnsafeMutablePointer<UInt64>
    var values: UnsafeMutablePointer<Int32>
    var mask: Int

    init(_ entries: [(address: UInt32, port: UInt16, value: Int32)], in memory: TableMemory) {
        var size = 16
        while size < entries.count * 2 { size *= 2 }
        keys = memory.keep([UInt64](repeating: 0, count: size))
        values = memory.keep([Int32](repeating: -1, count: size))
        mask = size - 1
        for entry in entries {
            let key = Self.key(entry.address, entry.port)
            var place = Self.hash(key) & mask
            while keys[place] != 0, keys[place] != key { place = (place + 1) & mask }
            if keys[place] == key { continue }  // the first one stays
            keys[place] = key
            values[place] = entry.value
        }
    }

    @inline(__always) private static func key(_ address: UInt32, _ port: UInt16) -> UInt64 {
        UInt64(address) << 16 | UInt64(port) | 1 << 63
    }
    @inline(__always) private static func hash(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 20)
    }

    func find(_ address: UInt32, _ port: UInt16) -> Int32 {
        let key = Self.key(address, port)
        var place = Self.hash(key) & mask
        while keys[place] != 0 {
            if keys[place] == key { return values[place] }
            place = (place &+ 1) & mask
        }
        return -1
    }
}

/// Where a routing table's arrays are. It lives as long as the table, and costs no reference count to pass on.
typealias TableView = UnsafePointer<TableArrays>

/// The arrays of a routing table, as plain pointers.
struct TableArrays {
    var text: UnsafeMutablePointer<UInt8>
    var services: UnsafeMutablePointer<ServiceEntry>
    var rules: UnsafeMutablePointer<RuleEntry>
    var matches: UnsafeMutablePointer<MatchEntry>
    var routes: RouteTables
    var edits: UnsafeMutablePointer<HeaderEditEntry>
    var weights: UnsafeMutablePointer<WeightEntry>
    var backends: UnsafeMutablePointer<BackendEntry>
    var members: UnsafeMutablePointer<Int32>
    var endpoints: UnsafeMutablePointer<EndpointEntry>
    var endpointCount: Int
    var hosts: UnsafeMutablePointer<HostEntry>
    var gateways: UnsafeMutablePointer<GatewayEntry>
    var gatewayCount: Int
    var inbound: UnsafeMutablePointer<InboundEntry>
    var inboundCount: Int
    var modes: UnsafeMutablePointer<ModeEntry>
    var modeCount: Int
    var defaultMode: MutualTLS
    var byAddress: AddressIndex
    var byPod: AddressIndex
    var demand: DemandTable
    /// `x-weft-peer: …\r\n`
    var peerLine: TextRange
    var principal: TextRange
    /// `PassthroughCluster` and such, as service numbers.
    var passthroughLabel: UInt32
    var sharing: MeshSharing
    /// One entry.
    var telemetry: UnsafeMutablePointer<TelemetryEntry>
    var resilience: ResilienceArrays
    /// `nil` when nothing is asked of those who call.
    var access: UnsafeMutablePointer<AccessTable>?
    var balance: BalanceArrays
    var tls: TLSTable
}

/// Everything one proxy was told, compiled for looking up. Made on the configuration thread, posted to each loop, never changed.
///
/// `@unchecked Sendable`: its memory is written only before it is shared and freed with the last reference.
final class RoutingTable: @unchecked Sendable {
    let arrays: TableView
    private let memory: TableMemory
    let credentials: Credentials?
    let generation: UInt64
    let gateways: [GatewayListener]
    let clientLimits: ClientLimits
    let backendNames: [String]
    let revoked: Revocation
    let resilience: ResilienceTables
    private let board: HealthBoard
    private let boardPlaces: [Int32]
    /// What the views in `arrays` look at.
    private let patterns: [Pattern]
    private let servers: [ServerContext]
    private let originations: [OriginationContext]

    init(
        arrays: TableView, memory: TableMemory, credentials: Credentials?, generation: UInt64,
        gateways: [GatewayListener],
        resilience: ResilienceTables, patterns: [Pattern] = [], clientLimits: ClientLimits = ClientLimits(),
        backendNames: [String], board: HealthBoard, boardPlaces: [Int32],
        revoked: Revocation = Revocation(), servers: [ServerContext] = [], originations: [OriginationContext] = []
    ) {
        self.backendNames = backendNames
        self.board = board
        self.boardPlaces = boardPlaces
        board.hold(boardPlaces)
        self.arrays = arrays
        self.memory = memory
        self.credentials = credentials
        self.generation = generation
        self.gateways = gateways
        self.resilience = resilience
        self.patterns = patterns
        self.clientLimits = clientLimits
        self.revoked = revoked
        self.servers = servers
        self.originations = originations
    }

    deinit { board.release(boardPlaces) }
}
