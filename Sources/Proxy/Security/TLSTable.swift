import COpenSSL
import ProxyResources
import TLS

/// A server name of a listener, and where its connections go: TLS ends here, or a rule says where it goes on.
struct ServerNameEntry {
    var kind: HostKind
    var name: TextRange
    /// Place in `contexts`; or one of the two below.
    var context: Int32
    /// Place among the table's rules of where bytes go on; -1 when requests are served here.
    var rule: Int32

    /// TLS goes on unopened.
    static let unopened: Int32 = -1
    /// It would end here, but its certificate cannot be used.
    static let unusable: Int32 = -2
}

/// What a listener of a gateway asks of a new connection before anything else.
struct DoorEntry {
    /// Of `names`, the narrowest first; none on a plain port.
    var names = Run()
    /// Of `blocks`: who must bring a PROXY protocol header; none when nobody may.
    var trusted = Run()
    /// Of a plain port whose connections go on as they are; -1 for requests.
    var rule: Int32 = -1
    /// Some names' TLS ends here and what is inside goes on.
    var forwardsOpened = false
}

struct BlockEntry {
    var address: UInt32
    var mask: UInt32
}

/// Server names and who may speak for others, as plain memory; the contexts live as long as the table.
struct TLSTable {
    var text: UnsafeMutablePointer<UInt8>
    var names: UnsafeMutablePointer<ServerNameEntry>
    /// By a gateway listener's place.
    var doors: UnsafeMutablePointer<DoorEntry>
    var doorCount: Int
    /// By a service port's place: names of TLS that is passed on; empty for most.
    var services: UnsafeMutablePointer<Run>
    var serviceCount: Int
    var blocks: UnsafeMutablePointer<BlockEntry>
    var contexts: UnsafeMutablePointer<OpaquePointer?>

    /// The narrowest entry for a name, which may be none and in any case; see `ProxyResources.chooseServerName`.
    func find(_ run: Run, _ name: ByteView) -> ServerNameEntry? {
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let entry = names[place]
            let wanted = text + Int(entry.name.offset)
            let count = Int(entry.name.count)
            switch entry.kind {
            case .any: return entry
            case .exact: if count == name.count && sameName(name.start, wanted, count) { return entry }
            case .suffix:
                if name.count > count && sameName(name.start + (name.count - count), wanted, count) { return entry }
            }
        }
        return nil
    }

    func trusts(_ run: Run, _ address: UInt32) -> Bool {
        for place in Int(run.start)..<Int(run.start &+ run.count)
        where address & blocks[place].mask == blocks[place].address {
            return true
        }
        return false
    }
}

/// Contexts made before, so that a new configuration keeps those whose settings are the same: their sessions can be resumed.
struct TLSContexts {
    private var servers: [TLSServer: ServerContext] = [:]
    private var clients: [BackendTLS: OriginationContext] = [:]
    private var usedServers: [TLSServer: ServerContext] = [:]
    private var usedClients: [BackendTLS: OriginationContext] = [:]

    mutating func begin() { (usedServers, usedClients) = ([:], [:]) }
    mutating func end() { (servers, clients) = (usedServers, usedClients) }

    /// `nil` when the settings do not fit each other, which is told in the log: one bad certificate shall not stop the others.
    mutating func context(_ server: TLSServer, of listener: String) -> ServerContext? {
        if let known = usedServers[server] ?? servers[server] {
            usedServers[server] = known
            return known
        }
        do throws(TLSFailure) {
            let made = try ServerContext(server)
            usedServers[server] = made
            return made
        } catch {
            log(
                "listener \(listener): TLS of \(server.hosts.joined(separator: ", ")) cannot be served: \(error)",
                level: "error")
            return nil
        }
    }

    mutating func context(_ tls: BackendTLS, of backend: String) -> OriginationContext? {
        if let known = usedClients[tls] ?? clients[tls] {
            usedClients[tls] = known
            return known
        }
        do throws(TLSFailure) {
            let made = try OriginationContext(tls)
            usedClients[tls] = made
            return made
        } catch {
            log("backend \(backend): its TLS cannot be spoken: \(error)", level: "error")
            return nil
        }
    }
}

/// Compiles server names.
struct TLSTableBuilder {
    private var text: [UInt8] = []
    private var names: [ServerNameEntry] = []
    private var doors: [DoorEntry] = []
    private var services: [Run] = []
    private var blocks: [BlockEntry] = []
    private(set) var contexts: [ServerContext] = []

    mutating func add(_ listener: GatewayListener, _ rules: ConnectionRules, _ made: inout TLSContexts) {
        var entries: [ServerNameEntry] = []
        for (server, rule) in zip(listener.tls, rules.servers) {
            var place = ServerNameEntry.unusable
            if let context = made.context(server, of: listener.name) {
                place = Int32(contexts.count)
                contexts.append(context)
            }
            for host in server.hosts { entries.append(entry(host, context: place, rule: rule)) }
        }
        entries += routed(listener.tlsRoutes, rules.firstPassed)
        let peers = (listener.proxyProtocol?.trusted ?? []).compactMap(AddressBlock.init).filter { !$0.isForeign }
        let trusted = Run(start: Int32(blocks.count), count: Int32(peers.count))
        blocks += peers.map { BlockEntry(address: $0.address, mask: $0.mask) }
        doors.append(
            DoorEntry(
                names: keep(entries), trusted: trusted, rule: rules.plain,
                forwardsOpened: rules.servers.contains { $0 >= 0 }))
    }

    /// The names of the next service port.
    ///
    /// - Parameter firstRule: of the routes; the others follow it in their order.
    mutating func add(_ routes: [TLSRoute], firstRule: Int32) { services.append(keep(routed(routes, firstRule))) }

    private mutating func routed(_ routes: [TLSRoute], _ firstRule: Int32) -> [ServerNameEntry] {
        var entries: [ServerNameEntry] = []
        for (index, route) in routes.enumerated() {
            for host in route.hosts {
                entries.append(entry(host, context: ServerNameEntry.unopened, rule: firstRule + Int32(index)))
            }
        }
        return entries
    }

    private mutating func entry(_ host: String, context: Int32, rule: Int32) -> ServerNameEntry {
        if host == "*" { return ServerNameEntry(kind: .any, name: TextRange(), context: context, rule: rule) }
        let isSuffix = host.hasPrefix("*.")
        let name = isSuffix ? String(host.dropFirst()) : host
        let range = TextRange(offset: Int32(text.count), count: Int32(name.utf8.count))
        text += Array(name.utf8)
        return ServerNameEntry(kind: isSuffix ? .suffix : .exact, name: range, context: context, rule: rule)
    }

    /// In the order they are tried: exact names, longer suffixes, any; of equals the one written first.
    private mutating func keep(_ entries: [ServerNameEntry]) -> Run {
        let sorted = entries.enumerated().sorted { one, other in
            let (a, b) = (one.element, other.element)
            if a.kind != b.kind { return a.kind.rawValue < b.kind.rawValue }
            if a.name.count != b.name.count { return a.name.count > b.name.count }
            return one.offset < other.offset
        }
        let run = Run(start: Int32(names.count), count: Int32(sorted.count))
        names += sorted.map(\.element)
        return run
    }

    func finish(in memory: TableMemory) -> TLSTable {
        TLSTable(
            text: memory.keep(text), names: memory.keep(names), doors: memory.keep(doors), doorCount: doors.count,
            services: memory.keep(services), serviceCount: services.count, blocks: memory.keep(blocks),
            contexts: memory.keep(contexts.map { $0.pointer }))
    }
}

extension ServerContext {
    convenience init(_ server: TLSServer) throws(TLSFailure) {
        let verification: ClientVerification =
            switch server.clientCertificates {
            case .none: .none
            case .optional: .optional
            case .required: .required
            }
        try self.init(
            pairs: server.certificates.map { ($0.certificateChain, $0.privateKey) }, verification: verification,
            clientRoots: server.clientRoots, clientNames: server.clientNames,
            needsTLS13: server.minimumVersion == .v13, forbidsTLS13: server.maximumVersion == .v12,
            protocols: server.backends.isEmpty ? server.protocols : [])
    }
}

extension OriginationContext {
    convenience init(_ tls: BackendTLS) throws(TLSFailure) {
        try self.init(
            serverName: tls.serverName, names: tls.names, roots: tls.roots, skipsVerification: tls.skipsVerification,
            pair: tls.certificate.map { ($0.certificateChain, $0.privateKey) },
            needsTLS13: tls.minimumVersion == .v13)
    }
}
