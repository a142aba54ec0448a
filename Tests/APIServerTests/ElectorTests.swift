import APIServer
import Glibc
import Kernel
import KubeClient
import KubeTypes
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
                let leader = try await agreed(sidecars)
                let object = try await api.get(lock.type, ObjectKey(namespace: "default", name: "test"))
                #expect(lock.record(in: object)?.holder == leader)
                let place = try #require(sidecars.firstIndex { $0.name == leader })
                sidecars[place].end(signal)
                sidecars.remove(at: place)
            }
            #expect(try await agreed(sidecars) == sidecars[0].name)
        }
    }

    /// The one leader that all name, once they do, and that is one of them.
    private func agreed(_ sidecars: [Sidecar]) async throws -> String {
        var leader = ""
        for _ in 0..<1200 {
            let said = Set(sidecars.map { $0.leader() })
            if said.count == 1, let one = said.first, sidecars.contains(where: { $0.name == one }) {
                leader = one
                break
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        try #require(!leader.isEmpty, "the electors do not agree: \(sidecars.map { $0.leader() })")
        return leader
    }
}

private struct Sidecar {
    let name: String
    private let port: Int
    private let process: pid_t

    init(_ name: String, _ lock: LeaderLock, kubeconfig: String) throws {
        self.name = name
        let found = try loopbackListener()
        close(found.descriptor)
        port = found.port
        let program = try ProgramFile.beside("elector")
        let words = [
            program, "--election", "test", "--lock", lock.rawValue, "--id", name, "--http", "127.0.0.1:\(port)",
            "--ttl",
            "3", "--kubeconfig", kubeconfig,
        ]
        process = try start(words, output: "/dev/null")
    }

    func end(_ signal: CInt) {
        kill(process, signal)
        var status: CInt = 0
        waitpid(process, &status, 0)
    }

    /// What it says; empty while it says nothing.
    func leader() -> String {
        let output = "/tmp/weft-elector-\(port)"
        defer { unlink(output) }
        let words = ["/usr/bin/curl", "-s", "--max-time", "5", "http://127.0.0.1:\(port)/"]
        guard let child = try? start(words, output: output) else { return "" }
        var status: CInt = 0
        waitpid(child, &status, 0)
        let bytes = (try? SmallFile.read(output)) ?? []
        return (try? JSON(parsing: bytes))?["name"]?.string ?? ""
    }
}

/// The threads of a pool block signals, and children inherit that.
private func start(_ words: [String], output: String) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, output, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var argv = words.map { strdup($0) } + [nil]
    defer { argv.forEach { free($0) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, words[0], &actions, &attributes, &argv, environ)
    try #require(code == 0, "\(words[0]) does not start")
    return child
}
