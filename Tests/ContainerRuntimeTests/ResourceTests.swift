import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("Limits and leftovers", .timeLimit(.minutes(5)))
struct ResourceTests {
    @Test("a container beyond its memory limit is killed, and its state says why")
    func outOfMemory() async throws {
        try await TestMachine.run { machine in
            // tail keeps the last line in memory, and /dev/zero is one endless line.
            var spec = machine.script("p1", "exec tail /dev/zero")
            spec.limits.memoryBytes = 16 << 20
            _ = try await machine.start("p1", spec)
            #expect(try await machine.ended("p1").state == .exited(code: 137, signal: 9, outOfMemory: true))
        }
    }

    @Test("limits stand in the cgroup, and usage can be read")
    func limits() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "exec sleep 1000")
            spec.limits.cpuShares = 512
            spec.limits.cpuQuotaMicroseconds = 50_000
            spec.limits.memoryBytes = 64 << 20
            spec.limits.processes = 20
            let status = try await machine.start("p1", spec)
            let driver = try CgroupDriver.detect()
            let group = "weft/\(machine.name)/node-1/podp1/app-0"
            #expect(driver.processes(group) == [Int32(status.pid)])
            if driver.version == 1 {
                func value(_ file: String) throws -> String {
                    String(decoding: try SmallFile.read("/sys/fs/cgroup/" + file), as: UTF8.self)
                }
                #expect(try value("cpu/\(group)/cpu.shares") == "512\n")
                #expect(try value("cpu/\(group)/cpu.cfs_quota_us") == "50000\n")
                #expect(try value("memory/\(group)/memory.limit_in_bytes") == "\(64 << 20)\n")
                #expect(try value("pids/\(group)/pids.max") == "20\n")
            }
            let stats = try await machine.runtime.stats(podUID: "p1")
            let app = try #require(stats["app-0"])
            let pod = try #require(stats[""])
            #expect(app.processes == 1 && app.memoryBytes > 0 && app.cpuNanoseconds > 0)
            #expect(pod.memoryBytes >= app.memoryBytes && pod.processes >= 2)
        }
    }

    @Test("after removal no mount, cgroup, process or file is left")
    func nothingLeft() async throws {
        try await TestMachine.run { machine in
            func mounts() throws -> [String] {
                String(decoding: try SmallFile.read("/proc/self/mountinfo"), as: UTF8.self).split(separator: "\n").map(
                    String.init
                )
                .filter { $0.contains(machine.name) }
            }
            let driver = try CgroupDriver.detect()
            var supervisors: [Int] = []
            for uid in ["p1", "p2"] {
                _ = try await machine.start(uid, machine.script(uid, "sleep 1000 & exec sleep 1000"))
                _ = try await machine.runtime.startContainer(podUID: uid, machine.script(uid, "exit 0", name: "short"))
                supervisors.append(try #require(try await machine.runtime.sandbox(podUID: uid)).supervisorPID)
            }
            #expect(try mounts().isEmpty)
            #expect(driver.exists("weft/\(machine.name)/node-1/podp1"))
            for uid in ["p1", "p2", "p1", "never-was"] { try await machine.runtime.removeSandbox(podUID: uid) }
            #expect(try mounts().isEmpty)
            #expect(!driver.exists("weft/\(machine.name)"))
            for pid in supervisors { #expect(access("/proc/\(pid)", F_OK) != 0, "supervisor \(pid) is still there") }
            for folder in ["state/pods", "run/pods"] { #expect(entries(machine.directory + "/" + folder).isEmpty) }
            #expect(try await machine.runtime.sandboxes().isEmpty)
        }
    }

    @Test("fifty pods start at once and leave nothing")
    func fiftyPods() async throws {
        try await TestMachine.run { machine in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        let status = try await machine.start(
                            "p\(number)", machine.script("p\(number)", "echo up; exec sleep 1000"))
                        #expect(status.state == .running && status.pid > 0)
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await machine.runtime.sandboxes().filter(\.isRunning).count == 50)
            try await machine.until("all have spoken") {
                (0..<50).allSatisfy { machine.lines(machine.logPath("p\($0)")) == ["up"] }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<50 { group.addTask { try await machine.runtime.removeSandbox(podUID: "p\(number)") } }
                try await group.waitForAll()
            }
            #expect(entries(machine.directory + "/run/pods").isEmpty)
            #expect(!(try CgroupDriver.detect()).exists("weft/\(machine.name)"))
        }
    }

    @Test("a hundred restarts leave one container's things")
    func manyRestarts() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.runtime.runSandbox(machine.sandbox("p1"))
            for attempt in 0..<100 {
                let status = try await machine.runtime.startContainer(
                    podUID: "p1", machine.script("p1", "exit \(attempt)", attempt: attempt))
                #expect(status.id == "app-\(attempt)")
                let ended = try await machine.ended("p1", "app-\(attempt)")
                #expect(ended.state == .exited(code: attempt, signal: 0, outOfMemory: false))
                if attempt > 0 { try await machine.runtime.removeContainer(podUID: "p1", id: "app-\(attempt - 1)") }
            }
            #expect(try await machine.runtime.sandbox(podUID: "p1")?.containers.map(\.id) == ["app-99"])
            #expect(entries(machine.directory + "/state/pods/p1/layers") == ["app-99"])
        }
    }
}

func entries(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

func openDescriptors() -> Int { entries("/proc/self/fd").count }
