import Glibc
import Kernel
import ProxyResources
import Testing

@testable import Proxy

@Suite struct FullDiskTests {
    @Test("on a full disk the last good configuration stays as it was, and nothing half written is left")
    func lastGood() throws {
        let directory = "/tmp/weft-full-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try SmallFile.makeDirectories(directory)
        defer { try? FileTree.remove(directory) }
        let keeper = try #require(LastGood(directory: directory))
        keeper.save(ProxyConfiguration(workload: workload("first")), identity: nil, versions: [:])
        #expect(keeper.load()?.configuration.workload.name == "first")
        // Where the next version is written, every write fails with ENOSPC.
        let fresh = keeper.path + ".new"
        #expect(symlink("/dev/full", fresh) == 0)
        keeper.save(ProxyConfiguration(workload: workload("second")), identity: nil, versions: [:])
        #expect(keeper.load()?.configuration.workload.name == "first")
        #expect(access(fresh, F_OK) != 0)
        keeper.save(ProxyConfiguration(workload: workload("third")), identity: nil, versions: [:])
        #expect(keeper.load()?.configuration.workload.name == "third")
    }

    @Test("an access log on a full disk loses lines beyond a megabyte, counts them, and holds nobody up")
    func accessLog() {
        var sink = LogSink(path: "/dev/full")
        let line = String(repeating: "x", count: 1023) + "\n"
        for round in 0..<2000 {
            sink.append(line)
            if round % 100 == 0 { sink.flush(now: UInt64(round)) }
        }
        #expect(sink.lost == 2000 - 1024)
        sink.close()
    }
}
