import Glibc
import Store
import TLS
import TestSupport
import Testing
import Transport

/// One or three real etcd members on free ports of loopback, gone with the value.
final class EtcdCluster: @unchecked Sendable {  // A test's own; its tasks only read.
    struct Member {
        let name: String
        let clientPort: Int
        let peerPort: Int
        var process: pid_t = 0
    }

    private(set) var members: [Member] = []
    private let directory: TemporaryDirectory
    private let isSecure: Bool

    /// Starts the members and waits until they serve.
    init(members count: Int = 1, secure: Bool = false) async throws {
        try #require(access("/usr/bin/etcd", X_OK) == 0, "etcd is needed: run 'make deps'")
        directory = try TemporaryDirectory()
        isSecure = secure
        if secure { try writeCertificates() }
        for number in 0..<count {
            members.append(Member(name: "m\(number)", clientPort: try freePort(), peerPort: try freePort()))
        }
        for place in members.indices { try start(place) }
        for member in members { try await waitUntilServing(member) }
    }

    deinit { for place in members.indices { stop(place, SIGKILL) } }

    private var scheme: String { isSecure ? "https" : "http" }
    /// As `--store` takes it.
    var store: String { "etcd=" + members.map { "\(scheme)://127.0.0.1:\($0.clientPort)" }.joined(separator: ",") }

    func configuration(prefix: String = "/registry/") throws -> EtcdConfiguration {
        var made =
            isSecure
            ? try EtcdConfiguration.parse(
                store, authority: try file("ca.pem"), certificate: try file("client.pem"),
                key: try file("client-key.pem"))
            : try EtcdConfiguration.parse(store)
        made.prefix = prefix
        return made
    }

    func file(_ name: String) throws -> [UInt8] { try readBytes("\(directory.path)/\(name)") }

    func start(_ place: Int) throws {
        let member = members[place]
        let initial = members.map { "\($0.name)=http://127.0.0.1:\($0.peerPort)" }.joined(separator: ",")
        var words = [
            "/usr/bin/etcd", "--name", member.name, "--data-dir", "\(directory.path)/\(member.name)",
            "--listen-client-urls", "\(scheme)://127.0.0.1:\(member.clientPort)", "--advertise-client-urls",
            "\(scheme)://127.0.0.1:\(member.clientPort)", "--listen-peer-urls", "http://127.0.0.1:\(member.peerPort)",
            "--initial-advertise-peer-urls", "http://127.0.0.1:\(member.peerPort)", "--initial-cluster", initial,
            "--log-level", "error", "--heartbeat-interval", "100", "--election-timeout", "1000",
        ]
        if isSecure {
            let path = directory.path
            words += [
                "--cert-file", "\(path)/server.pem", "--key-file", "\(path)/server-key.pem", "--client-cert-auth",
                "--trusted-ca-file", "\(path)/ca.pem",
            ]
        }
        members[place].process = try spawn(words, log: "\(directory.path)/\(member.name).log")
    }

    /// Ends a member at once.
    func stop(_ place: Int, _ signal: CInt = SIGKILL) {
        let process = members[place].process
        if process == 0 { return }
        members[place].process = 0
        kill(process, signal)
        var status: CInt = 0
        waitpid(process, &status, 0)
    }

    private func waitUntilServing(_ member: Member) async throws {
        let isServing = await eventually { (try? self.etcdctl(["endpoint", "health"], member: member)) != nil }
        try #require(isServing, "etcd member \(member.name) does not serve; its log is in \(directory.path)")
    }

    /// The place of the member that leads now.
    func leader() throws -> Int? {
        for (place, member) in members.enumerated() where member.process != 0 {
            let status = try etcdctl(["endpoint", "status", "--write-out=simple"], member: member)
            let fields = status.split(separator: ",").map { $0.drop { $0 == " " } }
            if fields.count > 4, fields[4] == "true" { return place }
        }
        return nil
    }

    /// Runs etcdctl against one member; throws when it fails.
    func etcdctl(_ words: [String], member: Member? = nil) throws -> String {
        let member = member ?? members[0]
        var all = ["/usr/bin/etcdctl", "--endpoints", "\(scheme)://127.0.0.1:\(member.clientPort)"]
        if isSecure {
            let path = directory.path
            all += ["--cacert", "\(path)/ca.pem", "--cert", "\(path)/client.pem", "--key", "\(path)/client-key.pem"]
        }
        let output = "\(directory.path)/out-\(UInt32.random(in: 0 ... .max))"
        let process = try spawn(all + words, log: output, environment: ["ETCDCTL_API=3"])
        var status: CInt = 0
        waitpid(process, &status, 0)
        let text = String(decoding: try readBytes(output), as: UTF8.self)
        unlink(output)
        if status != 0 { throw Failed(text: text) }
        return text
    }

    struct Failed: Error { let text: String }

    private func writeCertificates() throws {
        let authority = try CertificateAuthority.create(commonName: "etcd-test")
        func issue(_ name: String) throws {
            let key = try PrivateKey.generate()
            // A member also calls itself, with the certificate it serves with.
            let request = CertificateRequest(
                commonName: name, subjectAlternativeNames: [.ip("127.0.0.1"), .dns("localhost")], serverUse: true,
                clientUse: true, lifetime: .seconds(3600), publicKey: try key.publicKey())
            try writeBytes("\(directory.path)/\(name).pem", try authority.issue(request).pem())
            try writeBytes("\(directory.path)/\(name)-key.pem", try key.pem())
        }
        try writeBytes("\(directory.path)/ca.pem", try authority.certificate.pem())
        try issue("server")
        try issue("client")
    }
}

/// Starts a program with its output in a file.
func spawn(_ words: [String], log: String, environment: [String] = []) throws -> pid_t {
    var variables = environment
    for name in ["LD_LIBRARY_PATH", "PATH", "HOME"] {
        if let value = getenv(name) { variables.append("\(name)=\(String(cString: value))") }
    }
    var argv = words.map { strdup($0) } + [nil]
    var inherited = variables.map { strdup($0) } + [nil]
    defer { (argv + inherited).forEach { free($0) } }
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
    var child: pid_t = 0
    let code = posix_spawn(&child, words[0], &actions, &attributes, &argv, &inherited)
    try #require(code == 0, "\(words[0]) cannot be started: \(code)")
    return child
}

/// A port nobody has now.
func freePort() throws -> Int {
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

func readBytes(_ path: String) throws -> [UInt8] {
    let file = open(path, O_RDONLY)
    try #require(file >= 0, "\(path) cannot be opened")
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(file, &chunk, chunk.count)
        if count <= 0 { return bytes }
        bytes += chunk[..<count]
    }
}

func writeBytes(_ path: String, _ bytes: [UInt8]) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(file >= 0, "\(path) cannot be opened")
    defer { close(file) }
    try #require(write(file, bytes, bytes.count) == bytes.count)
}
