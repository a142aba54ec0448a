import Glibc

/// SIGTERM and SIGINT, waited for by a thread of their own.
package struct StopSignal: Sendable {
    private let arrived: AsyncStream<Void>

    package init() {
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

    package func wait() async {
        for await _ in arrived { return }
    }
}
