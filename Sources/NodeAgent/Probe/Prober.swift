import ContainerRuntime
import Glibc
import Kernel
import ServiceNetwork
import Wire

/// Makes single attempts of probes and HTTP hooks, from inside the pod's network, past the rules that lead to its sidecar.
struct Prober: Sendable {
    let runtime: any PodRuntime
    let podUID: String
    let address: String
    /// `nil`: the machine's own.
    let networkNamespace: String?

    func attempt(_ handler: ProbeDescription.Handler, container id: String, within timeout: Duration) async
        -> ProbeOutcome
    {
        switch handler {
        case .command(let command): await run(command, in: id, within: timeout)
        case .http(let check): await request(check, within: timeout)
        case .tcp(let port, let host): await connect(port, host, within: timeout)
        case .grpc: .unknown("grpc probes are not supported on this node yet; use httpGet, tcpSocket or exec")
        case .impossible(let why): .unknown(why)
        }
    }

    private func run(_ command: [String], in id: String, within timeout: Duration) async -> ProbeOutcome {
        do throws(RuntimeFailure) {
            guard let outcome = try await ContainerCommand.run(command, in: id, of: podUID, runtime, within: timeout)
            else {
                return .failure(
                    "command timed out after \(timeout.components.seconds)s: \(command.joined(separator: " "))")
            }
            if outcome.code == 0 { return .success }
            return .failure("command exited with \(outcome.code): \(outcome.output)")
        } catch {
            // No such command is the container's failure; anything else is ours.
            return error.kind == .badCommand ? .failure(error.message) : .unknown(error.message)
        }
    }

    private func connect(_ port: Int, _ host: String?, within timeout: Duration) async -> ProbeOutcome {
        do throws(ProbeFailed) {
            _ = try await ProbeConnection(to: host ?? address, port: port, from: networkNamespace, within: timeout)
            return .success
        } catch {
            return .failure(error.message)
        }
    }

    private func request(_ check: HTTPCheck, within timeout: Duration) async -> ProbeOutcome {
        guard check.scheme == "http" else {
            return .unknown("https probes are not supported on this node yet; use http, tcpSocket or exec")
        }
        let url = "http://\(check.host ?? address):\(check.port)\(check.path)"
        do throws(ProbeFailed) {
            let connection = try await ProbeConnection(
                to: check.host ?? address, port: check.port, from: networkNamespace, within: timeout)
            try await connection.send(requestBytes(check))
            let answer = try await connection.receiveAnswer()
            if (200..<400).contains(answer.status) { return .success }
            return .failure("HTTP probe failed with statuscode: \(answer.status)")
        } catch {
            return .failure("Get \"\(url)\": \(error.message)")
        }
    }

    private func requestBytes(_ check: HTTPCheck) -> [UInt8] {
        var lines = ["GET \(check.path) HTTP/1.1"]
        let given = Set(check.headers.map { $0.name.lowercased() })
        if !given.contains("host") { lines.append("Host: \(check.host ?? address):\(check.port)") }
        if !given.contains("user-agent") { lines.append("User-Agent: kube-probe/1.37") }
        if !given.contains("accept") { lines.append("Accept: */*") }
        for header in check.headers { lines.append("\(header.name): \(header.value)") }
        lines.append("Connection: close")
        // A line break in a header's value would make another header of it.
        return lines.flatMap { Array($0.utf8.filter { $0 != 13 && $0 != 10 }) + [13, 10] } + [13, 10]
    }
}

struct ProbeFailed: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

/// A TCP connection of a probe, which lives until its deadline at most.
final class ProbeConnection: Sendable {
    private let socket: OwnedDescriptor
    private let deadline: ContinuousClock.Instant
    private let timeout: Duration

    init(to host: String, port: Int, from namespace: String?, within timeout: Duration) async throws(ProbeFailed) {
        self.timeout = timeout
        deadline = ContinuousClock.now + timeout
        guard let address = IPv4Address(host == "localhost" ? "127.0.0.1" : host), let port = UInt16(exactly: port)
        else {
            throw ProbeFailed("\"\(host)\" is not an IPv4 address; probes do not look up names")
        }
        let opened = await onThread { () -> Result<CInt, SystemCallFailed> in
            do throws(SystemCallFailed) {
                let socket = try NamespaceSocket.connect(
                    to: address, port: port, inNamespace: namespace, mark: Interception.probeMark)
                return .success(socket.release())
            } catch {
                return .failure(error)
            }
        }
        do throws(SystemCallFailed) { socket = OwnedDescriptor(taking: try opened.get()) } catch {
            throw ProbeFailed("dial tcp \(host):\(port): \(String(cString: strerror(error.code)))")
        }
        try await wait(.write)
        var code: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        getsockopt(socket.number, SOL_SOCKET, SO_ERROR, &code, &size)
        if code != 0 { throw ProbeFailed("dial tcp \(host):\(port): \(String(cString: strerror(code)))") }
    }

    private func wait(_ interest: DescriptorWatch.Interest) async throws(ProbeFailed) {
        let left = ContinuousClock.now.duration(to: deadline)
        guard left > .zero, !(await DescriptorWatch.shared.ready([socket.number], interest, within: left)).isEmpty
        else {
            throw ProbeFailed("timed out after \(timeout.components.seconds)s")
        }
    }

    func send(_ bytes: [UInt8]) async throws(ProbeFailed) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            let code = errno
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if code == EAGAIN {
                try await wait(.write)
            } else if code != EINTR {
                throw ProbeFailed(String(cString: strerror(code)))
            }
        }
    }

    struct Answer { var status: Int }

    /// Reads the status line; the rest of an answer says nothing about health.
    func receiveAnswer() async throws(ProbeFailed) -> Answer {
        var bytes: [UInt8] = []
        while !bytes.contains(10) {
            if bytes.count > 8192 { throw ProbeFailed("the first line of the answer is too long for HTTP") }
            var space = [UInt8](repeating: 0, count: 4096)
            let count = space.withUnsafeMutableBytes { recv(socket.number, $0.baseAddress, $0.count, 0) }
            let code = errno
            if count > 0 {
                bytes += space[..<count]
            } else if count == 0 {
                throw ProbeFailed("EOF")
            } else if code == EAGAIN {
                try await wait(.read)
            } else if code != EINTR {
                throw ProbeFailed(String(cString: strerror(code)))
            }
        }
        let words = String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self).split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/"), let status = Int(words[1].prefix(3)) else {
            throw ProbeFailed("malformed HTTP response")
        }
        return Answer(status: status)
    }
}
