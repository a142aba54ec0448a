import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("Ten thousand times", .timeLimit(.minutes(10)))
struct SoakTests {
    /// A few rounds beside other tests; `WEFT_SOAK=1000 swift test --filter SoakTests`, run alone, also counts this process's
    /// descriptors and memory.
    @Test("starts and removals leave no descriptor, thread, process or cgroup")
    func cycles() async throws {
        let asked = getenv("WEFT_SOAK").flatMap { Int(String(cString: $0)) }
        let cycles = asked ?? 25
        try await TestMachine.run { machine in
            func cycle(_ number: Int) async throws {
                _ = try await machine.start("p", machine.script("p", "echo \(number)"))
                let exec = try? await machine.runtime.exec(podUID: "p", id: "app-0", ExecSpec(command: ["true"]))
                if let exec {
                    _ = try? await exec.wait()
                    for descriptor in [exec.stdin, exec.stdout, exec.stderr] { close(descriptor) }
                }
                _ = try await machine.ended("p")
                try await machine.runtime.removeSandbox(podUID: "p")
            }
            for number in 0..<5 { try await cycle(number) }
            let descriptors = openDescriptors()
            let memory = residentKilobytes()
            for number in 0..<cycles { try await cycle(number) }
            if asked != nil {
                try await machine.until("descriptors are closed") { openDescriptors() <= descriptors + 4 }
                #expect(residentKilobytes() < memory + 8 * 1024)
            }
            #expect(try await machine.runtime.sandboxes().isEmpty)
            #expect(!(try CgroupDriver.detect()).exists("weft/\(machine.name)"))
        }
    }

    private func residentKilobytes() -> Int {
        let status = (try? SmallFile.read("/proc/self/status")) ?? []
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return line.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }
}
