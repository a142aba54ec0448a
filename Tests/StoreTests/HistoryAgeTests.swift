import Store
import TestSupport
import Testing

/// By a clock that the test moves.
@Suite("History is given up by its age", .serialized)
struct HistoryAgeTests {
    private static let interval = Duration.seconds(300)
    private let prefix = "/registry/pods/a/"

    private func bytes(_ number: Int) -> [UInt8] { Array("\(number)".utf8) }

    private func expects(_ store: any Store, expired revision: Int64, oldest: Int64) async {
        let failure = StoreFailure.expired(asked: revision, oldest: oldest)
        #expect(throws: failure) { try store.snapshot(at: revision) }
        await #expect(throws: failure) {
            var position = revision
            _ = try await store.watch("/registry/").next(after: &position)
        }
    }

    @Test("embedded: what was there at one turn goes at the next, from the disk too; watches that wait miss nothing")
    func embedded() async throws {
        let directory = try TemporaryDirectory()
        let clock = HandClock()
        let store = try EmbeddedStore(
            directory: directory.path, historyAge: HistoryAge(interval: Self.interval, clock: clock))
        defer { store.close() }
        let first = try await store.create("\(prefix)x", bytes(0))
        // More than are given up in one step.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<32 {
                group.addTask {
                    for number in 0..<40 {
                        _ = try await store.create("\(prefix)\(writer)-\(number)", [])
                        _ = try await store.update("\(prefix)\(writer)-\(number)", bytes(number), .present)
                    }
                }
            }
            try await group.waitForAll()
        }
        let old = store.revision
        let quiet = store.watch("/registry/quiet/")
        let waiting = Task { () -> Int64? in
            var position = first.revision
            guard case .events(let events) = try await quiet.next(after: &position) else { return nil }
            return events.first?.revision
        }
        #expect(await eventually { quiet.quietThrough == old })

        try #require(await clock.turn(by: Self.interval))
        #expect(store.horizon == 0 && store.compacted == 0, "nothing is as old as an interval")
        #expect(try store.snapshot(at: first.revision).index["\(prefix)x"]?.revision == first.revision)
        let young = try await store.update(first.key, bytes(1), .present)

        try #require(await clock.turn(by: Self.interval))
        #expect(store.horizon == old && store.compacted == old)
        await expects(store, expired: old - 1, oldest: old)
        #expect(text(try store.snapshot(at: old).index[first.key]) == "0")
        var position = old
        #expect(try store.watch("/registry/").poll(after: &position).map(\.revision) == [young.revision])
        // The values that 1,280 updates replaced are gone, without another write; the one that `young` did is still shown with it.
        let path = "\(directory.path)/store.db"
        #expect(await eventually { (try? StoreFile.verify(path))?.records == 1282 })

        try #require(await clock.turn(by: Self.interval))
        #expect(store.horizon == young.revision)
        // Far behind the horizon by its own position, yet it has seen all there was for it.
        #expect(quiet.quietThrough == young.revision)
        let made = try await store.create("/registry/quiet/x", [])
        #expect(try await waiting.value == made.revision)
    }

    @Test("embedded: what a store had when it was opened is an interval old at the first turn")
    func reopened() async throws {
        let directory = try TemporaryDirectory()
        do {
            let store = try EmbeddedStore(directory: directory.path)
            for number in 0..<20 { _ = try await store.create("\(prefix)\(number)", []) }
            store.close()
        }
        let clock = HandClock()
        let store = try EmbeddedStore(
            directory: directory.path, historyAge: HistoryAge(interval: Self.interval, clock: clock))
        defer { store.close() }
        #expect(store.revision == 20 && store.horizon == 0)
        _ = try await store.create("\(prefix)new", [])
        try #require(await clock.turn(by: Self.interval))
        #expect(store.horizon == 20)
    }

    @Test("etcd: one of those who share it does it for all; when that one is gone, another does")
    func etcd() async throws {
        let cluster = try await EtcdCluster()
        func open(_ clock: HandClock) async throws -> EtcdStore {
            var configuration = try cluster.configuration()
            configuration.historyAge = HistoryAge(interval: Self.interval, clock: clock)
            return try await EtcdStore.open(configuration)
        }
        let clocks = [HandClock(), HandClock()]
        let one = try await open(clocks[0])
        let two = try await open(clocks[1])
        defer { two.close() }
        let first = try await one.create("\(prefix)x", bytes(0))
        for number in 1..<10 { _ = try await one.update(first.key, bytes(number), .present) }
        try #require(await clocks[0].turn(by: Self.interval))
        try #require(await clocks[1].turn(by: Self.interval))
        #expect(try cluster.etcdctl(["get", "--print-value-only", "compact_rev_key"]) == "0\n")
        #expect(one.compacted == 0 && two.compacted == 0)
        _ = try cluster.etcdctl(["get", first.key, "--rev", "\(first.revision)"])
        // What one wrote, the other may not have heard of yet.
        try await two.catchUp()
        for store in [one, two] { _ = try store.snapshot(at: first.revision) }
        let young = try await two.update(first.key, bytes(10), .present)

        try #require(await clocks[0].turn(by: Self.interval))
        let said = try cluster.etcdctl(["get", "--print-value-only", "compact_rev_key"])
        let compacted = try #require(Int64(said.dropLast()))
        #expect(compacted >= young.revision - 2 && compacted < young.revision)
        #expect(throws: EtcdCluster.Failed.self, "etcd itself has given it up") {
            try cluster.etcdctl(["get", first.key, "--rev", "\(first.revision)"])
        }
        #expect(one.compacted == compacted)
        await expects(one, expired: first.revision, oldest: compacted)
        // The other learns of it at its own turn, and does nothing again.
        #expect(two.compacted == 0)
        try #require(await clocks[1].turn(by: Self.interval))
        #expect(two.compacted == compacted)
        #expect(try cluster.etcdctl(["get", "--print-value-only", "compact_rev_key"]) == said)
        var position = compacted
        #expect(try two.watch("/registry/").poll(after: &position).last?.revision == young.revision)

        one.close()
        try #require(await clocks[1].turn(by: Self.interval))
        #expect(two.compacted >= young.revision)
        await expects(two, expired: young.revision - 1, oldest: two.compacted)
        #expect(text(two.get(first.key)) == "10")
    }

    @Test("etcd: a compaction by another program's key that says nothing we can read gives up nothing")
    func foreignKey() async throws {
        let cluster = try await EtcdCluster()
        let clock = HandClock()
        var configuration = try cluster.configuration()
        configuration.historyAge = HistoryAge(interval: Self.interval, clock: clock)
        let store = try await EtcdStore.open(configuration)
        defer { store.close() }
        let record = try await store.create("\(prefix)x", bytes(0))
        for said in ["nonsense", "9223372036854775807"] {
            _ = try cluster.etcdctl(["put", "compact_rev_key", said])
            try #require(await clock.turn(by: Self.interval))
            #expect(store.compacted == (said == "nonsense" ? 0 : store.revision))
            #expect(text(store.get(record.key)) == "0")
        }
        let next = try await store.update(record.key, bytes(1), .revision(record.revision))
        var position = record.revision
        #expect(try store.watch("/registry/").poll(after: &position).map(\.revision) == [next.revision])
    }
}
