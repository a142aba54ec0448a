import CKernel
import COpenSSL
import Glibc
import Kernel
import Loop
import ProxyResources
import Synchronization
import TLS
import Wire

/// What other threads ask of a loop.
enum LoopMessage: Sendable {
    case configure(RoutingTable)
    /// A slice of the series, from a place on; and the counts.
    case collect(from: Int, most: Int, @Sendable (SeriesSlice) -> Void)
    /// A slice of the history, from the newest record but so many.
    case records(skipping: Int, most: Int, @Sendable ([RequestRecord]) -> Void)
    case survey(@Sendable ([BackendSurvey]) -> Void)
    /// The backends in use, from a place on.
    case pools(from: Int, @Sendable (PoolSlice) -> Void)
    case drain
    case adopt(MovedConnection)
    case listening(@Sendable ([(name: String, descriptor: CInt)]) -> Void)
    case stopAccepting
    /// A place at a gate is a parked request's.
    case admitted(Gate, UInt64)
    /// Somebody waits for a connection while one of ours may be idle.
    case yield(Gate)
    /// What is asked for on demand may be there, or known not to be.
    case destinationsAnswered
    case stop
}

/// How full a loop is.
struct LoopCounts: Sendable {
    var clients = 0
    var upstreams = 0
    /// Requests and tunnels in flight.
    var exchanges = 0
    var generation: UInt64 = 0
    var retries: UInt64 = 0
    var handshakes: UInt64 = 0
    var resumed: UInt64 = 0
    var handshakeFailures: UInt64 = 0
    var policies: [PolicyCount: UInt64] = [:]
    /// Connections ended since their peer's identity was revoked.
    var revoked: UInt64 = 0
    /// Questions to authorizers in flight, and what came of those before.
    var errands = 0
    var checks: [CheckCount: UInt64] = [:]
    /// PROXY protocol headers that were missing or broken.
    var badIntroductions: UInt64 = 0
    var refusedPlain: UInt64 = 0
    /// Exchanges that ended.
    var records: UInt64 = 0
    /// Connections and requests that wait for their destinations. Filled when asked.
    var asking = 0
    var series = 0
    var bufferBytes = 0
    var turns = TurnTimes()
    /// Filled when asked.
    var guards: [GuardCount] = []
    /// Exchanges that ended with a flag, and attempts that were followed by others.
    var flags = FlagCounts()
    var repeated = FlagCounts()
    /// Copies of requests in flight, and those that were too many.
    var shadows = 0
    var mirrorsDropped: UInt64 = 0
    /// Connections a listener had no room for, and idle ones that made room.
    var refusedFull: UInt64 = 0
    /// Connections ended and requests refused for want of memory.
    var starved: UInt64 = 0
    var shed: UInt64 = 0
    /// Connections to endpoints for which the process had no descriptor.
    var withoutDescriptor: UInt64 = 0
    /// While draining: see `unfinishedClients`.
    var unfinished = 0
    /// Sessions we ended, by `SessionFault`.
    var sessionFaults = InlineArray<32, UInt64>(repeating: 0)
    /// Messages on streams that broke the rules of HTTP/2.
    var malformedStreams: UInt64 = 0
    /// Bytes moved through pipes.
    var spliced: UInt64 = 0
    /// Connections of which nobody had said what they carry, and whose client kept silent.
    var silences: UInt64 = 0
}

/// Where a loop accepts.
struct Listening {
    var descriptor: CInt
    var side: Side
    /// Instead of the original destination, for a proxy without interception.
    var destination: (address: UInt32, port: UInt16)?
    /// Gateways: the listener's name in the configuration.
    var gateway: String?
    /// As the configuration writes it; empty for all.
    var address = ""
    var port: UInt16
    /// Place in the current table's gateways; -1 when not there.
    var gatewayPlace: Int32 = -1
    var isShared = false
    var inherited = ""
    /// Open connections accepted here, by this loop.
    var open: Int32 = 0
}

/// Limits and times of the data plane. Times in nanoseconds.
enum Limits {
    static let connections = 65536
    static let endpoints = 131072
    /// In one configuration, so that two tables and the pod's own ports fit.
    static let tableEndpoints = 50000
    static let localEndpoints = 1024
    static let second: UInt64 = 1_000_000_000
    static let connect = 1 * second
    static let handshake = 5 * second
    static let detect = second / 10
    /// Where the server is known to begin, but a caller of the mesh would.
    static let detectKnown = second / 100
    static let sniff = 5 * second
    static let head = 30 * second
    static let idleClient = 3600 * second
    static let idleUpstream = 30 * second
    static let idleExchange = 300 * second
    static let idleTunnel = 3600 * second
    static let linger = 1 * second
    static let avoid = 1 * second
    static let idlePerEndpoint: Int32 = 128
    static let connectionsPerEndpoint: Int32 = 1024
    static let attempts: UInt8 = 3
    /// Streams of one request that peers refuse before it counts.
    static let refusals: UInt8 = 8
    /// A loop with more in its buffers keeps no more of requests' bodies.
    static let keptBytes = 256 << 20
    /// Interim responses (1xx) to one request.
    static let interims: UInt8 = 16
    /// Between two requests while three quarters of the room for connections are taken.
    static let idleWhenCrowded = 5 * second
    /// When there is no more room: places looked at, and connections ended.
    static let shedLooks = 4096
    static let shedAtOnce = 64
    static let readsAWake = 16
    static let acceptsAWake = 64
    static let otherDescriptors = 32
    /// Of a listener, while the process is out of descriptors.
    static let acceptPause = second / 100
}

/// One loop's whole data plane. Everything it owns is reached from its thread only.
struct Engine: ~Copyable {
    /// What has an address of its own is passed on by it. Without this, calling a method that does not change the engine copies
    /// all 2.7 KB of it onto the stack (Swift 6.3), a dozen times a request.
    private let fixed = Atomic<Bool>(false)
    let slab: Conn
    var freeHead: Int32 = -1
    var top: Int32 = 0
    let endpoints: UnsafeMutablePointer<LiveEndpoint>
    /// Of streams, by the connections' places.
    let states: UnsafeMutablePointer<StreamState>
    /// By the connections' places; touched only when needed.
    let efforts: UnsafeMutablePointer<Effort>
    let bodyWaits: UnsafeMutablePointer<BodyWait>
    var freeEndpoint: Int32 = -1
    /// The first place is `nowhere`'s.
    var topEndpoint: Int32 = 1
    var localEndpoints: [UInt64: Int32] = [:]

    let poller: Poller
    let mailbox: Mailbox<LoopMessage>
    /// Those of all loops.
    let loops: [Mailbox<LoopMessage>]
    let commons: LoopCommons
    var pipes: [SplicePipe] = []
    var freePipes: [Int16] = []
    var timers: TimerWheel
    let buffers: BufferPool
    var parser = HeadParser()
    var matching = MatchingSpace()
    var series = SeriesTable()
    /// A record for each place of the slab; see `draft`.
    let drafts: RecordPointer
    var history = RecordHistory(bytes: Telemetry.defaultRecordKilobytes * 1024)
    let loopNumber: UInt8
    /// When series are looked through next for those nobody adds to.
    var sweepsAt: UInt64 = 0
    /// To the telemetry thread.
    let queue: RecordQueue
    let labels: LabelBook
    /// What callers said of themselves, by the bytes they said it with.
    var knownPeers: [[UInt8]: UInt32] = [:]
    /// What global limits count principals by, by their numbers in the label book.
    var principalHashes: [UInt64] = []
    var chance: Chance
    /// Where in the sequence of shares this loop is; see `Shares`.
    var shares: Shares
    var now: UInt64
    var counts = LoopCounts()

    var table: UnsafeMutablePointer<LiveTable>? = nil
    var listeners: [Listening] = []
    /// Connections and requests that wait for their destinations.
    var asking: [UInt64] = []
    /// Sockets handed on by the process before this one are for the first configuration only.
    var takesHanded = true
    /// Another process accepts; connections accepted before keep their routes.
    var isLeaving = false
    /// Descriptors passed in by name (LISTEN_FDNAMES).
    let inherited: [String: CInt]
    let ownPorts: Set<UInt16>
    /// Connections to look at again this turn.
    var again: [UInt64] = []
    private var resuming: [UInt64] = []
    /// Where header blocks are decoded to.
    let fieldText = Bytes.allocate(capacity: Engine.fieldTextSize)
    /// 24 bytes of base64, for the next WebSocket opening that becomes HTTP/1.
    let webSocketKey = Bytes.allocate(capacity: 32)
    /// Whether requests between sidecars share few connections (HTTP/2).
    var sharing = MeshSharing.never
    var expired: [UInt64] = []
    var tokens = TokenCache()
    /// Header lines for the answer about to be made.
    var answerLines: [UInt8] = []
    var isDraining = false
    var isStopped = false
    let board: HealthBoard
    // The board's, where no reference count is in the way.
    let records: UnsafeMutablePointer<HealthRecord>
    let epoch: UnsafeMutablePointer<Atomic<UInt64>>
    /// Ticks while the table asks for it.
    var clock: Conn? = nil
    var lastTick: UInt64 = 0
    var probes = ProbeList()
    /// Why the last `pickEndpoint` found none.
    var noEndpoint = NoEndpoint.none
    var clientGrant = ClientGrant()
    /// Connections there can be, by the slab and by the process's descriptors.
    let roomForConnections: Int
    var shedPlace: Int32 = 0

    init(
        poller: consuming Poller, mailbox: Mailbox<LoopMessage>, labels: LabelBook, seed: UInt64,
        inherited: [String: CInt],
        ownPorts: Set<UInt16>, loopNumber: UInt8 = 0,
        queue: RecordQueue = RecordQueue(bell: RecordQueue.Bell()), loops: [Mailbox<LoopMessage>] = [],
        commons: LoopCommons = LoopCommons(loops: 1), board: HealthBoard = HealthBoard(), bufferBytes: Int = .max
    ) {
        buffers = BufferPool(limit: bufferBytes)
        self.poller = poller
        self.mailbox = mailbox
        var files = rlimit()
        let known = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files) == 0
        // What is not a connection has its share too: listeners, pages, pollers, files.
        let usable = max(16, Int(clamping: files.rlim_cur) - Limits.otherDescriptors)
        let share = known ? usable / max(1, loops.count) : Limits.connections
        roomForConnections = min(Limits.connections, share)
        self.loops = loops
        self.commons = commons
        self.labels = labels
        self.inherited = inherited
        self.ownPorts = ownPorts
        chance = Chance(seed: seed)
        shares = Shares(start: UInt32(truncatingIfNeeded: chance.next() >> 32))
        now = Clock.monotonic
        timers = TimerWheel(now: now)
        slab = Self.zeroed(Limits.connections)
        drafts = RecordHistory.memory(Limits.connections)
        self.loopNumber = loopNumber
        self.queue = queue
        self.board = board
        records = board.records
        epoch = board.epoch
        endpoints = Self.zeroed(Limits.endpoints)
        endpoints.initialize(to: LiveEndpoint())
        endpoints.pointee.references = 1
        efforts = Self.zeroed(Limits.connections)
        bodyWaits = Self.zeroed(Limits.connections)
        states = Self.zeroed(Limits.connections)
        renewWebSocketKey()
        if let door = open(mailbox.descriptor, .mailbox) {
            _ = self.poller.addReadable(mailbox.descriptor, key: key(door))
        }
    }

    /// Memory that costs nothing until it is touched.
    private static func zeroed<Entry>(_ count: Int) -> UnsafeMutablePointer<Entry> {
        let size = count * MemoryLayout<Entry>.stride
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else { StartFault.end(reserving: size, for: "a loop") }
        return memory.bindMemory(to: Entry.self, capacity: count)
    }

    deinit {
        fieldText.deallocate()
        webSocketKey.deallocate()
        munmap(slab, Limits.connections * MemoryLayout<Connection>.stride)
        munmap(drafts, Limits.connections * MemoryLayout<RequestRecord>.stride)
        munmap(states, Limits.connections * MemoryLayout<StreamState>.stride)
        munmap(efforts, Limits.connections * MemoryLayout<Effort>.stride)
        munmap(bodyWaits, Limits.connections * MemoryLayout<BodyWait>.stride)
        munmap(endpoints, Limits.endpoints * MemoryLayout<LiveEndpoint>.stride)
    }

    // MARK: slab

    mutating func open(_ fd: CInt, _ role: Role) -> Conn? {
        var place = freeHead
        if place >= 0 {
            freeHead = slab[Int(place)].next
        } else {
            if Int(top) >= Limits.connections { return nil }
            place = top
            top &+= 1
        }
        let connection = slab + Int(place)
        let generation = connection.pointee.generation
        connection.initialize(to: Connection())
        connection.pointee.generation = generation &+ 1
        connection.pointee.index = place
        connection.pointee.fd = fd
        connection.pointee.role = role
        return connection
    }

    @inline(__always) func key(_ connection: Conn) -> UInt64 {
        UInt64(UInt32(bitPattern: connection.pointee.index)) | UInt64(connection.pointee.generation) << 32
    }

    /// The connection a key meant, if it is still the same.
    @inline(__always) func find(_ key: UInt64) -> Conn? {
        let connection = slab + Int(key & 0xFFFF_FFFF)
        return connection.pointee.generation == UInt32(truncatingIfNeeded: key >> 32) ? connection : nil
    }

    /// Looks at a connection again before the loop sleeps.
    mutating func queue(_ connection: Conn) {
        if connection.pointee.isQueued { return }
        connection.pointee.isQueued = true
        again.append(key(connection))
    }

    mutating func setDeadline(_ connection: Conn, after delay: UInt64) {
        let deadline = now &+ delay
        connection.pointee.deadline = deadline
        if connection.pointee.armed > deadline { connection.pointee.armed = timers.arm(key(connection), at: deadline) }
    }

    // MARK: turns

    mutating func run() {
        while !isStopped {
            let patience = again.isEmpty ? timers.patience(now: now) : 0
            let count = poller.wait(milliseconds: patience)
            now = Clock.monotonic
            var place = 0
            while place < count {
                event(poller.key(place), poller.mask(place))
                place &+= 1
            }
            if !again.isEmpty { runQueued() }
            if timers.due(now: now) { runExpired() }
            if now >= sweepsAt { sweep() }
            counts.turns.add(Clock.monotonic &- now)
            sayLoad()
        }
        closeAll()
    }

    @inline(__always)
    private mutating func event(_ key: UInt64, _ mask: UInt32) {
        guard let connection = find(key) else { return }
        switch connection.pointee.role {
        case .client, .upstream: break
        case .listener:
            accept(connection)
            return
        case .mailbox:
            for message in mailbox.take() { handle(message) }
            return
        case .free, .clock: return
        }
        if mask & (UInt32(WEFT_POLL_READ) | UInt32(WEFT_POLL_HANGUP)) != 0 {
            connection.pointee.isDrained = false
            if mask & UInt32(WEFT_POLL_HANGUP) != 0 { connection.pointee.hangup = true }
        }
        let waits =
            connection.pointee.isConnecting || connection.pointee.tls == .handshaking || connection.pointee.hasOutput
            || connection.pointee.peer?.pointee.isPaused == true
        if waits {
            if !writable(connection) || connection.pointee.generation != UInt32(truncatingIfNeeded: key >> 32) {
                return
            }
            if !connection.pointee.canWrite { return }
        }
        if !connection.pointee.isDrained && !connection.pointee.isPaused { readable(connection) }
    }

    private mutating func runQueued() {
        var rounds = 0
        while !again.isEmpty, rounds < 4 {
            rounds += 1
            swap(&again, &resuming)
            var place = 0
            while place < resuming.count {
                if let connection = find(resuming[place]) {
                    connection.pointee.isQueued = false
                    resume(connection)
                }
                place &+= 1
            }
            resuming.removeAll(keepingCapacity: true)
        }
    }

    private mutating func runExpired() {
        timers.expire(now: now, into: &expired)
        for key in expired {
            guard let connection = find(key), connection.pointee.role != .free else { continue }
            connection.pointee.armed = .max
            if connection.pointee.deadline == .max { continue }
            if connection.pointee.deadline > now {
                connection.pointee.armed = timers.arm(key, at: connection.pointee.deadline)
            } else {
                connection.pointee.deadline = .max
                deadlinePassed(connection)
            }
        }
        expired.removeAll(keepingCapacity: true)
    }

    private mutating func handle(_ message: LoopMessage) {
        switch message {
        case .configure(let table): configure(table)
        case .collect(let place, let most, let report): report(slice(from: place, most: most))
        case .records(let skipped, let most, let report): report(history.copy(skipping: skipped, most: most))
        case .survey(let report): report(survey())
        case .pools(let place, let report): report(pools(from: place))
        case .adopt(let moved): adopt(moved)
        case .listening(let report): report(listeningSockets())
        case .stopAccepting: stopAccepting()
        case .drain:
            isDraining = true
            drainSessions()
        case .admitted(let gate, let key): admitted(gate, key)
        case .yield(let gate): yieldIdle(gate)
        case .destinationsAnswered: destinationsAnswered()
        case .stop: isStopped = true
        }
    }

    private mutating func closeAll() {
        for place in 0..<Int(top) {
            let connection = slab + place
            switch connection.pointee.role {
            case .client: closePair(connection)
            case .upstream where connection.pointee.peer == nil: close(connection)
            case .listener:
                if !listeners[Int(connection.pointee.listener)].isShared { Glibc.close(connection.pointee.fd) }
            case .upstream, .mailbox, .free, .clock: break
            }
        }
        closePipes()
        if let table { retire(table) }
        table = nil
    }
}
