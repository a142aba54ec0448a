import APIServer
import Glibc
import Kernel
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

/// The real program against a real server, asked with curl as an application in the same pod would ask it.
@Suite("The elector sidecar", .serialized)
struct ElectorTests {
    @Test(
        "three take part; all say the same leader; when it ends, or is killed, another leads",
        arguments: LeaderLock.allCases)
    func electors(_ lock: LeaderLock) async throws {
        let listener = try loopbackListener()
        var state = ""
        try await withServer {
            $0.listeners = [listener.descriptor]
            $0.publicPort = listener.port
            state = $0.stateDirectory
        } _: { _, api in
            var sidecars = try (0..<3).map { try Sidecar("e\($0)", lock, kubeconfig: "\(state)/kubeconfig") }
            defer { for sidecar in sidecars { sidecar.end(SIGKILL) } }
            for signal in [SIGTERM, SIGKILL] {
                // All say who holds the lock, and the lock says so too.
                let leader = try await agreed(sidecars) {
                    let object = try? await api.get(lock.type, ObjectKey(namespace: "default", name: "test"))
                    return object.flatMap { lock.record(in: $0)?.holder }
                }
                let place = try #require(sidecars.firstIndex { $0.name == leader })
                sidecars[place].end(signal)
                sidecars.remove(at: place)
            }
            #expect(try await agreed(sidecars) { sidecars[0].name } == sidecars[0].name)
        }
    }

    /// The one leader that all name, once they do, and that is one of them and the holder.
    private func agreed(_ sidecars: [Sidecar], _ holder: () async -> String?) async throws -> String {
        var leader = ""
        let isAgreed = await eventually {
            let said = Set(sidecars.map { $0.leader() })
            guard said.count == 1, let one = said.first, sidecars.contains(where: { $0.name == one }) else {
                return false
            }
            leader = one
            return await holder() == one
        }
        try #require(isAgreed, "the electors do not agree: \(sidecars.map { $0.leader() })")
        return leader
    }
}

private struct Sidecar {
    let name: String
    private let port: Int
    private let process: TestProcess

    init(_ name: String, _ lock: LeaderLock, kubeconfig: String) throws {
        self.name = name
        port = unusedPort()
        let words = [
            try BuiltProgram.path("elector"), "--election", "test", "--lock", lock.rawValue, "--id", name, "--http",
            "127.0.0.1:\(port)", "--ttl", "3", "--kubeconfig", kubeconfig,
        ]
        process = try TestProcess(words, output: .nothing)
    }

    func end(_ signal: CInt) { process.end(signal) }

    /// What it says; empty while it says nothing.
    func leader() -> String {
        let output = "/tmp/weft-elector-\(port)"
        defer { unlink(output) }
        let words = ["/usr/bin/curl", "-s", "--max-time", "5", "http://127.0.0.1:\(port)/"]
        guard let child = try? TestProcess(words, output: .file(output)) else { return "" }
        child.wait()
        let bytes = (try? SmallFile.read(output)) ?? []
        return (try? JSON(parsing: bytes))?["name"]?.string ?? ""
    }
}
