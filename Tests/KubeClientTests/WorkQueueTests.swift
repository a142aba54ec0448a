import KubeClient
import KubeTypes
import TestSupport
import Testing

private struct Tally {
    var wanted: [Int: Int] = [:]
    var seen: [Int: Int] = [:]
    var busy: Set<Int> = []
    var overlaps = 0
}

@Test("a key is never worked on twice at once, and its last addition is never lost")
func serialPerKey() async {
    let queue = WorkQueue<Int>()
    let tally = Shared(Tally())
    await withTaskGroup(of: Void.self) { group in
        group.addTask {
            await queue.run(workers: 8) { key in
                let version = tally.withLock { tally in
                    if !tally.busy.insert(key).inserted { tally.overlaps += 1 }
                    return tally.wanted[key, default: 0]
                }
                await Task.yield()
                tally.withLock { tally in
                    tally.busy.remove(key)
                    tally.seen[key] = max(tally.seen[key, default: 0], version)
                }
            }
        }
        await withTaskGroup(of: Void.self) { adders in
            for _ in 0..<8 {
                adders.addTask {
                    for round in 0..<2000 {
                        let key = round % 17
                        tally.withLock { $0.wanted[key, default: 0] += 1 }
                        queue.add(key)
                    }
                }
            }
        }
        #expect(await eventually { queue.isIdle })
        group.cancelAll()
    }
    tally.withLock { tally in
        #expect(tally.overlaps == 0)
        #expect(tally.seen == tally.wanted)
    }
}

@Test("a waiting key waits once")
func deduplicates() {
    let queue = WorkQueue<String>()
    for _ in 0..<5 { queue.add("same") }
    queue.add("other")
    #expect(queue.count == 2)
}

@Test("a failing key comes back until it succeeds, then starts afresh")
func retries() async {
    let attempts = Shared(0)
    let unlucky = Unlucky { key throws(APIFailure) in
        let attempt = attempts.withLock { count in
            count += 1
            return count
        }
        if attempt < 4 { throw .internalError("not yet") }
        return attempt < 6 ? .after(.milliseconds(1)) : .onChange
    }
    let queue = WorkQueue<ObjectKey>(firstDelay: .milliseconds(1))
    let loop = ReconcilerLoop("unlucky", unlucky, queue: queue)
    let key = ObjectKey(name: "one")
    await withTaskGroup(of: Void.self) { group in
        group.addTask { await loop.run() }
        queue.add(key)
        #expect(await eventually { attempts.withLock { $0 } == 6 && queue.isIdle })
        group.cancelAll()
    }
    #expect(queue.failures(of: key) == 0)
    #expect(attempts.withLock { $0 } == 6)
}

private struct Unlucky: Reconciler {
    let work: @Sendable (ObjectKey) async throws(APIFailure) -> NextLook
    func reconcile(_ key: ObjectKey) async throws(APIFailure) -> NextLook { try await work(key) }
}

@Test("delays double up to the limit")
func delays() {
    let delays = (0..<6).map { Backoff.delay(attempt: $0, first: .milliseconds(5), most: .milliseconds(60)) }
    #expect(delays == [5, 10, 20, 40, 60, 60].map { .milliseconds($0) })
    var backoff = Backoff(first: .seconds(1), most: .seconds(8))
    for most in [1, 2, 4, 8, 8] {
        let delay = backoff.next()
        #expect(delay <= .seconds(most) && delay >= .seconds(most) / 2)
    }
}
