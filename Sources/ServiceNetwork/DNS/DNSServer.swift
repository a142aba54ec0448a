import CKernel
import Glibc
package import Kernel
import Synchronization
import Wire

/// A node's DNS server: UDP and TCP, on one thread that lives in the node's namespace.
///
/// The zone is guarded by a lock both the thread and the agent that changes it hold for microseconds.
package final class DNSServer: Sendable {
    private let zone: SharedZone
    private let wake: OwnedDescriptor
    private let thread: Mutex<NamespaceThread?>

    /// Starts serving. Nothing but the zone's names is answered: nothing is asked of anybody else.
    /// - Parameter addresses: where to listen, all of the namespace.
    package static func start(
        _ zone: DNSZone, at addresses: [IPv4Address], port: UInt16 = 53, inNamespace path: String
    ) throws(SystemCallFailed) -> DNSServer {
        let wake = weft_net_wake()
        if wake < 0 { throw SystemCallFailed("eventfd", code: -wake, on: "DNS server") }
        let shared = SharedZone(zone)
        let server = DNSServer(shared, OwnedDescriptor(taking: wake))
        let loop = try DNSLoop(addresses, port, wake: wake, inNamespace: path) { question, turn in
            shared.guarded.withLock { $0.answer(question, turn: turn) }
        }
        let started = try NetworkNamespace.startThread(in: path) { loop.run() }
        server.thread.withLock { $0 = started }
        return server
    }

    private init(_ zone: SharedZone, _ wake: consuming OwnedDescriptor) {
        self.zone = zone
        self.wake = wake
        thread = Mutex(nil)
    }

    /// Changes the zone; the next answer knows.
    package func change(_ body: (inout DNSZone) -> Void) { zone.guarded.withLock { body(&$0) } }

    /// Ends the thread and closes its sockets. Again is fine.
    package func stop() {
        let running = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        guard let running else { return }
        weft_net_poke(wake.number)
        running.join()
    }

    deinit { stop() }
}

/// The zone, held by the server and by its thread.
private final class SharedZone: Sendable {
    let guarded: Mutex<DNSZone>
    init(_ zone: DNSZone) { guarded = Mutex(zone) }
}
