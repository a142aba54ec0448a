import Glibc
import Store
import Synchronization
import TestSupport
import Testing
import Transport

@Suite("A store in etcd", .serialized)
struct EtcdStoreTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("over TLS with certificates of both sides; etcdctl shows our keys")
    func secure() async throws {
        let cluster = try await EtcdCluster(secure: true)
        let store = try await EtcdStore.open(try cluster.configuration())
        _ = try await store.create("/registry/pods/default/web", bytes("hello"))
        #expect(try cluster.etcdctl(["get", "--prefix", "/registry"]) == "/registry/pods/default/web\nhello\n")
        // What etcdctl writes, we see.
        _ = try cluster.etcdctl(["put", "/registry/pods/default/other", "there"])
        #expect(await eventually { text(store.get("/registry/pods/default/other")) == "there" })
        store.close()

        var unknown = try EtcdConfiguration.parse(cluster.store, authority: try cluster.file("ca.pem"))
        unknown.patience = .milliseconds(500)
        let stranger = unknown
        await #expect(throws: StoreFailure.self) { try await EtcdStore.open(stranger) }
        var foreign = try EtcdConfiguration.parse(
            cluster.store, authority: try cluster.file("client.pem"), certificate: try cluster.file("client.pem"),
            key: try cluster.file("client-key.pem"))
        foreign.patience = .seconds(5)
        let untrusting = foreign
        let failure = await #expect(throws: StoreFailure.self) { try await EtcdStore.open(untrusting) }
        #expect(words(failure).contains("certificate"), "\(words(failure))")
    }

    @Test(
        "several servers share one: each sees what the others were answered, also where other programs write beside them"
    )
    func shared() async throws {
        let cluster = try await EtcdCluster()
        let one = try await EtcdStore.open(try cluster.configuration())
        let two = try await EtcdStore.open(try cluster.configuration())
        for number in 0..<200 {
            let (writer, reader) = number % 2 == 0 ? (one, two) : (two, one)
            let record = try await writer.create("/registry/pods/a/\(number)", bytes("\(number)"))
            if number % 50 == 7 { _ = try cluster.etcdctl(["put", "/other/key", "\(number)"]) }
            try await reader.catchUp()
            #expect(reader.get(record.key)?.revision == record.revision)
            // A writer with an old picture loses, and knows then what is there.
            if number % 10 == 3 {
                _ = try await writer.update(record.key, bytes("new"), .revision(record.revision))
                await #expect(throws: StoreFailure.self) {
                    try await reader.update(record.key, bytes("old"), .revision(record.revision))
                }
                #expect(text(reader.get(record.key)) == "new")
            }
        }
        one.close()
        two.close()
    }

    @Test("history that others compacted away while we could not watch: watches expire, reads are right")
    func compactedMeanwhile() async throws {
        let cluster = try await EtcdCluster()
        let store = try await EtcdStore.open(try cluster.configuration())
        let first = try await store.create("/registry/pods/a/x", bytes("1"))
        let watch = store.watch("/registry/")
        let waiting = Task {
            var position = first.revision
            _ = try await watch.next(after: &position)
        }
        cluster.stop(0, SIGTERM)
        try cluster.start(0)
        // Before our store is back, somebody writes and compacts.
        var revision = 0
        _ = await eventually { (try? cluster.etcdctl(["put", "/registry/pods/a/x", "2"])) != nil }
        for number in 3..<8 {
            _ = try cluster.etcdctl(["put", "/registry/pods/a/x", "\(number)"])
            let answer = try cluster.etcdctl(["get", "/registry/pods/a/x", "--write-out=fields"])
            let line = answer.split(separator: "\n").first { $0.contains("\"Revision\"") } ?? ""
            revision = Int(line.split(separator: " ").last ?? "") ?? 0
        }
        _ = try cluster.etcdctl(["compact", "\(revision)"])
        try await store.catchUp()
        #expect(await eventually { text(store.get("/registry/pods/a/x")) == "7" })
        // It either followed in time or had to begin anew; a watch that waited has its events, or was told so.
        switch await waiting.result {
        case .success: break
        case .failure(let error): #expect(error as? StoreFailure != .closed, "\(error)")
        }
        store.close()
    }

    @Test("of three members one is killed under load: every acknowledged write is there, no watch skips or repeats one")
    func failover() async throws {
        let cluster = try await EtcdCluster(members: 3)
        var configuration = try cluster.configuration()
        configuration.patience = .seconds(30)
        let store = try await EtcdStore.open(configuration)
        let start = store.revision
        let watch = store.watch("/registry/")
        let seen = Task {
            var position = start
            var found: [(Int64, String, String)] = []
            while !found.contains(where: { $0.1 == "/registry/end" }) {
                guard case .events(let events) = try await watch.next(after: &position) else { continue }
                found += events.map { ($0.revision, $0.record.key, text($0.record) ?? "") }
            }
            return found
        }
        let stop = Flag()
        async let written = withThrowingTaskGroup(of: [(Int64, String, String)].self) { group in
            for writer in 0..<16 {
                group.addTask {
                    var done: [(Int64, String, String)] = []
                    var record: Record?
                    for number in 0... {
                        if stop.isSet, number >= 20 { break }
                        let key = "/registry/pods/a/\(writer)"
                        let value = Array("\(number)".utf8)
                        if let before = record {
                            record = try await store.update(key, value, .revision(before.revision))
                        } else {
                            record = try await store.create(key, value)
                        }
                        done.append((record?.revision ?? 0, key, "\(number)"))
                    }
                    return done
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        // The leader first: the hardest case. It comes back, then another goes.
        for _ in 0..<2 {
            let now = store.revision
            #expect(await eventually { store.revision > now + 100 })
            let leader = try #require(try cluster.leader())
            cluster.stop(leader)
            let then = store.revision
            #expect(await eventually { store.revision > then + 200 }, "writes go on with two members")
            try cluster.start(leader)
            _ = await eventually {
                (try? cluster.etcdctl(["endpoint", "health"], member: cluster.members[leader])) != nil
            }
        }
        stop.set()
        let all = try await written
        _ = try await store.create("/registry/end", [])
        let found = try await seen.value
        #expect(all.count >= 500)
        #expect(zip(found, found.dropFirst()).allSatisfy { $0.0 < $1.0 }, "revisions come in order and once")
        let byRevision = Dictionary(found.map { ($0.0, $0) }) { first, _ in first }
        let missing = all.filter { byRevision[$0.0].map { ($0.1, $0.2) } ?? ("", "") != ($0.1, $0.2) }
        #expect(missing.isEmpty, "acknowledged, and not seen so: \(missing.prefix(5))")
        // Each writer's numbers come without a gap: nothing it was told had failed was done, nor the other way round.
        for writer in 0..<16 {
            let numbers = found.filter { $0.1 == "/registry/pods/a/\(writer)" }.compactMap { Int($0.2) }
            #expect(numbers == Array(0..<numbers.count), "writer \(writer)")
        }
        // A store opened anew finds the same.
        let again = try await EtcdStore.open(configuration)
        for writer in 0..<16 {
            let key = "/registry/pods/a/\(writer)"
            #expect(again.get(key)?.revision == store.get(key)?.revision)
        }
        again.close()
        store.close()
    }

    @Test("nobody there: a clear error within the patience")
    func absent() async throws {
        var configuration = try EtcdConfiguration.parse("etcd=http://127.0.0.1:\(unusedPort())")
        configuration.patience = .milliseconds(300)
        let fixed = configuration
        let failure = await #expect(throws: StoreFailure.self) { try await EtcdStore.open(fixed) }
        #expect(words(failure).contains("etcd does not answer: 127.0.0.1:"), "\(words(failure))")
    }

    @Test(
        "what --store cannot mean is refused",
        arguments: [
            ("https://127.0.0.1:2379", "\"etcd=\" and the endpoints"),
            ("etcd=127.0.0.1:2379", "\"127.0.0.1:2379\" is no endpoint"),
            ("etcd=ftp://127.0.0.1", "\"ftp://127.0.0.1\" is no endpoint"),
            ("etcd=http://a:0", "\"http://a:0\" is no endpoint"),
            ("etcd=http://a,", "\"\" is no endpoint"),
            ("etcd=http://a/path", "is no endpoint"),
            ("etcd=http://a,https://b", "all endpoints must be http, or all https"),
            ("etcd=https://a", "https endpoints need --store-ca"),
        ])
    func refused(_ text: String, _ why: String) {
        let failure = #expect(throws: StoreFailure.self) { try EtcdConfiguration.parse(text) }
        #expect(words(failure).contains(why), "\(words(failure))")
    }

    @Test("endpoints are read with and without a port, names and addresses of both kinds")
    func endpoints() throws {
        let found = try EtcdConfiguration.parse("etcd=http://a:1,http://10.0.0.1/,http://[::1]:3,http://[::2]")
        #expect(found.endpoints.map(\.description) == ["a:1", "10.0.0.1:2379", "[::1]:3", "[::2]:2379"])
    }
}

/// Set once, from anywhere.
final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
