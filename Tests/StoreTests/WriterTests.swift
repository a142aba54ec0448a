import Synchronization
import Testing

@testable import Store

@Suite("The embedded store's writer")
struct WriterTests {
    @Test("of those who make one key at the same time one does it, and the others see it when they are refused")
    func race() async throws {
        let directory = try TemporaryDirectory()
        let store = try EmbeddedStore(directory: directory.path)
        for round in 0..<50 {
            let key = "/registry/pods/a/\(round)"
            let made = try await withThrowingTaskGroup(of: Bool.self) { group in
                for writer in 0..<16 {
                    group.addTask {
                        do throws(StoreFailure) {
                            let record = try await store.create(key, Array("\(writer)".utf8))
                            #expect(store.get(key)?.revision == record.revision)
                            return true
                        } catch {
                            #expect(error == .exists(key: key))
                            #expect(store.get(key) != nil)
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(made == 1)
        }
        #expect(store.revision == 50)
        store.close()
    }

    @Test("guards hold against what is written and not yet on the disk: no update of many is lost")
    func counting() async throws {
        let directory = try TemporaryDirectory()
        let store = try EmbeddedStore(directory: directory.path)
        _ = try await store.create("/registry/count", Array("0".utf8))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    var done = 0
                    while done < 50 {
                        let record = try #require(store.get("/registry/count"))
                        let next = (Int(String(decoding: record.value, as: UTF8.self)) ?? 0) + 1
                        do throws(StoreFailure) {
                            _ = try await store.update(
                                record.key, Array("\(next)".utf8), .revision(record.revision))
                            done += 1
                        } catch {
                            guard case .changed = error else { throw error }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(text(store.get("/registry/count")) == "800" && store.revision == 801)
        store.close()
        let again = try EmbeddedStore(directory: directory.path)
        #expect(text(again.get("/registry/count")) == "800" && again.revision == 801)
        again.close()
    }

    @Test("what the disk did not take is not shown, its writers hear why, and so do all after them")
    func brokenDisk() async throws {
        let memory = Memory(history: History(limit: History.Limit(), horizon: 0))
        // A device that cannot be synced.
        let sync = try LogSync(path: "/dev/null", memory: memory) {}
        try sync.start()
        for revision in 1...2 {
            let record = Record(key: "/registry/a", value: [1], revision: Int64(revision), created: 1)
            let event = StoreEvent(kind: .created, record: record, previous: nil)
            let outcome = await withUnsafeContinuation { answer in
                sync.enqueue(
                    WrittenBatch(
                        events: [event], isWritten: true, compaction: nil,
                        answers: [(answer, .success(.record(record)))]))
            }
            guard case .failure(.unusable(let why)) = outcome else {
                Issue.record("\(outcome)")
                continue
            }
            #expect(why.hasPrefix("/dev/null cannot be put on the disk: Invalid argument"))
        }
        #expect(sync.failure != nil && memory.revision == 0)
        sync.stop()
    }
}

extension Memory {
    fileprivate var revision: Int64 { state.withLock { $0.revision } }
}
