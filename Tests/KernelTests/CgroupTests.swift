@testable import Kernel
import Glibc
import Testing

@Suite("Control groups")
struct CgroupTests {
    @Test("shares become weights on the line from 2…262144 to 1…10000", arguments: [(2, 1), (1024, 39), (262_144, 10_000), (0, 1), (1 << 40, 10_000)])
    func weights(shares: Int, weight: Int) {
        #expect(CgroupV2.weight(ofShares: shares) == weight)
    }

    @Test("a group is made, limited, entered, measured and removed with what is in it")
    func life() throws {
        try #require(geteuid() == 0, "cgroups need root")
        let driver = try CgroupDriver.detect()
        let root = "weft-test-\(UInt32.random(in: .min ... .max))"
        let path = root + "/inner/leaf"
        try driver.create(path)
        try driver.create(path)
        var limits = CgroupLimits()
        limits.memoryBytes = 32 << 20
        limits.processes = 10
        limits.cpuShares = 100
        try driver.limit(path, limits)
        var pid = pid_t()
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("1000"), nil]
        defer { for text in arguments { free(text) } }
        try #require(posix_spawn(&pid, "/bin/sleep", nil, nil, &arguments, environ) == 0)
        for entrance in driver.entrances(path) { try SmallFile.write(String(pid), to: entrance) }
        #expect(driver.processes(path) == [pid])
        #expect(driver.usage(path).processes == 1 && driver.usage(path).memoryKills == 0)
        // Removal kills, and waits for somebody to reap: that is us.
        let child = pid
        let reaper = Thread { waitpid(child, nil, 0) }
        try driver.remove(root)
        reaper.join()
        #expect(!driver.exists(root))
        try driver.remove(root)
    }

    /// A thread that runs one thing.
    private final class Thread {
        private var thread = pthread_t()
        init(_ body: @escaping @Sendable () -> Void) {
            final class Box { let body: @Sendable () -> Void; init(_ body: @escaping @Sendable () -> Void) { self.body = body } }
            pthread_create(&thread, nil, { argument in
                guard let argument else { return nil }
                Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(Box(body)).toOpaque())
        }
        func join() { pthread_join(thread, nil) }
    }
}
