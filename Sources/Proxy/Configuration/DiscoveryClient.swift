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
    private var subscription = Subscription()
    private var chance = Chance(seed: Clock.monotonic)
    private var complained = false

    static func start(socket: String, state: ProgramState) {
        _ = Thread.start("discovery") {
            var client = DiscoveryClient(socket: socket, state: state)
            client.run()
        }
    }

    private init(socket: String, state: ProgramState) {
        self.socket = socket
        self.state = state
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
        for request in subscription.opening() { http.send(request.bytes) }
        var space = [UInt8](repeating: 0, count: 65536)
        while true {
            if let fault = write(http.takeOutput(), connection) { return fault }
            if !subscription.hadAll && !waitForMore(connection) {
                // A kind without any resource may never be spoken of.
                subscription.isComplete = true
                apply()
            }
            let descriptor = connection.number
            let count = space.withUnsafeMutableBytes { weft_tcp_receive(descriptor, $0.baseAddress, $0.count) }
            if count == -Int(EINTR) { continue }
            if count < 0 { return "read: \(String(cString: strerror(Int32(-count))))" }
            if count == 0 { return "the control plane closed the connection" }
            do {
                let messages = try http.receive(space[..<count])
                if messages.isEmpty { continue }
                state.note(connected: true)
                for message in messages {
                    guard let response = try? DiscoveryResponse(message) else {
                        return "the control plane sent a message that cannot be read"
                    }
                    switch subscription.take(response) {
                    case .ignored: break
                    case .accepted(let request): http.send(request.bytes)
                    case .refused(let request, let why):
                        state.note(fault: why)
                        log("refused a configuration: \(why)", level: "error")
                        http.send(request.bytes)
                    }
                }
                apply()
            } catch { return "\(error)" }
        }
    }

    /// False when nothing came for half a second.
    private func waitForMore(_ connection: borrowing OwnedDescriptor) -> Bool {
        var waiting = pollfd(fd: connection.number, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, 500) != 0
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

    private func write(_ bytes: [UInt8], _ connection: borrowing OwnedDescriptor) -> String? {
        var done = 0
        let descriptor = connection.number
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { space in
                weft_tcp_send(descriptor, space.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count < 0 { return "write: \(String(cString: strerror(Int32(-count))))" }
            done += count
        }
        return nil
    }
}
