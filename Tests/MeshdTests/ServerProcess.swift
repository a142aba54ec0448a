import Glibc
import Kernel
import KubeClient
import KubeTypes
import Testing

/// A program of the test's, killed with the value at the latest.
final class TestProcess {
    private var process: pid_t = 0

    init(_ words: [String], log: String) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // The threads of a pool block signals, and children inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var argv = words.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        let code = posix_spawn(&process, words[0], &actions, &attributes, &argv, environ)
        try #require(code == 0, "\(words[0]) does not start: \(code)")
    }

    deinit { end(SIGKILL) }

    func end(_ signal: CInt) {
        if process == 0 { return }
        kill(process, signal)
        var status: CInt = 0
        waitpid(process, &status, 0)
        process = 0
    }
}

/// A port of loopback nobody has now.
func unusedPort() throws -> Int {
    let number = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(number, $0, size) == 0 ? getsockname(number, $0, &size) : -1
        }
    }
    try #require(code == 0)
    return Int(UInt16(bigEndian: address.sin_port))
}

/// A real etcd, and servers of ours that share it, each a process with a directory of its own; gone with the value.
final class SharedCluster {
    let directory: String
    private let etcd: TestProcess
    private let etcdPort: Int
    private(set) var servers: [TestProcess] = []
    private(set) var apis: [HTTPAPI] = []

    init() throws {
        try #require(access("/usr/bin/etcd", X_OK) == 0, "etcd is needed: run 'make deps'")
        var template = Array("/tmp/weft-shared-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        etcdPort = try unusedPort()
        let peer = "http://127.0.0.1:\(try unusedPort())"
        let client = "http://127.0.0.1:\(etcdPort)"
        etcd = try TestProcess(
            [
                "/usr/bin/etcd", "--name", "m0", "--data-dir", "\(directory)/etcd", "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", "m0=\(peer)", "--log-level", "error",
            ], log: "\(directory)/etcd.log")
    }

    deinit {
        for server in servers { server.end(SIGKILL) }
        etcd.end(SIGKILL)
        if let shell = try? TestProcess(["/bin/rm", "-rf", directory], log: "/dev/null") { shell.end(0) }
    }

    /// Starts one more server, with the keys of the first, and waits until it is ready.
    func addServer() async throws {
        let state = "\(directory)/server-\(servers.count)"
        try SmallFile.makeDirectories("\(state)/pki", mode: 0o700)
        if !servers.isEmpty {
            for name in ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key"] {
                let bytes = try SmallFile.read("\(directory)/server-0/pki/\(name)")
                try SmallFile.replace("\(state)/pki/\(name)", with: bytes, mode: 0o600)
            }
        }
        let port = try unusedPort()
        servers.append(
            try TestProcess(
                [
                    try Self.program(), "apiserver", "--state", state, "--port", "\(port)", "--store",
                    "etcd=http://127.0.0.1:\(etcdPort)", "--log-level", "warning", "--advertise-address",
                    "10.245.0.\(servers.count + 1)",
                ], log: "\(state).log"))
        var ready: HTTPAPI?
        for _ in 0..<3000 where ready == nil {
            if let api = try? HTTPAPI(try KubeconfigFile.load("\(state)/kubeconfig")),
                (try? await api.list(.namespaces)) != nil
            {
                ready = api
            } else {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        let log = (try? SmallFile.read("\(state).log")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        apis.append(try #require(ready, "a server does not serve: \(log)"))
    }

    /// Beside the tests' own program.
    private static func program() throws -> String {
        var link = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &link, 4095)
        let own = String(decoding: link[..<max(0, count)].map(UInt8.init(bitPattern:)), as: UTF8.self)
        let program = own[...(own.lastIndex(of: "/") ?? own.startIndex)] + "meshd"
        try #require(access(String(program), X_OK) == 0, "\(program) is not built")
        return String(program)
    }
}
