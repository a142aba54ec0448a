import Glibc
import Testing

@testable import Kernel

@Suite("Control groups")
struct CgroupTests {
    @Test(
        "shares become weights on the line from 2…262144 to 1…10000",
        arguments: [(2, 1), (1024, 39), (262_144, 10_000), (0, 1), (1 << 40, 10_000)])
    func weights(shares: Int, weight: Int) {
        #expect(CgroupV2.weight(ofShares: shares) == weight)
    }

    @Test("version 2 hands its controllers down and writes its own words")
    func versionTwoFiles() throws {
        let root = "/tmp/weft-test-cgroup2-\(UInt32.random(in: .min ... .max))"
        let leaf = root + "/weft/pod/app"
        try SmallFile.makeDirectories(leaf)
        let files = ["cpu.weight", "cpu.max", "memory.max", "pids.max"]
        defer {
            for file in files { unlink(leaf + "/" + file) }
            for folder in [root, root + "/weft", root + "/weft/pod"] { unlink(folder + "/cgroup.subtree_control") }
            for folder in [leaf, root + "/weft/pod", root + "/weft", root] { rmdir(folder) }
        }
        let driver = CgroupV2(root: root)
        try driver.create("weft/pod/app")
        for folder in [root, root + "/weft", root + "/weft/pod"] {
            #expect(
                String(decoding: try SmallFile.read(folder + "/cgroup.subtree_control"), as: UTF8.self).hasPrefix("+"))
        }
        var limits = CgroupLimits()
        limits.cpuShares = 1024
        limits.cpuQuotaMicroseconds = 150_000
        limits.memoryBytes = 4096
        limits.processes = 7
        try driver.limit("weft/pod/app", limits)
        let written = try files.map { String(decoding: try SmallFile.read(leaf + "/" + $0), as: UTF8.self) }
        #expect(written == ["39", "150000 100000", "4096", "7"])
        #expect(driver.memoryEvents("weft/pod/app").hasSuffix("/weft/pod/app/memory.events"))
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
            final class Box {
                let body: @Sendable () -> Void; init(_ body: @escaping @Sendable () -> Void) { self.body = body }
            }
            pthread_create(
                &thread, nil,
                { argument in
                    guard let argument else { return nil }
                    Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
                    return nil
                }, Unmanaged.passRetained(Box(body)).toOpaque())
        }
        func join() { pthread_join(thread, nil) }
    }
}
