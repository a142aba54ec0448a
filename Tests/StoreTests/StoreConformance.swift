import Store
import TestSupport
import Testing

/// What every store must do, whatever keeps it. Each case has keys of its own.
struct StoreConformance {
    /// A store under test.
    struct Subject: Sendable {
        let store: any Store
        /// Ends in a slash; keys of this case begin so.
        let prefix: String
        /// Another opening of the same data.
        let reopen: @Sendable () async throws -> any Store
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let run: @Sendable (Subject) async throws -> Void
        var testDescription: String { name }
        init(_ name: String, _ run: @escaping @Sendable (Subject) async throws -> Void) {
            self.name = name
            self.run = run
        }
    }

    static let cases: [Case] =
        [
            Case("writes are guarded by what the writer saw", guards),
            Case("revisions rise, and a record says which writes made it and its key", revisions),
            Case("of many that count up one key, each counts once", counting),
            Case("a write shows in reads before it is answered", ownWrites),
            Case("values are any bytes up to a megabyte", values),
            Case("a snapshot does not see later writes, and visits its keys in order", snapshots),
            Case("a read at a revision shows what was then", pastReads),
            Case("a watch gives every event of its scope once and in order, while many write", watching),
            Case("a watch goes on from any revision, and knows what was before", resuming),
            Case("a watch of one key sees no other that begins the same", exactScope),
            Case("reading at and watching from what was given up expires", compaction),
            Case("keys go with the lease that runs out, and stay while it is renewed", expiry),
            Case("revoking a lease deletes its keys; another write frees a key from it", revocation),
            Case("what was written is there after reopening, as it was", reopening),
            Case("after the end, writes are refused and watches over", closing),
        ]

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static func guards(_ subject: Subject) async throws {
        let store = subject.store
        let key = subject.prefix + "x"
        await #expect(throws: StoreFailure.missing(key: key)) { try await store.update(key, [], .present) }
        await #expect(throws: StoreFailure.missing(key: key)) { try await store.update(key, [], .revision(1)) }
        await #expect(throws: StoreFailure.missing(key: key)) { try await store.delete(key, .present) }
        let first = try await store.create(key, bytes("1"))
        await #expect(throws: StoreFailure.exists(key: key)) { try await store.create(key, []) }
        let second = try await store.update(key, bytes("2"), .revision(first.revision))
        await #expect(throws: StoreFailure.changed(key: key, revision: second.revision)) {
            try await store.update(key, [], .revision(first.revision))
        }
        await #expect(throws: StoreFailure.changed(key: key, revision: second.revision)) {
            try await store.delete(key, .revision(first.revision))
        }
        #expect(text(store.get(key)) == "2")
        let third = try await store.update(key, bytes("3"), .present)
        let gone = try await store.delete(key, .revision(third.revision))
        #expect(text(gone) == "3" && gone.revision > third.revision)
        #expect(store.get(key) == nil)
        await #expect(throws: StoreFailure.missing(key: key)) { try await store.delete(key, .revision(third.revision)) }
    }

    private static func revisions(_ subject: Subject) async throws {
        let store = subject.store
        let a = try await store.create(subject.prefix + "a", bytes("1"))
        let b = try await store.create(subject.prefix + "b", bytes("1"))
        let again = try await store.update(a.key, bytes("2"), .present)
        #expect(a.revision < b.revision && b.revision < again.revision)
        #expect(store.revision >= again.revision)
        #expect(a.created == a.revision && again.created == a.revision && again.lease == 0)
        _ = try await store.delete(a.key, .present)
        let anew = try await store.create(a.key, bytes("3"))
        #expect(anew.created == anew.revision && anew.revision > again.revision)
        #expect(store.get(a.key)?.created == anew.revision)
    }

    private static func counting(_ subject: Subject) async throws {
        let store = subject.store
        let key = subject.prefix + "count"
        _ = try await store.create(key, bytes("0"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var done = 0
                    while done < 10 {
                        guard let now = store.get(key), let number = text(now).flatMap({ Int($0) }) else { return }
                        do {
                            _ = try await store.update(key, bytes("\(number + 1)"), .revision(now.revision))
                            done += 1
                        } catch StoreFailure.changed(_, let revision) {
                            // Whoever lost knows what it lost to, so that the next attempt can win.
                            #expect(store.get(key)?.revision ?? 0 >= revision)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(text(store.get(key)) == "80")
    }

    private static func ownWrites(_ subject: Subject) async throws {
        let store = subject.store
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<16 {
                group.addTask {
                    let key = "\(subject.prefix)\(writer)"
                    var record = try await store.create(key, [])
                    for number in 0..<20 {
                        #expect(store.get(key)?.revision == record.revision)
                        #expect(store.revision >= record.revision)
                        record = try await store.update(key, bytes("\(number)"), .revision(record.revision))
                        #expect(store.snapshot().index[key]?.revision == record.revision)
                    }
                    _ = try await store.delete(key, .revision(record.revision))
                    #expect(store.get(key) == nil)
                    try await store.catchUp()
                    #expect(store.get(key) == nil)
                }
            }
            try await group.waitForAll()
        }
    }

    private static func values(_ subject: Subject) async throws {
        let store = subject.store
        let all = (0...255).map { UInt8($0) }
        let large = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }
        for (name, value) in [("empty", []), ("all", all), ("large", large)] {
            let key = subject.prefix + name
            _ = try await store.create(key, value)
            #expect(store.get(key)?.value == value)
        }
        for name in ["system:node", "a.b-c_d", "ns/with.dots/äöü", "%41 b"] {
            _ = try await store.create(subject.prefix + name, bytes(name))
            #expect(text(store.get(subject.prefix + name)) == name)
        }
        _ = try await store.update(subject.prefix + "all", [], .present)
        #expect(store.get(subject.prefix + "all")?.value == [])
    }

    private static func keys(_ snapshot: StoreSnapshot, _ prefix: String, after: String? = nil) -> [String] {
        var seen: [String] = []
        snapshot.index.visit(under: prefix, after: after) {
            seen.append($0.key)
            return true
        }
        return seen
    }

    private static func snapshots(_ subject: Subject) async throws {
        let store = subject.store
        let scope = subject.prefix + "pods/"
        let keys = (0..<600).map { "\(scope)p\($0)" }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for part in 0..<12 {
                group.addTask {
                    for place in stride(from: part, to: keys.count, by: 12) {
                        _ = try await store.create(keys[place], [])
                    }
                }
            }
            try await group.waitForAll()
        }
        _ = try await store.create(subject.prefix + "podsother/x", [])
        let snapshot = store.snapshot()
        _ = try await store.delete(keys[3], .present)
        #expect(self.keys(snapshot, scope) == keys.sorted())
        #expect(self.keys(snapshot, scope, after: keys.sorted()[99]) == Array(keys.sorted()[100...]))
        #expect(store.count(under: scope) == 599)
        #expect(snapshot.revision < store.revision)
    }

    private static func pastReads(_ subject: Subject) async throws {
        let store = subject.store
        var model: [String: String] = [:]
        var past: [(Int64, [String: String])] = []
        for number in 0..<60 {
            let key = "\(subject.prefix)\(number * 7 % 5)"
            if model[key] == nil {
                _ = try await store.create(key, bytes("\(number)"))
                model[key] = "\(number)"
            } else if number % 3 == 0 {
                _ = try await store.delete(key, .present)
                model[key] = nil
            } else {
                _ = try await store.update(key, bytes("\(number)"), .present)
                model[key] = "\(number)"
            }
            past.append((store.revision, model))
        }
        for (revision, model) in past {
            let snapshot = try store.snapshot(at: revision)
            #expect(snapshot.revision == revision)
            var found: [String: String] = [:]
            snapshot.index.visit(under: subject.prefix) {
                found[$0.key] = text($0)
                return true
            }
            #expect(found == model, "at revision \(revision)")
        }
        let latest = store.revision
        #expect(throws: StoreFailure.future(asked: latest + 1000, latest: latest)) {
            try store.snapshot(at: latest + 1000)
        }
    }

    /// Reads a watch until so many events have come.
    private static func events(
        _ watch: StoreWatch, after revision: Int64, count: Int
    ) async throws -> [StoreEvent] {
        var position = revision
        var found: [StoreEvent] = []
        while found.count < count {
            if case .events(let events) = try await watch.next(after: &position) { found += events }
        }
        return found
    }

    private static func watching(_ subject: Subject) async throws {
        let store = subject.store
        let start = store.revision
        async let early = events(store.watch(subject.prefix + "pods/"), after: start, count: 400)
        async let second = events(store.watch(subject.prefix + "pods/"), after: start, count: 400)
        let written = try await withThrowingTaskGroup(of: [Int64].self) { group in
            for writer in 0..<8 {
                group.addTask {
                    var revisions: [Int64] = []
                    for number in 0..<50 {
                        let key = "\(subject.prefix)pods/\(writer)-\(number)"
                        revisions.append(try await store.create(key, []).revision)
                        _ = try await store.create("\(subject.prefix)nodes/\(writer)-\(number)", [])
                    }
                    return revisions
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(try await early.map(\.revision) == written.sorted())
        #expect(try await second.map(\.revision) == written.sorted())
        // One that comes later reads the same from the history.
        let late = try await events(store.watch(subject.prefix + "pods/"), after: start, count: 400)
        #expect(late.map(\.revision) == written.sorted())
    }

    private static func resuming(_ subject: Subject) async throws {
        let store = subject.store
        let start = store.revision
        let key = subject.prefix + "x"
        _ = try await store.create(key, bytes("1"))
        _ = try await store.update(key, bytes("2"), .present)
        _ = try await store.delete(key, .present)
        _ = try await store.create(key, bytes("3"))
        let all = try await events(store.watch(subject.prefix), after: start, count: 4)
        #expect(all.map(\.kind) == [.created, .updated, .deleted, .created])
        #expect(all.map { text($0.record) } == ["1", "2", "2", "3"])
        #expect(all.map { text($0.previous) } == [nil, "1", "2", nil])
        for place in all.indices.dropLast() {
            let rest = try await events(
                store.watch(subject.prefix), after: all[place].revision, count: all.count - place - 1)
            #expect(rest.map(\.revision) == all[(place + 1)...].map(\.revision))
        }
        let now = store.revision
        let watch = store.watch(subject.prefix)
        let waiting = Task { () -> Int64? in
            var position = now
            guard case .idle(let revision) = try await watch.next(after: &position) else { return nil }
            return revision
        }
        let nudger = Task {
            while !Task.isCancelled {
                watch.nudge()
                await Task.yield()
            }
        }
        #expect(try await waiting.value ?? 0 >= now)
        nudger.cancel()
    }

    private static func exactScope(_ subject: Subject) async throws {
        let store = subject.store
        let start = store.revision
        _ = try await store.create(subject.prefix + "xy", [])
        _ = try await store.create(subject.prefix + "x", [])
        _ = try await store.create(subject.prefix + "x/z", [])
        _ = try await store.update(subject.prefix + "x", bytes("1"), .present)
        let found = try await events(store.watch(subject.prefix + "x"), after: start, count: 2)
        #expect(found.map(\.record.key) == [subject.prefix + "x", subject.prefix + "x"])
    }

    private static func compaction(_ subject: Subject) async throws {
        let store = subject.store
        let first = try await store.create(subject.prefix + "x", bytes("1"))
        for number in 2..<20 { _ = try await store.update(first.key, bytes("\(number)"), .present) }
        let middle = store.revision
        let last = try await store.update(first.key, bytes("20"), .present)
        try await store.compact(to: middle)
        #expect(store.horizon >= middle)
        await #expect(throws: StoreFailure.expired(asked: first.revision, oldest: store.horizon)) {
            var position = first.revision
            _ = try await store.watch(subject.prefix).next(after: &position)
        }
        #expect(throws: StoreFailure.expired(asked: first.revision, oldest: store.horizon)) {
            try store.snapshot(at: first.revision)
        }
        let rest = try await events(store.watch(subject.prefix), after: middle, count: 1)
        #expect(rest.map(\.revision) == [last.revision])
        #expect(text(store.get(first.key)) == "20")
        try await store.compact(to: middle)
        await #expect(throws: StoreFailure.self) { try await store.compact(to: store.revision + 1000) }
        #expect(try await store.update(first.key, bytes("21"), .revision(last.revision)).revision > last.revision)
    }

    private static func expiry(_ subject: Subject) async throws {
        let store = subject.store
        // What is renewed would run out first: a machine may be slow, but not for seconds.
        let short = try await store.grantLease(seconds: 5)
        let long = try await store.grantLease(seconds: 4)
        #expect(short.id != 0 && short.id != long.id && short.seconds >= 1)
        let going = try await store.create(subject.prefix + "going", bytes("1"), lease: short.id)
        let staying = try await store.create(subject.prefix + "staying", bytes("1"), lease: long.id)
        #expect(going.lease == short.id && store.get(staying.key)?.lease == long.id)
        let watch = store.watch(going.key)
        let renewer = Task {
            while !Task.isCancelled {
                _ = try await store.renewLease(long.id)
                try await Task.sleep(for: .milliseconds(200))
            }
        }
        let gone = try await events(watch, after: going.revision, count: 1)
        #expect(gone.map(\.kind) == [.deleted] && text(gone.first?.record) == "1")
        #expect(store.get(staying.key) != nil)
        await #expect(throws: StoreFailure.leaseMissing(short.id)) { try await store.renewLease(short.id) }
        await #expect(throws: StoreFailure.leaseMissing(short.id)) {
            try await store.create(subject.prefix + "late", [], lease: short.id)
        }
        renewer.cancel()
        _ = await renewer.result
        #expect(await eventually { store.get(staying.key) == nil })
    }

    private static func revocation(_ subject: Subject) async throws {
        let store = subject.store
        let lease = try await store.grantLease(seconds: 600)
        for number in 0..<5 { _ = try await store.create("\(subject.prefix)\(number)", [], lease: lease.id) }
        let freed = try await store.update(subject.prefix + "3", bytes("free"), .present)
        #expect(freed.lease == 0)
        _ = try await store.delete(subject.prefix + "4", .present)
        let start = store.revision
        #expect(try await store.renewLease(lease.id) == lease)
        try await store.revokeLease(lease.id)
        #expect(store.count(under: subject.prefix) == 1)
        let gone = try await events(store.watch(subject.prefix), after: start, count: 3)
        #expect(gone.map(\.kind) == [.deleted, .deleted, .deleted])
        #expect(Set(gone.map(\.record.key)) == Set(["0", "1", "2"].map { subject.prefix + $0 }))
        await #expect(throws: StoreFailure.leaseMissing(lease.id)) { try await store.revokeLease(lease.id) }
    }

    private static func reopening(_ subject: Subject) async throws {
        let store = subject.store
        let lease = try await store.grantLease(seconds: 600)
        _ = try await store.create(subject.prefix + "x", bytes("1"))
        let kept = try await store.update(subject.prefix + "x", bytes("2"), .present)
        let leased = try await store.create(subject.prefix + "y", bytes("y"), lease: lease.id)
        _ = try await store.create(subject.prefix + "z", [])
        _ = try await store.delete(subject.prefix + "z", .present)
        let revision = store.revision
        let again = try await subject.reopen()
        #expect(again.revision >= revision)
        let found = again.get(kept.key)
        #expect(text(found) == "2" && found?.revision == kept.revision && found?.created == kept.created)
        #expect(again.get(leased.key)?.lease == lease.id)
        #expect(again.get(subject.prefix + "z") == nil)
        _ = try await again.update(kept.key, bytes("3"), .revision(kept.revision))
        try await again.revokeLease(lease.id)
        #expect(again.get(leased.key) == nil)
        again.close()
    }

    private static func closing(_ subject: Subject) async throws {
        let store = subject.store
        let record = try await store.create(subject.prefix + "x", [])
        let watch = store.watch(subject.prefix)
        let waiting = Task { () -> StoreEvent? in
            var position = record.revision
            guard case .events(let events) = try await watch.next(after: &position) else { return nil }
            return events.first
        }
        store.endWatches()
        await #expect(throws: StoreFailure.closed) { try await waiting.value }
        _ = try await store.update(record.key, bytes("1"), .present)
        store.close()
        store.close()
        await #expect(throws: StoreFailure.closed) { try await store.update(record.key, [], .present) }
    }
}
