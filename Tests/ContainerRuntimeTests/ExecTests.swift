import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("Commands in a running container", .timeLimit(.minutes(5)))
struct ExecTests {
    private func everything(_ descriptor: CInt) -> String {
        var bytes: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &space, space.count)
            guard count > 0 else { break }
            bytes += space[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func close(_ exec: any RunningExec) {
        for descriptor in Set([exec.stdin, exec.stdout, exec.stderr]) { Glibc.close(descriptor) }
    }

    @Test("input, output, errors and the exit code go through pipes")
    func pipes() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "touch /mark; exec sleep 1000")
            spec.environment = [("OF_CONTAINER", "yes"), ("OF_EXEC", "no")]
            _ = try await machine.start("p1", spec)
            var command = ExecSpec(command: [
                "sh", "-c", "cat; ls /mark; echo $OF_CONTAINER $OF_EXEC; hostname >&2; exit 5",
            ])
            command.environment = [("OF_EXEC", "too")]
            let exec = try await machine.runtime.exec(podUID: "p1", id: "app-0", command)
            #expect(write(exec.stdin, "line\n", 5) == 5)
            Glibc.close(exec.stdin)
            #expect(everything(exec.stdout) == "line\n/mark\nyes too\n")
            #expect(everything(exec.stderr) == "host-p1\n")
            #expect(try await exec.wait() == 5)
            Glibc.close(exec.stdout)
            Glibc.close(exec.stderr)
        }
    }

    @Test("a terminal has a size, echoes, and is the command's own")
    func terminal() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            var command = ExecSpec(command: ["sh", "-c", "tty; read x; echo got $x; stty size; exit 0"])
            command.hasTerminal = true
            let exec = try await machine.runtime.exec(podUID: "p1", id: "app-0", command)
            exec.resize(width: 132, height: 43)
            #expect(write(exec.stdin, "hi\n", 3) == 3)
            let text = everything(exec.stdout)
            #expect(text.contains("/dev/pts/0"))
            #expect(text.contains("got hi"))
            #expect(try await exec.wait() >= 0)
            close(exec)
        }
    }

    @Test("a killed command says so, and a missing one is named")
    func killed() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            let exec = try await machine.runtime.exec(podUID: "p1", id: "app-0", ExecSpec(command: ["sleep", "1000"]))
            await exec.kill()
            #expect(try await exec.wait() == 137)
            close(exec)
            do {
                _ = try await machine.runtime.exec(podUID: "p1", id: "app-0", ExecSpec(command: ["nonesuch"]))
                Issue.record("it ran")
            } catch let failure as RuntimeFailure {
                #expect(failure.message == #"exec of "nonesuch" in container "app": no such file or directory"#)
            }
            await #expect(throws: RuntimeFailure.self) {
                try await machine.runtime.exec(podUID: "p1", id: "other-0", ExecSpec(command: ["true"]))
            }
        }
    }

    @Test("a hundred commands at once are told apart")
    func many() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        let exec = try await machine.runtime.exec(
                            podUID: "p1", id: "app-0", ExecSpec(command: ["sh", "-c", "exit \(number)"]))
                        #expect(try await exec.wait() == number)
                        for descriptor in [exec.stdin, exec.stdout, exec.stderr] { Glibc.close(descriptor) }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await machine.runtime.sandbox(podUID: "p1")?.containers.first?.state == .running)
        }
    }
}
