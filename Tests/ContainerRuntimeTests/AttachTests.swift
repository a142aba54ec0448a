import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("Clients attached to a container's own process", .timeLimit(.minutes(5)))
struct AttachTests {
    private func everything(_ descriptor: CInt) -> String {
        var bytes: [UInt8] = []
        while let more = some(descriptor) { bytes += more }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func some(_ descriptor: CInt) -> [UInt8]? {
        var space = [UInt8](repeating: 0, count: 65536)
        let count = Glibc.read(descriptor, &space, space.count)
        return count > 0 ? Array(space[..<count]) : nil
    }

    /// Reads until a text has come.
    private func read(_ descriptor: CInt, until text: String) -> Bool {
        var seen: [UInt8] = []
        while !String(decoding: seen, as: UTF8.self).contains(text) {
            guard let more = some(descriptor) else { return false }
            seen += more
        }
        return true
    }

    private func attach(
        _ machine: TestMachine, input: Bool = true, output: Bool = true, errors: Bool = true
    ) async throws -> any RunningExec {
        try await machine.runtime.attach(
            podUID: "p1", id: "app-0", AttachSpec(wantsInput: input, wantsOutput: output, wantsErrors: errors))
    }

    private func close(_ exec: any RunningExec) {
        for descriptor in Set([exec.stdin, exec.stdout, exec.stderr]) where descriptor >= 0 { Glibc.close(descriptor) }
    }

    @Test("what is typed arrives, what is said comes back, and the first to leave takes the input with it")
    func once() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "read a; echo got $a; echo oops >&2; cat; echo end; exit 4")
            (spec.keepsInput, spec.endsInputOnce) = (true, true)
            _ = try await machine.start("p1", spec)
            let attached = try await attach(machine)
            #expect(write(attached.stdin, "one\n", 4) == 4)
            #expect(read(attached.stdout, until: "got one\n"))
            #expect(read(attached.stderr, until: "oops\n"))
            #expect(write(attached.stdin, "two\n", 4) == 4)
            #expect(read(attached.stdout, until: "two\n"))
            attached.endInput()
            Glibc.close(attached.stdin)
            #expect(everything(attached.stdout) == "end\n")
            #expect(everything(attached.stderr) == "")
            #expect(try await attached.wait() == 4)
            for descriptor in [attached.stdout, attached.stderr] { Glibc.close(descriptor) }
            #expect(machine.lines(machine.logPath("p1")) == ["got one", "two", "end"])
        }
    }

    @Test("an input that is not for once outlives those who write to it")
    func again() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "while read x; do echo got $x; done; echo end")
            spec.keepsInput = true
            _ = try await machine.start("p1", spec)
            for word in ["one", "two"] {
                let attached = try await attach(machine)
                #expect(write(attached.stdin, "\(word)\n", 4) == 4)
                #expect(read(attached.stdout, until: "got \(word)\n"))
                attached.endInput()
                await attached.kill()
                close(attached)
            }
            #expect(try await machine.runtime.sandbox(podUID: "p1")?.containers.first?.state == .running)
        }
    }

    @Test("a terminal: one stream both ways, with a size, shown to all who are attached")
    func terminal() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "read x; stty size; echo got $x; read y; stty size; echo TERM=$TERM")
            (spec.keepsInput, spec.hasTerminal) = (true, true)
            _ = try await machine.start("p1", spec)
            let one = try await attach(machine)
            let other = try await attach(machine, input: false)
            #expect(one.stderr == -1 && other.stdin == -1)
            one.resize(width: 132, height: 43)
            #expect(write(one.stdin, "hi\n", 3) == 3)
            #expect(read(one.stdout, until: "43 132\r\ngot hi\r\n"))
            #expect(read(other.stdout, until: "got hi\r\n"))
            one.resize(width: 90, height: 20)
            #expect(write(one.stdin, "\n", 1) == 1)
            #expect(everything(one.stdout).contains("20 90\r\nTERM=xterm\r\n"))
            #expect(everything(other.stdout).contains("20 90\r\n"))
            #expect(try await one.wait() == 0)
            #expect(try await other.wait() == 0)
            close(one)
            close(other)
        }
    }

    @Test("nothing of much output is lost on a slow reader, and the container waits for it")
    func slow() async throws {
        try await TestMachine.run { machine in
            let megabytes = 3
            var spec = machine.script(
                "p1", "read x; dd if=/dev/zero bs=1048576 count=\(megabytes) 2>/dev/null | tr '\\\\0' z")
            (spec.keepsInput, spec.endsInputOnce) = (true, true)
            _ = try await machine.start("p1", spec)
            let attached = try await attach(machine)
            #expect(write(attached.stdin, "\n", 1) == 1)
            var count = 0
            while let more = some(attached.stdout) {
                count += more.count
                if count < 400_000 { usleep(2_000) }
            }
            #expect(count == megabytes << 20)
            #expect(try await attached.wait() == 0)
            close(attached)
        }
    }

    @Test("a container that has no input gives none, and one that does not run cannot be attached to")
    func without() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            let attached = try await attach(machine)
            #expect(attached.stdin == -1)
            await attached.kill()
            close(attached)
            try await machine.runtime.stopContainer(podUID: "p1", id: "app-0", grace: .zero)
            await #expect(throws: RuntimeFailure.self) { try await attach(machine) }
        }
    }

    @Test("a container may see another's processes, and only those")
    func seen() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "echo $$; exec sleep 4321"))
            var looker = machine.script("p1", "ps; exec sleep 1000", name: "looker")
            looker.seenContainer = "app-0"
            _ = try await machine.runtime.startContainer(podUID: "p1", looker)
            try await machine.until("ps to be written") {
                machine.lines(machine.logPath("p1", "looker")).contains { $0.contains("sleep 4321") }
            }
            let shown = machine.lines(machine.logPath("p1", "looker"))
            #expect(!shown.contains { $0.contains("mesh-init") })
            let exec = try await machine.runtime.exec(podUID: "p1", id: "looker-0", ExecSpec(command: ["ps"]))
            #expect(everything(exec.stdout).contains("sleep 4321"))
            _ = try await exec.wait()
            close(exec)
        }
    }

    @Test("limits change while the container runs, up and down, and are noted")
    func resized() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "exec sleep 1000")
            spec.limits.cpuQuotaMicroseconds = 20_000
            spec.limits.memoryBytes = 64 << 20
            var sandbox = machine.sandbox("p1")
            sandbox.limits = spec.limits
            _ = try await machine.runtime.runSandbox(sandbox)
            _ = try await machine.runtime.startContainer(podUID: "p1", spec)
            for (quota, bytes) in [(50_000, 128 << 20), (10_000, 32 << 20)] {
                var limits = ResourceLimits()
                (limits.cpuQuotaMicroseconds, limits.memoryBytes) = (quota, bytes)
                try await machine.runtime.updateContainer(
                    podUID: "p1", id: "app-0", limits, pod: limits, annotations: ["now": "\(quota)"])
                let group = "weft/\(machine.name)/node-1/podp1"
                for path in [group, group + "/app-0"] {
                    #expect(CgroupReading.quota(path) == quota, "\(path)")
                    #expect(CgroupReading.memory(path) == bytes, "\(path)")
                }
                let status = try await machine.runtime.sandbox(podUID: "p1")?.containers.first
                #expect(status?.annotations["now"] == "\(quota)")
            }
        }
    }
}

/// What the kernel says of a group, whichever version of cgroups it has.
enum CgroupReading {
    static func quota(_ path: String) -> Int? {
        number("/sys/fs/cgroup/cpu/\(path)/cpu.cfs_quota_us") ?? number("/sys/fs/cgroup/\(path)/cpu.max")
    }

    static func memory(_ path: String) -> Int? {
        number("/sys/fs/cgroup/memory/\(path)/memory.limit_in_bytes") ?? number("/sys/fs/cgroup/\(path)/memory.max")
    }

    private static func number(_ path: String) -> Int? {
        guard let bytes = try? SmallFile.read(path) else { return nil }
        return Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
    }
}
