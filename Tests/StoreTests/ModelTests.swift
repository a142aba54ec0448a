import Glibc
import Store
import Testing

/// What a store should be, in the simplest way: the current keys, and everything that ever happened.
private struct Model {
    struct Entry: Equatable {
        var value: String
        var revision: Int64
        var created: Int64
        var lease: Int64
    }

    struct Event: Equatable {
        var revision: Int64
        var kind: String
        var key: String
        var value: String
        var previous: String?
    }

    var entries: [String: Entry] = [:]
    var events: [Event] = []
    var leases: Set<Int64> = []
    var revision: Int64 = 0

    mutating func put(_ key: String, _ value: String, _ expectation: WriteExpectation, _ lease: Int64) -> StoreFailure?
    {
        if lease != 0, !leases.contains(lease) { return .leaseMissing(lease) }
        if let failure = check(key, expectation) { return failure }
        revision += 1
        let before = entries[key]
        entries[key] = Entry(value: value, revision: revision, created: before?.created ?? revision, lease: lease)
        events.append(
            Event(
                revision: revision, kind: before == nil ? "created" : "updated", key: key, value: value,
                previous: before?.value))
        return nil
    }

    mutating func delete(_ key: String, _ expectation: WriteExpectation) -> StoreFailure? {
        if let failure = check(key, expectation) { return failure }
        remove(key)
        return nil
    }

    private mutating func remove(_ key: String) {
        guard let before = entries.removeValue(forKey: key) else { return }
        revision += 1
        events.append(
            Event(revision: revision, kind: "deleted", key: key, value: before.value, previous: before.value))
    }

    mutating func revoke(_ lease: Int64) -> StoreFailure? {
        guard leases.remove(lease) != nil else { return .leaseMissing(lease) }
        for key in entries.filter({ $0.value.lease == lease }).keys.sorted() { remove(key) }
        return nil
    }

    private func check(_ key: String, _ expectation: WriteExpectation) -> StoreFailure? {
        switch (expectation, entries[key]) {
        case (.absent, .some): .exists(key: key)
        case (.absent, nil): nil
        case (_, nil): .missing(key: key)
        case (.revision(let wanted), let entry?):
            wanted == entry.revision ? nil : .changed(key: key, revision: entry.revision)
        default: nil
        }
    }
}

@Suite("The embedded store against a simple model")
struct ModelTests {
    /// A seeded generator (SplitMix64), so that a failure can be seen again.
    private struct Dice: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    }

    /// Crashes: the files are copied as they lie on the disk, without the store having been closed, and the copy is opened.
    private static func crash(_ directory: TemporaryDirectory) throws -> TemporaryDirectory {
        let copy = try TemporaryDirectory()
        for name in ["store.db", "store.db-wal"] where access("\(directory.path)/\(name)", F_OK) == 0 {
            try writeBytes("\(copy.path)/\(name)", try readBytes("\(directory.path)/\(name)"))
        }
        return copy
    }

    @Test("random operations, crashes and compactions", arguments: 0..<12)
    func random(seed: Int) async throws {
        var dice = Dice(state: UInt64(seed))
        var directory = try TemporaryDirectory()
        let history = [64, 256, 4096][seed % 3]
        var store = try EmbeddedStore(directory: directory.path, historyEvents: history)
        var model = Model()
        // A watcher that goes on across crashes, as a client does: it must see every event once.
        var position: Int64 = 0
        var seen: [Model.Event] = []
        for step in 0..<600 {
            let key = "/registry/\(["pods", "nodes"][dice.below(2)])/\(dice.below(12))"
            let value = "\(step)"
            let known = model.entries[key]?.revision ?? 0
            let expectation: WriteExpectation = [.absent, .present, .revision(known), .revision(known - 1)][
                dice.below(4)]
            let lease = dice.below(4) == 0 ? model.leases.sorted().first ?? 77 : 0
            switch dice.below(100) {
            case 0..<40:
                let wanted = model.put(key, value, .absent, lease)
                #expect(
                    await failure { () async throws(StoreFailure) in
                        _ = try await store.create(key, Array(value.utf8), lease: lease)
                    } == wanted)
            case 40..<70:
                let wanted = model.put(key, value, expectation, lease)
                #expect(
                    await failure { () async throws(StoreFailure) in
                        _ = try await store.update(key, Array(value.utf8), expectation, lease: lease)
                    } == wanted)
            case 70..<84:
                let asked: WriteExpectation = expectation == .absent ? .present : expectation
                let wanted = model.delete(key, asked)
                #expect(
                    await failure { () async throws(StoreFailure) in _ = try await store.delete(key, asked) } == wanted)
            case 84..<87: model.leases.insert(try await store.grantLease(seconds: 600).id)
            case 87..<89:
                let id = model.leases.sorted().first ?? 77
                let wanted = model.revoke(id)
                #expect(await failure { () async throws(StoreFailure) in try await store.revokeLease(id) } == wanted)
            case 89..<91:
                // What the watcher has not seen yet stays.
                try await store.compact(to: position)
            case 91..<95:
                let copy = try Self.crash(directory)
                store.close()
                directory = copy
                store = try EmbeddedStore(directory: directory.path, historyEvents: history)
            case 95..<97:
                store.close()
                store = try EmbeddedStore(directory: directory.path, historyEvents: history)
            default: break
            }
            if dice.below(8) == 0 || model.revision - position >= 16 {
                try await read(store, to: model.revision, &position, &seen)
            }
            if step % 50 == 49 { try check(store, model, &dice) }
        }
        try await read(store, to: model.revision, &position, &seen)
        #expect(seen == model.events, "seed \(seed)")
        try check(store, model, &dice)
        store.close()
        #expect(try StoreFile.verify("\(directory.path)/store.db").damages == [])
    }

    private func failure(_ body: () async throws(StoreFailure) -> Void) async -> StoreFailure? {
        do throws(StoreFailure) { try await body() } catch { return error }
        return nil
    }

    private func read(
        _ store: EmbeddedStore, to revision: Int64, _ position: inout Int64, _ seen: inout [Model.Event]
    ) async throws {
        let watch = store.watch("/registry/")
        while position < revision {
            guard case .events(let events) = try await watch.next(after: &position) else { continue }
            for event in events {
                seen.append(
                    Model.Event(
                        revision: event.revision, kind: "\(event.kind)", key: event.record.key,
                        value: text(event.record) ?? "", previous: text(event.previous)))
            }
        }
    }

    private func check(_ store: EmbeddedStore, _ model: Model, _ dice: inout Dice) throws {
        #expect(store.revision == model.revision)
        var found: [String: Model.Entry] = [:]
        store.snapshot().index.visit(under: "/registry/") {
            found[$0.key] = Model.Entry(
                value: text($0) ?? "", revision: $0.revision, created: $0.created, lease: $0.lease)
            return true
        }
        #expect(found == model.entries)
        // And as it was at some revision that the history reaches.
        let span = model.revision - store.horizon
        if span <= 0 { return }
        let past = store.horizon + Int64(dice.below(Int(span))) + 1
        var then: [String: String] = [:]
        for event in model.events where event.revision <= past {
            then[event.key] = event.kind == "deleted" ? nil : event.value
        }
        var shown: [String: String] = [:]
        try store.snapshot(at: past).index.visit(under: "/registry/") {
            shown[$0.key] = text($0)
            return true
        }
        #expect(shown == then, "at revision \(past)")
    }
}
