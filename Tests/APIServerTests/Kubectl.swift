import APIServer
import Glibc
import Kernel
import KubeClient
import KubeTypes
import TestSupport
import Testing

/// The real kubectl, with a home and a kubeconfig of its own.
struct Kubectl: Sendable {
    struct Outcome: Sendable {
        var code: Int
        var output: String
        var errors: String
    }

    private let program: String
    let home: String
    let kubeconfig: String

    /// - Throws: when there is no kubectl: these tests are worth nothing without it.
    /// - Parameter program: another tool to run in the same way, such as openssl.
    init(home: String, kubeconfig: String, program other: String? = nil) throws {
        program = try other ?? Self.find()
        self.home = home
        self.kubeconfig = kubeconfig
    }

    /// `.build/tools/bin` of the package, then `WEFT_KUBECTL`, then `PATH`.
    private static func find() throws -> String {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        var places = ["/\(root)/.build/tools/bin/kubectl"]
        if let named = getenv("WEFT_KUBECTL") { places.append(String(cString: named)) }
        if let path = getenv("PATH") { places += String(cString: path).split(separator: ":").map { "\($0)/kubectl" } }
        return try #require(
            places.first { access($0, X_OK) == 0 }, "no kubectl: run `make deps`, or set WEFT_KUBECTL to one")
    }

    /// Runs to the end, on a thread that may wait.
    func callAsFunction(_ arguments: String..., input: String = "") async throws -> Outcome {
        try await run(arguments, input: input)
    }

    /// Runs, and expects success.
    func ok(
        _ arguments: String..., input: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let outcome = try await run(arguments, input: input)
        #expect(
            outcome.code == 0, "kubectl \(arguments.joined(separator: " ")): \(outcome.errors)",
            sourceLocation: sourceLocation)
        return outcome.output
    }

    func run(_ arguments: [String], input: String) async throws -> Outcome {
        let outcome = await onThread { spawn(arguments, input: input) }
        return try #require(outcome, "kubectl does not start")
    }

    /// Starts it and does not wait; what it prints goes into a file. Ends with the signal of whoever started it.
    func start(_ arguments: [String]) throws -> (child: TestProcess, output: String) {
        let output = "\(home)/out-\(UInt64.random(in: 0...UInt64.max))"
        return (try TestProcess([program] + arguments, environment: environment, output: .file(output)), output)
    }

    private var environment: [String] { ["HOME=\(home)", "KUBECONFIG=\(kubeconfig)", "PATH=/usr/bin:/bin"] }

    private func spawn(_ arguments: [String], input: String) -> Outcome? {
        let names = ["in", "out", "err"].map { "\(home)/\($0)-\(UInt64.random(in: 0...UInt64.max))" }
        defer { names.forEach { unlink($0) } }
        let file = open(names[0], O_CREAT | O_WRONLY, 0o600)
        let bytes = Array(input.utf8)
        _ = write(file, bytes, bytes.count)
        close(file)
        let child = try? TestProcess(
            [program] + arguments, environment: environment, input: .file(names[0]), output: .file(names[1]),
            errors: .file(names[2]))
        return child.map { Outcome(code: $0.exitCode(), output: text(names[1]), errors: text(names[2])) }
    }

    private func text(_ path: String) -> String {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(file, &chunk, chunk.count)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A TCP socket that listens on a free port of the loopback interface.
func loopbackListener() throws -> (descriptor: CInt, port: Int) {
    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    try #require(descriptor >= 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
        }
    }
    try #require(bound && listen(descriptor, 128) == 0)
    return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
}

/// A server on a loopback port with a kubectl that knows it.
func withKubectl(
    _ configure: (inout APIServerConfiguration) -> Void = { _ in },
    _ body: (Kubectl, InProcessAPI) async throws -> Void
) async throws {
    let directory = try temporaryDirectory("weft-kubectl")
    defer { removeTree(directory) }
    let (descriptor, port) = try loopbackListener()
    var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
    configuration.publicPort = port
    configure(&configuration)
    let server = try await APIServer.start(configuration)
    let api = server.api(as: .administrator)
    let outcome: Result<Void, any Error>
    do {
        _ = try await api.create(
            .serviceAccounts,
            KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "default"))
        let kubectl = try Kubectl(home: directory, kubeconfig: directory + "/kubeconfig")
        outcome = .success(try await body(kubectl, api))
    } catch {
        outcome = .failure(error)
    }
    await server.stop()
    try outcome.get()
}
