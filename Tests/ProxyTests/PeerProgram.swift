import CKernel
import Glibc
import ProxyResources

@testable import Proxy

/// Runs a command to its end and gives what it wrote, and its status.
func output(of command: String) -> (text: String, status: Int32) {
    guard let pipe = popen("\(command) 2>&1", "r") else { return ("", -1) }
    var text: [UInt8] = []
    var space = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = fread(&space, 1, space.count, pipe)
        if count == 0 { break }
        text += space[..<count]
    }
    let status = pclose(pipe)
    return (String(decoding: text, as: UTF8.self), status >> 8 & 0xFF)
}

/// One of the Python programs in `Peers`, running beside a test. What it writes is read line by line.
final class PeerProgram {
    static let python = ".build/tools/bin/python"
    static func path(_ name: String) -> String {
        let here = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        return "/\(here)/Peers/\(name)"
    }

    private var process: pid_t = 0
    private let reading: CInt
    private let writing: CInt
    private var pending: [UInt8] = []

    init(_ name: String, _ arguments: String...) {
        var fromChild: [CInt] = [0, 0]
        var toChild: [CInt] = [0, 0]
        pipe(&fromChild)
        pipe(&toChild)
        for end in fromChild + toChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reading = fromChild[0]
        writing = toChild[1]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
        var words = ([Self.python, Self.path(name)] + arguments).map { strdup($0) } + [nil]
        posix_spawn(&process, Self.python, &actions, nil, &words, nil)
        for word in words { free(word) }
        posix_spawn_file_actions_destroy(&actions)
        close(fromChild[1])
        close(toChild[0])
    }

    /// The next line, within a minute; nil at the end.
    func line() -> String? {
        while true {
            if let end = pending.firstIndex(of: 10) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeFirst(end + 1)
                return line
            }
            var waiting = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, 60_000) <= 0 { return nil }
            var space = [UInt8](repeating: 0, count: 4096)
            let count = read(reading, &space, space.count)
            if count <= 0 { return nil }
            pending += space[..<count]
        }
    }

    /// The port it says it listens on.
    func port() -> Int { line().flatMap { Int($0) } ?? 0 }

    func say(_ text: String) {
        let bytes = Array("\(text)\n".utf8)
        _ = write(writing, bytes, bytes.count)
    }

    /// Waits for its end and gives its status.
    func status() -> Int32 {
        var status: Int32 = 0
        waitpid(process, &status, 0)
        process = 0
        return status >> 8 & 0xFF
    }

    func end() {
        if process > 0 {
            kill(process, SIGKILL)
            _ = status()
        }
        close(reading)
        close(writing)
    }
}

/// A gateway and a sidecar before an app of any kind, over mutual TLS, speaking HTTP/2 between them where they can.
struct TestHops {
    let gateway: TestGateway
    let sidecar: DataPlane

    init(
        app port: Int, speaks appProtocol: AppProtocol, multiplexing: Multiplexing = .byLoad,
        policies: [String] = []
    ) throws {
        let authority = try TestAuthority()
        let inbound = freePort()
        gateway = try TestGateway()
        sidecar = try DataPlane(
            loops: 1,
            listeners: [
                ListenerOption(
                    side: .inbound, address: "127.0.0.1", port: inbound, destination: "127.0.0.1:\(port)")
            ], seed: 3)
        var own = workload("catalog") {
            $0.mutualTLS = .strict
            $0.inboundPorts = [
                InboundPort(port: port, appProtocol: appProtocol, service: "catalog.demo.svc.cluster.local")
            ]
        }
        own.security.policies = try policies.map { try policy($0) }
        try sidecar.apply(ProxyConfiguration(workload: own), identity: try authority.identity("catalog"))
        var destination = backend("catalog", [endpoint(inbound, principal: TestAuthority.principal("catalog"))])
        destination.appProtocol = appProtocol
        var configuration = gateway.configuration([rule([("catalog", 1)])], [destination])
        configuration.workload.multiplexing = multiplexing
        try gateway.plane.apply(configuration, identity: try authority.identity("frontend"))
        guard eventually({ gateway.plane.collect().allSatisfy { $0.counts.generation > 0 } }),
            eventually({ sidecar.collect().allSatisfy { $0.counts.generation > 0 } })
        else { throw ConfigurationFault("the loops did not take the configuration") }
    }

    func end() {
        gateway.plane.stop()
        sidecar.stop()
    }
}
