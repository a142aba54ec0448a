import Glibc
import Kernel

/// SIGTERM and SIGINT, waited for by a thread of their own.
struct StopSignal {
    private let arrived: AsyncStream<Void>

    init() {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        // Blocked before any other thread starts, so that none of them takes the signal.
        pthread_sigmask(SIG_BLOCK, &set, nil)
        let (stream, continuation) = AsyncStream<Void>.makeStream()
        arrived = stream
        startThread { [set] in
            var set = set
            var number: CInt = 0
            sigwait(&set, &number)
            continuation.yield()
            continuation.finish()
        }
    }

    func wait() async {
        for await _ in arrived { return }
    }
}
