import CKernel
import Glibc
import Kernel
import Loop
import ProxyResources
import Wire

/// Keeps the proxy configured by the control plane, from a thread of its own.
///
/// While the control plane is away the loops go on with what they have; the client comes back with growing pauses.
struct DiscoveryClient: ~Copyable, Sendable {
    private let socket: String
    private let state: ProgramState
    private let desk: DemandDesk
    private var subscription = Subscription()
    private var chance = Chance(seed: Clock.monotonic)
    private var complained = false
    private var sweepsAt: UInt64 = 0
    /// Half seconds in which a control plane that has not told all yet may say nothing.
    private static let mostSilences = 10
    /// Since when there is something to write to the disk; who waits for a destination comes first.
    private var unsavedSince: UInt64 = 0

    static func start(socket: String, state: ProgramState) {
        _ = Thread.start("discovery") {
            var client = DiscoveryClient(socket: socket, state: state)
            client.run()
        }
    }

    private init(socket: String, state: ProgramState) {
        self.socket = socket
        self.state = state
        desk = state.plane.commons.demand
        if let kept = state.read({ held in held.configuration.map { ($0, held.identity, held.versions) } }) {
            subscription = Subscription(kept.0, identity: kept.1, versions: kept.2)
            subscription.hadAll = true
        }
    }

    private mutating func run() {
        var pause: UInt32 = 50  // milliseconds
        while !state.read({ $0.isDraining }) {
            let descriptor = weft_connect_unix(socket)
            if descriptor >= 0 {
                let connection = OwnedDescriptor(taking: descriptor)
                let started = Clock.monotonic
                let why = stream(connection)
                state.save()
                state.note(connected: false)
                log("configuration stream: \(why)", level: "warning")
                complained = false
                if Clock.monotonic - started > 1_000_000_000 { pause = 50 }
            } else if !complained {
                log("configuration: connect \(socket): \(String(cString: strerror(-descriptor)))", level: "warning")
                complained = true
            }
            usleep((pause + chance.below(pause)) * 1000)
            // The socket is on this machine: asking often is cheap, and pods that are to stop wait until we know.
            pause = min(pause * 2, 500)
        }
    }

    /// One stream until it ends; tells why it did.
    private mutating func stream(_ connection: borrowing OwnedDescriptor) -> String {
        var http = DiscoveryStream()
        for request in subscription.opening(desk.opening()) { http.send(request.bytes) }
        var space = [UInt8](repeating: 0, count: 65536)
        var silences = 0
        while true {
            if let fault = http.flush(to: connection) { return fault }
            let woken = wait(connection)
            if woken.hasNews { desk.silence() }
            saveInTime(isQuiet: !woken.hasNews && !woken.hasBytes)
            silences = woken.isLate ? silences + 1 : 0
            if silences >= Self.mostSilences && !subscription.hadAll && subscription.hasAskedAll {
                // A kind without any resource may never be spoken of.
                subscription.isComplete = true
                apply()
            }
            for request in demands() { http.send(request.bytes) }
            if !woken.hasBytes { continue }
            let descriptor = connection.number
            let count = space.withUnsafeMutableBytes { weft_tcp_receive(descriptor, $0.baseAddress, $0.count) }
            if count == -Int(EINTR) { continue }
            if count < 0 { return "read: \(String(cString: strerror(Int32(-count))))" }
            if count == 0 { return "the control plane closed the connection" }
            do {
                let messages = try http.receive(space[..<count])
                if messages.isEmpty { continue }
                state.note(connected: true)
                if let fault = take(messages, &http) { return fault }
            } catch { return "\(error)" }
        }
    }

    /// Takes what the control plane has sent, and answers it; tells what cannot be read.
    private mutating func take(_ messages: [[UInt8]], _ http: inout DiscoveryStream) -> String? {
        var absent: [String] = []
        for message in messages {
            guard let response = try? DiscoveryResponse(message) else {
                return "the control plane sent a message that cannot be read"
            }
            switch subscription.take(response) {
            case .ignored: break
            case .accepted(let request):
                http.send(request.bytes)
                if request.kind == .destination { absent += response.removed }
            case .refused(let request, let why):
                state.note(fault: why)
                log("refused a configuration: \(why)", level: "error")
                http.send(request.bytes)
            }
        }
        for request in subscription.others(desk.opening()) { http.send(request.bytes) }
        apply()
        if !absent.isEmpty { state.plane.settle(absent: absent) }
        return nil
    }

    /// Waits for bytes, for news of destinations wanted, or for the time to look for those nobody uses.
    private func wait(_ connection: borrowing OwnedDescriptor) -> (hasBytes: Bool, hasNews: Bool, isLate: Bool) {
        var waiting = [connection.number, desk.bell].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let count = poll(&waiting, 2, unsavedSince > 0 ? 50 : (subscription.hadAll ? 1000 : 500))
        return (waiting[0].revents != 0, waiting[1].revents != 0, count == 0)
    }

    /// Keeps the configuration when nothing else is to be done, or at last.
    private mutating func saveInTime(isQuiet: Bool) {
        if !state.read({ $0.isUnsaved }) {
            unsavedSince = 0
            return
        }
        let now = Clock.monotonic
        if unsavedSince == 0 { unsavedSince = now }
        if !isQuiet && now - unsavedSince < 1_000_000_000 { return }
        state.save()
        unsavedSince = 0
    }

    /// What is to be asked for now, and what is not any more: wanted by connections, or not used for long enough.
    private mutating func demands() -> [DiscoveryRequest] {
        guard let workload = subscription.workload else { return [] }
        var dropped: [String] = []
        let now = Clock.monotonic
        if workload.loading.mode == .all {
            desk.clear()
        } else if now >= sweepsAt, !desk.isLost {
            let idle = UInt64(workload.loading.idleSeconds) * 1_000_000_000
            dropped = desk.sweep(now: now, idle: idle)
            sweepsAt = now + max(500_000_000, min(idle / 4, 15_000_000_000))
        }
        let changes = desk.changes()
        dropped += changes.evicted
        if workload.loading.mode == .all { dropped += changes.unsubscribe }
        if !dropped.isEmpty {
            subscription.drop(dropped)
            apply()
        }
        return [subscription.change(subscribe: changes.subscribe, unsubscribe: changes.unsubscribe)].compactMap { $0 }
    }

    private mutating func apply() {
        guard let configuration = subscription.configuration else { return }
        do {
            let same = state.read {
                $0.configuration == configuration && $0.identity == subscription.identity && !$0.isRestored
            }
            if !same {
                try state.apply(configuration, identity: subscription.identity, versions: subscription.versions)
            }
            subscription.hadAll = true
        } catch {
            state.note(fault: "\(error)")
            log("the configuration cannot be used: \(error)", level: "error")
        }
    }
}
