import Glibc
import Store
import Testing

@Suite("A store whose disk is full")
struct FullDiskTests {
    @Test("a full disk refuses the write, keeps what is stored, and recovers")
    func fullDisk() async throws {
        let directory = try TemporaryDirectory()
        try #require(mount("weft-store-test", directory.path, "tmpfs", 0, "size=1m") == 0, "needs root")
        defer { umount2(directory.path, CInt(MNT_DETACH)) }
        do {
            let store = try EmbeddedStore(directory: directory.path, historyEvents: 4)
            let value = [UInt8](repeating: 7, count: 20_000)
            var stored = 0
            var failure: StoreFailure?
            while failure == nil, stored < 200 {
                do throws(StoreFailure) {
                    _ = try await store.create("/registry/pods/a/\(stored)", value)
                    stored += 1
                } catch {
                    failure = error
                }
            }
            #expect(failure == .diskFull(path: "\(directory.path)/store.db"))
            #expect(store.count == stored)
            #expect(store.get("/registry/pods/a/\(stored)") == nil)
            #expect(store.get("/registry/pods/a/\(stored - 1)")?.value == value)
            let grown = mount("weft-store-test", directory.path, "tmpfs", UInt(MS_REMOUNT), "size=8m")
            try #require(grown == 0)
            _ = try await store.create("/registry/pods/a/after", value)
            store.close()
        }
        let store = try EmbeddedStore(directory: directory.path)
        #expect(store.get("/registry/pods/a/after") != nil)
        store.close()
        #expect(try StoreFile.verify("\(directory.path)/store.db").damages == [])
    }
}
