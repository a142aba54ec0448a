import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("Logs", .timeLimit(.minutes(5)))
struct LogTests {
    @Test("long lines come in parts of 16 KiB, an unended last line is kept")
    func partialLines() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start(
                "p1", machine.script("p1", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo -n rest"))
            _ = try await machine.ended("p1")
            let lines = String(decoding: try SmallFile.read(machine.logPath("p1")), as: UTF8.self).split(
                separator: "\n")
            let parts = lines.map { $0.split(separator: " ", maxSplits: 3) }
            #expect(parts.map { String($0[2]) } == ["P", "P", "F", "F"])
            #expect(parts.map { $0[3].utf8.count } == [16384, 16384, 40000 - 32768, 4])
        }
    }

    @Test("a log that grows is rotated, and no line is lost between the two files")
    func rotation() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start(
                "p1",
                machine.script(
                    "p1", "i=0; while [ $i -lt 1500 ]; do head -c 9000 /dev/zero | tr '\\0' y; echo; i=$((i+1)); done"))
            _ = try await machine.ended("p1")
            let path = machine.logPath("p1")
            let older = try SmallFile.read(path + ".1", limit: 32 << 20)
            let newer = try SmallFile.read(path, limit: 32 << 20)
            #expect(older.count <= 10 << 20 && newer.count <= 10 << 20)
            #expect(older.count + newer.count > 1500 * 9000)
        }
    }

    @Test("output of a command that ends at once is whole")
    func bursts() async throws {
        try await TestMachine.run { machine in
            let lines = try await machine.output("head -c 60000 /dev/zero | tr '\\0' z | sed 's/z\\{100\\}/&\\n/g'")
            #expect(lines.count == 600 && lines.allSatisfy { $0.utf8.count == 100 })
        }
    }
}
