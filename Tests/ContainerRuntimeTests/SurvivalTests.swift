import ContainerRuntime
import Glibc
import Kernel
import TestSupport
import Testing

@Suite("Deaths of the runtime and of a supervisor", .timeLimit(.minutes(5)))
struct SurvivalTests {
    @Test("pods outlive a runtime killed with -9, and the next one adopts them")
    func adoption() async throws {
        try await TestMachine.run { machine in
            // This same program, running only the test below, is the runtime that dies.
            let child = try spawnSelf(filter: "childRuntime", environment: ["WEFT_TEST_CHILD=\(machine.name)"])
            defer {
                kill(child, SIGKILL)
                waitpid(child, nil, 0)
            }
            try await machine.until("the child has started its pod") {
                access(machine.directory + "/started", F_OK) == 0
            }
            kill(child, SIGKILL)
            waitpid(child, nil, 0)

            let adopter = try LocalRuntime(machine.configuration)
            let changes = await adopter.changes()
            let sandbox = try #require(try await adopter.sandboxes().first)
            #expect(sandbox.isRunning && sandbox.podUID == "p1" && sandbox.name == "pod-p1")
            let running = try #require(sandbox.containers.first { $0.name == "app" })
            #expect(running.state == .running && access("/proc/\(running.pid)", F_OK) == 0)
            #expect(running.annotations == ["weft.dev/kept": "yes"])
            let short = try await machine.ended("p1", "short-0", in: adopter)
            #expect(short.state == .exited(code: 9, signal: 0, outOfMemory: false))

            // A repeat of what the dead runtime did joins it.
            #expect(try await adopter.runSandbox(machine.sandbox("p1")).supervisorPID == sandbox.supervisorPID)
            #expect(try await adopter.startContainer(podUID: "p1", machine.script("p1", "whatever")).pid == running.pid)

            let exec = try await adopter.exec(podUID: "p1", id: "app-0", ExecSpec(command: ["sh", "-c", "exit 4"]))
            #expect(try await exec.wait() == 4)
            for descriptor in [exec.stdin, exec.stdout, exec.stderr] { close(descriptor) }
            try await adopter.stopContainer(podUID: "p1", id: "app-0", grace: .zero)
            var seen = changes.makeAsyncIterator()
            #expect(await seen.next() == "p1")
            try await adopter.removeSandbox(podUID: "p1")
            // Its parent was the dead runtime, so the machine's first process reaps it, in its own time.
            let stat = (try? SmallFile.read("/proc/\(sandbox.supervisorPID)/stat")).map {
                String(decoding: $0, as: UTF8.self)
            }
            #expect(stat == nil || stat?.contains(") Z ") == true)
        }
    }

    /// Also what the killed program of the test above does: then the machine is its parent's, and it waits for its end.
    @Test("a pod with a container that goes on and one that ends")
    func childRuntime() async throws {
        if let parent = try Self.parent("WEFT_TEST_CHILD") {
            try await Self.startPod(LocalRuntime(parent.configuration), parent.directory)
            try await Task.sleep(for: .seconds(60))
        }
        try await TestMachine.run { machine in
            try await Self.startPod(machine.runtime, machine.directory)
            let sandbox = try #require(try await machine.runtime.sandbox(podUID: "p1"))
            #expect(sandbox.containers.first { $0.name == "app" }?.state == .running)
            #expect(try await machine.ended("p1", "short-0").state == .exited(code: 9, signal: 0, outOfMemory: false))
            try await machine.runtime.removeSandbox(podUID: "p1")
        }
    }

    private static func startPod(_ runtime: LocalRuntime, _ directory: String) async throws {
        var sandbox = SandboxSpec(
            podUID: "p1", namespace: "test", name: "pod-p1", hostname: "h", networkNamespace: "/proc/self/ns/net",
            cgroup: "node-1/podp1")
        sandbox.hosts = "127.0.0.1 localhost\n"
        _ = try await runtime.runSandbox(sandbox)
        var spec = ContainerSpec(
            name: "app", attempt: 0, image: TestMachine.image, logPath: directory + "/state/logs/app.log")
        spec.arguments = ["exec sleep 1000"]
        spec.annotations = ["weft.dev/kept": "yes"]
        _ = try await runtime.startContainer(podUID: "p1", spec)
        // Ends while nobody looks.
        var short = ContainerSpec(
            name: "short", attempt: 0, image: TestMachine.image, logPath: directory + "/state/logs/short.log")
        short.arguments = ["sleep 0.3; exit 9"]
        _ = try await runtime.startContainer(podUID: "p1", short)
        try SmallFile.write("", to: directory + "/started")
    }

    /// The machine of the test that started this program, named by a variable.
    private static func parent(_ variable: String) throws -> (directory: String, configuration: RuntimeConfiguration)? {
        guard let name = getenv(variable).map({ String(cString: $0) }) else { return nil }
        let directory = "/tmp/" + name
        let configuration = RuntimeConfiguration(
            stateDirectory: directory + "/state", runDirectory: directory + "/run", cgroupRoot: "weft/" + name,
            supervisorPath: try BuiltProgram.path("mesh-init"))
        return (directory, configuration)
    }

    @Test("a runtime killed at any moment leaves nothing a new one cannot remove")
    func killedAnywhere() async throws {
        try await TestMachine.run { machine in
            for round in 0..<12 {
                unlink(machine.directory + "/started")
                let child = try spawnSelf(filter: "churningRuntime", environment: ["WEFT_TEST_CHURN=\(machine.name)"])
                try await machine.until("the child runs") { access(machine.directory + "/started", F_OK) == 0 }
                try await Task.sleep(for: .milliseconds(7 * round + Int.random(in: 0..<10)))
                kill(child, SIGKILL)
                waitpid(child, nil, 0)
                let next = try LocalRuntime(machine.configuration)
                for sandbox in try await next.sandboxes() {
                    if sandbox.isRunning, Bool.random() {
                        _ = try await next.runSandbox(machine.sandbox(sandbox.podUID))
                    }
                    try await next.removeSandbox(podUID: sandbox.podUID)
                }
            }
            // A directory made before its pod was written down holds nothing, and is used again.
            for uid in entries(machine.directory + "/run/pods") {
                _ = try await machine.runtime.runSandbox(machine.sandbox(uid))
                try await machine.runtime.removeSandbox(podUID: uid)
            }
            #expect(entries(machine.directory + "/run/pods").isEmpty)
            #expect(entries(machine.directory + "/state/pods").isEmpty)
            #expect(!(try CgroupDriver.detect()).exists("weft/\(machine.name)"))
        }
    }

    /// Also what the killed program of the test above does, on its parent's machine and without an end.
    @Test("three pods at a time come and go")
    func churningRuntime() async throws {
        if let parent = try Self.parent("WEFT_TEST_CHURN") {
            let runtime = try LocalRuntime(parent.configuration)
            try SmallFile.write("", to: parent.directory + "/started")
            try await Self.churn(runtime, parent.directory, rounds: 10_000)
        }
        try await TestMachine.run { machine in
            try await Self.churn(machine.runtime, machine.directory, rounds: 8)
            let left = try await machine.runtime.sandboxes()
            #expect(Set(left.map(\.podUID)) == Set((0..<3).flatMap { ["lane\($0)-1", "lane\($0)-3"] }))
            for sandbox in left { try await machine.runtime.removeSandbox(podUID: sandbox.podUID) }
        }
    }

    private static func churn(_ runtime: LocalRuntime, _ directory: String, rounds: Int) async throws {
        for number in 0..<rounds {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<3 {
                    group.addTask {
                        let uid = "lane\(lane)-\(number % 4)"
                        let sandbox = SandboxSpec(
                            podUID: uid, namespace: "test", name: uid, hostname: "h",
                            networkNamespace: "/proc/self/ns/net",
                            cgroup: "node-1/pod\(uid)")
                        _ = try await runtime.runSandbox(sandbox)
                        var spec = ContainerSpec(
                            name: "app", attempt: 0, image: TestMachine.image,
                            logPath: "\(directory)/state/logs/\(uid).log")
                        spec.arguments = ["exec sleep 1000"]
                        _ = try await runtime.startContainer(podUID: uid, spec)
                        if number % 2 == 0 { try await runtime.removeSandbox(podUID: uid) }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test(
        "when a supervisor is killed its pod is down, its containers are known as killed, and a new sandbox takes over")
    func supervisorDies() async throws {
        try await TestMachine.run { machine in
            let container = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            let sandbox = try #require(try await machine.runtime.sandbox(podUID: "p1"))
            let changes = await machine.runtime.changes()
            kill(pid_t(sandbox.supervisorPID), SIGKILL)
            var seen = changes.makeAsyncIterator()
            #expect(await seen.next() == "p1")
            try await machine.until("the pod is down") {
                try await machine.runtime.sandbox(podUID: "p1")?.isRunning == false
            }
            try await machine.until("its process is gone") { access("/proc/\(container.pid)", F_OK) != 0 }
            let down = try #require(try await machine.runtime.sandbox(podUID: "p1"))
            #expect(down.containers.map(\.state) == [.exited(code: 137, signal: 9, outOfMemory: false)])
            await #expect(throws: RuntimeFailure.self) {
                try await machine.runtime.startContainer(podUID: "p1", machine.script("p1", "true", attempt: 1))
            }
            #expect(try await machine.runtime.runSandbox(machine.sandbox("p1")).isRunning)
            _ = try await machine.runtime.startContainer(podUID: "p1", machine.script("p1", "exit 2", attempt: 1))
            #expect(try await machine.ended("p1", "app-1").state == .exited(code: 2, signal: 0, outOfMemory: false))
            #expect(try await machine.runtime.sandbox(podUID: "p1")?.containers.map(\.id) == ["app-0", "app-1"])
        }
    }

    @Test("a supervisor is small")
    func supervisorIsSmall() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            let pid = try #require(try await machine.runtime.sandbox(podUID: "p1")).supervisorPID
            let rollup = String(decoding: try SmallFile.read("/proc/\(pid)/smaps_rollup"), as: UTF8.self)
            let own = rollup.split(separator: "\n").filter { $0.hasPrefix("Private_") }
                .compactMap { Int($0.split(separator: " ").dropFirst().first ?? "") }.reduce(0, +)
            if getenv("WEFT_SHOW_TIMES") != nil { print(rollup) }
            #expect(own < 1500, "mesh-init holds \(own) KiB of its own")
        }
    }

    private func spawnSelf(filter: String, environment: [String]) throws -> pid_t {
        var arguments: [UnsafeMutablePointer<CChar>?] = [
            strdup("/proc/self/exe"), strdup("--testing-library"), strdup("swift-testing"), strdup("--filter"),
            strdup(filter), nil,
        ]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
        var place = environ
        while let variable = place.pointee {
            variables.append(strdup(variable))
            place += 1
        }
        variables.append(nil)
        defer { for text in arguments + variables { free(text) } }
        var pid = pid_t()
        let failed = posix_spawn(&pid, "/proc/self/exe", nil, nil, &arguments, &variables)
        try #require(failed == 0)
        return pid
    }
}
