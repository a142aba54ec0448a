import CKernel
import Glibc
package import Kernel
import Loop
package import ProxyResources
import Synchronization
package import TLS

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
        var generation: UInt64 = 0
        var identity: Identity? = nil
        var credentials: Credentials? = nil
        var telemetry: Telemetry? = nil
        var telemetryNumber: UInt32 = 0
    }

    let labels = LabelBook()
    let limits: LimitBook
    private let mailboxes: [Mailbox<LoopMessage>]
    private let compiled = Mutex(Compiled())
    private let threads = Mutex<[pthread_t]>([])

    /// Opens all listeners, so that a port in use is told here, and starts the loops.
    package init(
        loops: Int, listeners: [ListenerOption], inherited: [String: CInt] = [:], seed: UInt64 = 0
    ) throws(SystemCallFailed) {
        mailboxes = (0..<max(1, loops)).map { _ in Mailbox() }
        limits = LimitBook(loops: loops)
        let ownPorts = Set(listeners.compactMap { UInt16(exactly: $0.port) })
        var plans: [[Listening]] = []
        for _ in mailboxes {
            var plan: [Listening] = []
            for option in listeners { plan.append(try Self.open(option)) }
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
                ownPorts: ownPorts, loopNumber: UInt8(truncatingIfNeeded: place), loops: mailboxes)
            for listening in plan { engine.listen(listening) }
            start("loop-\(place)", Parked(engine))
        }
    }

    private static func open(_ option: ListenerOption) throws(SystemCallFailed) -> Listening {
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
        let descriptor = weft_listen_ipv4(address.value, port, 1, 1024)
        if descriptor < 0 {
            throw SystemCallFailed("listen", code: -descriptor, on: "\(option.address):\(option.port)")
        }
        return Listening(
            descriptor: descriptor, side: option.side == .inbound ? .inbound : .outbound, destination: destination,
            gateway: nil, port: port)
    }

    private func start(_ name: String, _ parked: consuming Parked) {
        let thread = Thread.start(name, parked) { parked in
            parked.engine.run()
        }
        threads.withLock { $0.append(thread) }
    }

    /// Compiles a configuration and gives it to every loop. Connections and requests in flight go on.
    ///
    /// - Throws: when the identity's certificate, key and roots do not fit each other; the loops then keep what they have.
    /// - Returns: the configuration's generation, which `counts` show once a loop follows it.
    @discardableResult
    package func apply(_ configuration: ProxyConfiguration, identity: Identity?) throws(TLSFailure) -> UInt64 {
        let outcome = compiled.withLock { compiled -> Result<RoutingTable, TLSFailure> in
            if identity != compiled.identity {
                if let identity {
                    do throws(TLSFailure) {
                        compiled.credentials = try Credentials(
                            certificateChain: identity.certificateChain, privateKey: identity.privateKey,
                            trustRoots: identity.trustRoots)
                    } catch { return .failure(error) }
                } else {
                    compiled.credentials = nil
                }
                compiled.identity = identity
            }
            if compiled.telemetry != configuration.workload.telemetry {
                compiled.telemetry = configuration.workload.telemetry
                compiled.telemetryNumber += 1
            }
            compiled.generation += 1
            return .success(
                TableBuilder.table(
                    of: configuration, credentials: compiled.credentials, generation: compiled.generation,
                    labels: labels, telemetry: compiled.telemetryNumber, limits: limits,
                    numbers: &compiled.numbers))
        }
        let table = try outcome.get()
        for mailbox in mailboxes { mailbox.post(.configure(table)) }
        return table.generation
    }

    /// From now on responses close their connections.
    package func drain() { for mailbox in mailboxes { mailbox.post(.drain) } }

    /// Ends all loops and waits for them.
    package func stop() {
        for mailbox in mailboxes { mailbox.post(.stop) }
        let waiting = threads.withLock { threads in
            let all = threads
            threads = []
            return all
        }
        for thread in waiting { pthread_join(thread, nil) }
    }

    /// What every loop has counted; a loop that does not answer within a second is left out.
    func collect() -> [(series: [Series], counts: LoopCounts)] {
        let tray = Tray(expected: mailboxes.count)
        for mailbox in mailboxes { mailbox.post(.collect { series, counts in tray.put(series, counts) }) }
        return tray.wait()
    }
}

/// An engine on its way to its thread, which alone touches it from then on; that makes it safe to send.
private struct Parked: ~Copyable, @unchecked Sendable {
    var engine: Engine
    init(_ engine: consuming Engine) { self.engine = engine }
}

/// Collects the loops' answers for one reader.
private final class Tray: Sendable {
    private let answers = Mutex<[(series: [Series], counts: LoopCounts)]>([])
    private let bell = weft_eventfd()
    private let expected: Int

    init(expected: Int) { self.expected = expected }

    deinit { close(bell) }

    func put(_ series: [Series], _ counts: LoopCounts) {
        answers.withLock { $0.append((series, counts)) }
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    func wait() -> [(series: [Series], counts: LoopCounts)] {
        let limit = Clock.monotonic + 1_000_000_000
        while true {
            let have = answers.withLock { $0 }
            let now = Clock.monotonic
            if have.count == expected || now >= limit { return have }
            var waiting = pollfd(fd: bell, events: Int16(POLLIN), revents: 0)
            poll(&waiting, 1, Int32((limit - now) / 1_000_000) + 1)
            var count: UInt64 = 0
            _ = read(bell, &count, 8)
        }
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
