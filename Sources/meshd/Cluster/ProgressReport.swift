import Glibc
import Wire

/// Tells whoever started the daemon how far it is: one JSON object a line, `step`, then `ready` or `failed`.
struct ProgressReport: Sendable {
    let descriptor: CInt?

    func step<Result>(_ name: String, remark: (Result) -> String = { _ in "" }, _ body: () async throws -> Result)
        async throws
        -> Result
    {
        let begin = ContinuousClock.now
        let result = try await body()
        let took = ContinuousClock.now - begin
        let microseconds = took.components.seconds * 1_000_000 + took.components.attoseconds / 1_000_000_000_000
        send(["step": .string(name), "microseconds": .int(microseconds), "remark": .string(remark(result))])
        return result
    }

    func ready() { send(["ready": true]) }
    func failed(_ why: String) { send(["failed": .string(why)]) }
    /// Another daemon of the cluster was faster.
    func taken(_ why: String) { send(["failed": .string(why), "taken": true]) }

    private func send(_ event: JSON) {
        guard let descriptor else { return }
        let line = event.bytes + [0x0A]
        // Whoever listened may be gone: that must not end the daemon (SIGPIPE is ignored at start).
        _ = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}
