import CKernel
import Glibc
import Synchronization

/// A test server's listening socket on a free port of 127.0.0.1, and the threads that serve who comes in.
///
/// The socket is closed by the thread that waits at it, once: all tests share one process, and a number closed twice, or too early, is
/// another test's by then.
final class Door: Sendable {
    let port: UInt16
    private let descriptor: CInt
    private let isStopped = Mutex(false)

    /// More than any test opens at once: where more wait to be accepted the kernel drops SYNs, and a proxy's connects time out.
    private static let backlog: CInt = 4096

    init() {
        descriptor = weft_listen_ipv4(0x7F00_0001, 0, 0, Self.backlog)
        precondition(descriptor >= 0)
        var address: UInt32 = 0
        var port: UInt16 = 0
        _ = weft_local_address(descriptor, &address, &port)
        self.port = port
        blocking(descriptor)
    }

    /// Gives each client a thread of its own, and closes its connection when it is served.
    func open(_ serve: @escaping @Sendable (CInt) -> Void) {
        spawn { [self] in
            defer { close(descriptor) }
            while true {
                var address: UInt32 = 0
                var port: UInt16 = 0
                // Not for the programs other tests start: a connection would stay open in them.
                let client = weft_tcp_accept(descriptor, &address, &port)
                if client == -EMFILE || client == -ECONNABORTED {
                    usleep(1000)
                    continue
                }
                if client < 0 { return }
                blocking(client)
                if isStopped.withLock({ $0 }) {
                    // One that came in between: it must not wait for an answer nobody gives.
                    close(client)
                    return
                }
                spawn {
                    serve(client)
                    close(client)
                }
            }
        }
    }

    func stop() {
        isStopped.withLock { isStopped in
            if !isStopped { shutdown(descriptor, Int32(SHUT_RDWR)) }
            isStopped = true
        }
    }
}
