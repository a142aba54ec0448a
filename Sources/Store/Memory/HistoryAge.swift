/// How old history gets before it is given up: as in Kubernetes, what was there at one turn of the clock goes at the next, so that
/// everything stays for one interval at least and for two at most.
package struct HistoryAge: Sendable {
    package var interval: Duration
    /// One that no hand sets back.
    package var clock: any Clock<Duration>

    /// The default is that of kube-apiserver's `--etcd-compaction-interval`.
    package init(interval: Duration = .seconds(300), clock: any Clock<Duration> = ContinuousClock()) {
        self.interval = interval
        self.clock = clock
    }

    /// Calls `turn` once in an interval, until the task is cancelled.
    func run(_ turn: () async -> Void) async {
        while (try? await clock.sleep(for: interval)) != nil { await turn() }
    }
}
