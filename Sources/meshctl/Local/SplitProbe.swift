import Glibc
import Kernel
import Synchronization

/// What came back from many requests to one URL on loopback.
struct SplitResult: Sendable {
    var answers: [String: Int] = [:]  // by the value of the header asked for
    var failures: [String: Int] = [:]  // by what went wrong
    var took: Duration = .zero
    var latencies: [Duration] = []

    var count: Int { answers.values.reduce(0, +) + failures.values.reduce(0, +) }

    func percentile(_ share: Double) -> Duration {
        guard !latencies.isEmpty else { return .zero }
        let sorted = latencies.sorted()
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }
}

/// Sends GET requests over a few kept-alive connections and counts the answers by one response header.
struct SplitProbe: Sendable {
    var port: Int
    var host: String
    var path: String
    var header: String  // lower case
    var requests: Int
    var connections = 8

    func run() async -> SplitResult {
        let begin = ContinuousClock.now
        var total = SplitResult()
        await withTaskGroup(of: SplitResult.self) { group in
            for index in 0..<connections {
                let share = requests / connections + (index < requests % connections ? 1 : 0)
                group.addTask {
                    await onThread { self.oneConnection(share) }
                }
            }
            for await result in group {
                total.answers.merge(result.answers, uniquingKeysWith: +)
                total.failures.merge(result.failures, uniquingKeysWith: +)
                total.latencies += result.latencies
            }
        }
        total.took = ContinuousClock.now - begin
        return total
    }

    private func oneConnection(_ share: Int) -> SplitResult {
        var result = SplitResult()
        var connection: LoopbackHTTP?
        for _ in 0..<share {
            let begin = ContinuousClock.now
            do {
                if connection == nil { connection = try LoopbackHTTP(port: port) }
                guard let open = connection else { continue }
                let answer = try open.get(path, host: host)
                if answer.closes { connection = nil }
                result.latencies.append(ContinuousClock.now - begin)
                if answer.status == 200 {
                    result.answers[answer.headers[header] ?? "(no \(header) header)", default: 0] += 1
                } else {
                    let why = answer.headers["x-weft-reason"].map { " (\($0))" } ?? ""
                    result.failures["status \(answer.status)\(why)", default: 0] += 1
                }
            } catch {
                connection = nil
                result.failures["\(error)", default: 0] += 1
            }
        }
        return result
    }
}

/// One kept-alive HTTP/1.1 connection to 127.0.0.1, blocking, for small answers.
final class LoopbackHTTP {
    struct Answer {
        var status: Int
        var headers: [String: String]
        var body: [UInt8]
        var closes: Bool
    }

    private let socket: OwnedDescriptor
    private let port: Int
    private var received: [UInt8] = []

    init(port: Int, timeout: Int = 15) throws {
        self.port = port
        let number = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw SystemCallFailed("socket", code: errno, on: "127.0.0.1:\(port)") }
        socket = OwnedDescriptor(taking: number)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw SystemCallFailed("connect", code: errno, on: "127.0.0.1:\(port)") }
    }

    func get(_ path: String, host: String) throws -> Answer {
        let request = Array("GET \(path) HTTP/1.1\r\nhost: \(host)\r\nuser-agent: meshctl\r\naccept: */*\r\n\r\n".utf8)
        let sent = request.withUnsafeBytes { send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
        guard sent == request.count else { throw SystemCallFailed("send", code: errno, on: "127.0.0.1:\(port)") }
        var headEnd = endOfHead()
        while headEnd == nil {
            try receive()
            headEnd = endOfHead()
        }
        guard let headEnd else { throw CommandFailure("127.0.0.1:\(port) sent no complete answer") }
        var lines = String(decoding: received[..<headEnd], as: UTF8.self).split(separator: "\r\n")
        let status = lines.first.flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) } ?? 0
        lines.removeFirst()
        var headers: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmed
        }
        received.removeFirst(headEnd + 4)
        let body = try readBody(headers)
        return Answer(
            status: status, headers: headers, body: body, closes: headers["connection"]?.lowercased() == "close")
    }

    private func readBody(_ headers: [String: String]) throws -> [UInt8] {
        if headers["transfer-encoding"]?.lowercased() == "chunked" { return try readChunks() }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        while received.count < length { try receive() }
        defer { received.removeFirst(length) }
        return Array(received[..<length])
    }

    private func readChunks() throws -> [UInt8] {
        var body: [UInt8] = []
        while true {
            let line = try readLine()
            guard let size = Int(line.split(separator: ";").first.map(String.init)?.trimmed ?? "", radix: 16) else {
                throw CommandFailure("127.0.0.1:\(port) sent a bad chunk size: \(line)")
            }
            while received.count < size + 2 { try receive() }
            body += received[..<size]
            received.removeFirst(size + 2)
            if size == 0 { return body }
        }
    }

    private func readLine() throws -> String {
        while true {
            if let end = received.firstIndex(of: 0x0A) {
                let line = String(decoding: received[..<end], as: UTF8.self)
                received.removeFirst(end + 1)
                return line.trimmed
            }
            try receive()
        }
    }

    private func endOfHead() -> Int? {
        guard received.count >= 4 else { return nil }
        for index in 0...(received.count - 4)
        where received[index] == 13 && received[index + 1] == 10 && received[index + 2] == 13
            && received[index + 3] == 10
        {
            return index
        }
        return nil
    }

    private func receive() throws {
        var chunk = [UInt8](repeating: 0, count: 16_384)
        switch try chunk.withUnsafeMutableBytes({ try socket.read(into: $0) }) {
        case .bytes(let count): received += chunk[..<count]
        case .endOfStream: throw CommandFailure("127.0.0.1:\(port) closed the connection before the answer's end")
        case .wouldBlock: throw CommandFailure("127.0.0.1:\(port) did not answer in time")
        }
    }
}

extension StringProtocol {
    var trimmed: String {
        var text = Substring(self)
        while let first = text.first, first == " " || first == "\t" || first == "\r" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" || last == "\r" { text.removeLast() }
        return String(text)
    }
}
