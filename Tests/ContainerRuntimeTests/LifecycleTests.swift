import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("A container's life", .timeLimit(.minutes(5)))
struct LifecycleTests {
    @Test("a container runs, writes its log in CRI form, and its exit code is kept")
    func runs() async throws {
        try await TestMachine.run { machine in
            let started = try await machine.start(
                "p1", machine.script("p1", "echo hello; echo oops >&2; echo $FROM_IMAGE; exit 7"))
            #expect(started.id == "app-0")
            let ended = try await machine.ended("p1")
            #expect(ended.state == .exited(code: 7, signal: 0, outOfMemory: false))
            #expect((ended.finishedAt ?? 0) >= ended.startedAt)
            #expect(machine.lines(machine.logPath("p1")) == ["hello", "yes"])
            #expect(machine.lines(machine.logPath("p1"), stream: "stderr") == ["oops"])
            let line = String(decoding: try SmallFile.read(machine.logPath("p1")), as: UTF8.self).split(
                separator: "\n")[0]
            let stamp = line.split(separator: " ")[0]
            #expect(stamp.utf8.count == 30 && stamp.hasSuffix("Z") && stamp.contains("T"))
        }
    }

    @Test("a missing command is named in the error, with the container and the cause")
    func missingCommand() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "")
            spec.command = ["/bin/foo"]
            await #expect(throws: RuntimeFailure.self) { try await machine.start("p1", spec) }
            do { _ = try await machine.start("p1", spec) } catch let failure as RuntimeFailure {
                #expect(failure.kind == .badCommand)
                #expect(failure.message == #"exec of "/bin/foo" in container "app": no such file or directory"#)
            }
            #expect(try await machine.runtime.sandbox(podUID: "p1")?.containers.isEmpty == true)
        }
    }

    @Test("a stop waits for the grace, then kills")
    func stops() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start(
                "p1", machine.script("p1", "trap 'echo got it; exit 3' TERM; echo up; while :; do sleep 0.05; done"))
            try await machine.until("the trap is set") { machine.lines(machine.logPath("p1")) == ["up"] }
            try await machine.runtime.stopContainer(podUID: "p1", id: "app-0", grace: .seconds(20))
            #expect(try await machine.ended("p1").state == .exited(code: 3, signal: 0, outOfMemory: false))
            #expect(machine.lines(machine.logPath("p1")) == ["up", "got it"])

            _ = try await machine.runtime.startContainer(
                podUID: "p1", machine.script("p1", "trap '' TERM; while :; do sleep 1; done", attempt: 1))
            let before = ContinuousClock.now
            try await machine.runtime.stopContainer(podUID: "p1", id: "app-1", grace: .milliseconds(300))
            #expect(ContinuousClock.now - before >= .milliseconds(300))
            #expect(try await machine.ended("p1", "app-1").state == .exited(code: 137, signal: 9, outOfMemory: false))
        }
    }
}
