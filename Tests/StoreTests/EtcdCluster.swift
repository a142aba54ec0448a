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
        var process: TestProcess?
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
            members.append(Member(name: "m\(number)", clientPort: unusedPort(), peerPort: unusedPort()))
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
        members[place].process = try TestProcess(words, output: .file("\(directory.path)/\(member.name).log"))
    }

    /// Ends a member at once.
    func stop(_ place: Int, _ signal: CInt = SIGKILL) {
        members[place].process?.end(signal)
        members[place].process = nil
    }

    private func waitUntilServing(_ member: Member) async throws {
        let isServing = await eventually { (try? self.etcdctl(["endpoint", "health"], member: member)) != nil }
        try #require(isServing, "etcd member \(member.name) does not serve; its log is in \(directory.path)")
    }

    /// The place of the member that leads now.
    func leader() throws -> Int? {
        for (place, member) in members.enumerated() where member.process != nil {
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
        let status = try TestProcess(all + words, environment: ["ETCDCTL_API=3"], output: .file(output)).wait()
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
