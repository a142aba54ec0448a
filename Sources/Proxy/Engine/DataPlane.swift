import CKernel
import Glibc
package import Kernel
import Loop
package import ProxyResources
import Synchronization
import TLS

/// Where to accept, without or beside the configuration.
package struct ListenerOption: Sendable, Hashable {
    package enum Side: String, Sendable { case outbound, inbound }
    package var side: Side
    package var address: String
    package var port: Int
    /// `address:port` all connections are for; nil takes what a redirect rule replaced.
    package var destination: String?

    package init(side: Side, address: String = "0.0.0.0", port: Int, destination: String? = nil) {
        self.side = side
        self.address = address
        self.port = port
        self.destination = destination
    }
}

/// The loops of one proxy, and how the rest of the program reaches them.
package final class DataPlane: Sendable {
    private struct Compiled {
        var numbers = EndpointNumbers()
        var contexts = TLSContexts()
        var generation: UInt64 = 0
        var identity: Identity? = nil
        var credentials: Credentials? = nil
        var telemetry: Telemetry? = nil
        var plan = TelemetryPlan()
        var tables = LivingTables()
    }

    let labels = LabelBook()
    let limits: LimitBook
    let desk: TelemetryDesk
    let board = HealthBoard()
    let mailboxes: [Mailbox<LoopMessage>]
    private let compiled = Mutex(Compiled())
    let commons: LoopCommons
    private let threads = Mutex<[pthread_t]>([])

    /// Opens all listeners, so that a port in use is told here, and starts the loops.
    ///
    /// - Parameter bufferBytes: the most memory for connections' buffers, of all loops together.
    package init(
        loops: Int, listeners: [ListenerOption], inherited: [String: CInt] = [:], seed: UInt64 = 0,
        bufferBytes: Int = .max
    ) throws(SystemCallFailed) {
        mailboxes = (0..<max(1, loops)).map { _ in Mailbox() }
        commons = LoopCommons(loops: mailboxes.count)
        limits = LimitBook(loops: loops)
        desk = TelemetryDesk(loops: mailboxes.count, labels: labels)
        let ownPorts = Set(listeners.compactMap { UInt16(exactly: $0.port) })
        var plans: [[Listening]] = []
        for loop in mailboxes.indices {
            var plan: [Listening] = []
            for option in listeners {
                let key = HandedSockets.key(option.side.rawValue, option.address, option.port)
                let handed = HandedSockets.share(of: key, in: inherited, loop: loop, of: mailboxes.count)
                for descriptor in handed { plan.append(try Self.listening(option, at: descriptor)) }
                if handed.isEmpty { plan.append(try Self.listening(option, at: nil)) }
            }
            plans.append(plan)
        }
        for (place, mailbox) in mailboxes.enumerated() {
            let plan = plans[place]
            let labels = labels
            let spread = seed == 0 ? Clock.monotonic : seed
            let poller = try Poller()
            var engine = Engine(
                poller: poller, mailbox: mailbox, labels: labels,
                seed: spread &+ UInt64(place) &* 0x9E37_79B9_7F4A_7C15, inherited: inherited,
                ownPorts: ownPorts, loopNumber: UInt8(truncatingIfNeeded: place), queue: desk.queues[place],
                loops: mailboxes, commons: commons, board: board, bufferBytes: bufferBytes / mailboxes.count)
            for listening in plan { engine.listen(listening) }
            start("loop-\(place)", Parked(engine))
        }
        desk.start()
    }

    /// - Parameter handed: a socket that listens there already.
    private static func listening(_ option: ListenerOption, at handed: CInt?) throws(SystemCallFailed) -> Listening {
        guard let address = IPv4(option.address), let port = UInt16(exactly: option.port) else {
            throw SystemCallFailed("bind", code: EINVAL, on: "\(option.address):\(option.port)")
        }
        var destination: (address: UInt32, port: UInt16)? = nil
        if let text = option.destination {
            guard let parsed = SocketAddress(text) else {
                throw SystemCallFailed("bind", code: EINVAL, on: "destination \(text)")
            }
            destination = (parsed.address.value, parsed.port)
        }
        let descriptor = handed ?? weft_listen_ipv4(address.value, port, 1, 1024)
        if descriptor < 0 {
            throw SystemCallFailed("listen", code: -descriptor, on: "\(option.address):\(option.port)")
        }
        return Listening(
            descriptor: descriptor, side: option.side == .inbound ? .inbound : .outbound, destination: destination,
            gateway: nil, address: option.address, port: port)
    }

    private func start(_ name: String, _ parked: consuming Parked) {
        let thread = Thread.start(name, parked) { parked in
            parked.engine.run()
        }
        threads.withLock { $0.append(thread) }
    }

    /// Compiles a configuration and gives it to every loop. Connections and requests in flight go on.
    ///
    /// - Throws: when the identity's certificate, key and roots do not fit each other, or there are more endpoints than the loops have
    ///   room for; the loops then keep what they have.
    /// - Returns: the configuration's generation, which `counts` show once a loop follows it.
    @discardableResult
    package func apply(_ configuration: ProxyConfiguration, identity: Identity?) throws(ConfigurationFault)
        -> UInt64
    {
        do throws(ResourceFault) { try ResourceRules.check(configuration.backends) } catch {
            throw ConfigurationFault("\(error)")
        }
        let keys = configuration.workload.loading.mode == .onDemand ? Array(configuration.destinations.keys) : []
        let places = commons.demand.places(of: keys, now: Clock.monotonic)
        let outcome = compiled.withLock { compiled -> Result<RoutingTable, ConfigurationFault> in
            if identity != compiled.identity {
                if let identity {
                    do throws(TLSFailure) {
                        compiled.credentials = try Credentials(
                            certificateChain: identity.certificateChain, privateKey: identity.privateKey,
                            trustRoots: identity.trustRoots)
                    } catch { return .failure(ConfigurationFault("\(error)")) }
                } else {
                    compiled.credentials = nil
                }
                compiled.identity = identity
            }
            if compiled.telemetry != configuration.workload.telemetry {
                compiled.telemetry = configuration.workload.telemetry
                compiled.plan = telemetryPlan(configuration.workload.telemetry, after: compiled.plan.number)
            }
            desk.configure(compiled.plan, workload: configuration.workload)
            compiled.generation += 1
            let numbers = compiled.numbers
            let table = TableBuilder.table(
                of: configuration, credentials: compiled.credentials, generation: compiled.generation,
                labels: labels, telemetry: compiled.plan, limits: limits, board: board, places: places,
                numbers: &compiled.numbers, contexts: &compiled.contexts)
            do throws(ConfigurationFault) { try compiled.tables.admit(table) } catch {
                compiled.numbers = numbers
                return .failure(error)
            }
            return .success(table)
        }
        let table = try outcome.get()
        for mailbox in mailboxes { mailbox.post(.configure(table)) }
        // Only now: a loop that hears of it finds it in a table it has, or is about to have.
        settle(present: keys)
        return table.generation
    }

    /// What has been asked for is in the loops' tables, or not there at all: who waits for it goes on.
    func settle(present: [String] = [], absent: [String] = []) {
        commons.demand.settle(present: present, absent: absent)
        for mailbox in mailboxes { mailbox.post(.destinationsAnswered) }
    }

    /// From now on responses close their connections.
    package func drain() { for mailbox in mailboxes { mailbox.post(.drain) } }

    /// Has each loop do something between two turns, and waits for all.
    func inEachLoop(_ body: @escaping @Sendable () -> Void) {
        for mailbox in mailboxes {
            let _: Bool? = ask(mailbox) { report in
                .listening { _ in
                    body()
                    report(true)
                }
            }
        }
    }

    /// What the loops accept at.
    func sockets() -> [(name: String, descriptor: CInt)] {
        var found: [String: CInt] = [:]
        for mailbox in mailboxes {
            for socket in ask(mailbox, { .listening($0) }) ?? [] { found[socket.name] = socket.descriptor }
        }
        return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// The listening sockets are left to another process.
    func stopAccepting() { for mailbox in mailboxes { mailbox.post(.stopAccepting) } }

    /// Ends all loops and waits for them.
    package func stop() {
        for mailbox in mailboxes { mailbox.post(.stop) }
        let waiting = threads.withLock { threads in
            let all = threads
            threads = []
            return all
        }
        for thread in waiting { pthread_join(thread, nil) }
        desk.end()
    }

    /// What settings mean. Those with formats that cannot be read are refused where resources are taken in; here they mean none.
    private func telemetryPlan(_ telemetry: Telemetry, after number: UInt32) -> TelemetryPlan {
        do throws(ResourceFault) { return try TelemetryPlan(telemetry, number: number + 1) } catch {
            log("\(error)", level: "error")
            var plan = TelemetryPlan()
            plan.number = number + 1
            return plan
        }
    }
}

extension DataPlane {
    /// Asks every loop in turn, in bounded slices, so that traffic goes on between them.
    func collect() -> [(series: [Series], counts: LoopCounts)] {
        mailboxes.compactMap { mailbox in
            var series: [Series] = []
            var place = 0
            while true {
                let from = place
                guard let slice = ask(mailbox, { .collect(from: from, most: 64, $0) }) else { return nil }
                series += slice.series
                guard let next = slice.next else { return (series, slice.counts) }
                place = next
            }
        }
    }

    /// What every loop knows of the backends' endpoints.
    func survey() -> [[BackendSurvey]] {
        mailboxes.compactMap { mailbox in ask(mailbox) { .survey($0) } }
    }

    /// What every loop holds of backends in use, in bounded slices.
    func pools() -> [[PoolCount]] {
        mailboxes.map { mailbox in
            var counts: [PoolCount] = []
            var place: Int? = 0
            while let from = place, let slice = ask(mailbox, { .pools(from: from, $0) }) {
                counts += slice.counts
                place = slice.next
            }
            return counts
        }
    }

    /// The counts alone.
    func counts() -> [LoopCounts] {
        mailboxes.compactMap { mailbox in ask(mailbox) { .collect(from: .max, most: 0, $0) }?.counts }
    }

    /// Whether every loop says so. Each is asked twice: a connection one loop hands to another is nobody's in between.
    func isQuiet(_ isQuiet: (LoopCounts) -> Bool) -> Bool {
        for _ in 0..<2 {
            let all = counts()
            if all.count < mailboxes.count || !all.allSatisfy(isQuiet) { return false }
        }
        return true
    }

    /// The newest records a reader wants, of all loops, the newest first.
    func records(most: Int, where isWanted: (RequestRecord) -> Bool) -> [RequestRecord] {
        var found: [RequestRecord] = []
        for mailbox in mailboxes {
            var skipped = 0
            var count = 0
            while count < most {
                let from = skipped
                guard let slice = ask(mailbox, { .records(skipping: from, most: 32, $0) }), !slice.isEmpty else {
                    break
                }
                skipped += slice.count
                for record in slice where count < most && isWanted(record) {
                    found.append(record)
                    count += 1
                }
            }
        }
        return Array(found.sorted { $0.started > $1.started }.prefix(most))
    }

    /// One loop's answer; nil when it does not come within a second.
    private func ask<Answer: Sendable>(
        _ mailbox: Mailbox<LoopMessage>, _ message: (@escaping @Sendable (Answer) -> Void) -> LoopMessage
    ) -> Answer? {
        let tray = Tray<Answer>()
        mailbox.post(message { tray.put($0) })
        return tray.wait()
    }
}

/// An engine on its way to its thread, which alone touches it from then on; that makes it safe to send.
private struct Parked: ~Copyable, @unchecked Sendable {
    var engine: Engine
    init(_ engine: consuming Engine) { self.engine = engine }
}

/// Holds one loop's answer for one reader.
private final class Tray<Answer: Sendable>: Sendable {
    private let answer = Mutex<Answer?>(nil)
    private let bell = weft_eventfd()

    deinit { close(bell) }

    func put(_ value: Answer) {
        answer.withLock { $0 = value }
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    func wait() -> Answer? {
        var waiting = pollfd(fd: bell, events: Int16(POLLIN), revents: 0)
        poll(&waiting, 1, 1000)
        return answer.withLock { $0 }
    }
}

/// `10.0.0.1:8080`
package struct SocketAddress: Sendable, Hashable {
    var address: IPv4
    package var port: UInt16

    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let address = IPv4(String(text[..<colon])),
            let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        self.address = address
        self.port = port
    }
}
