import Glibc
import Synchronization

/// What clients saw.
struct LoadResult: CustomStringConvertible {
    var served = 0
    var failed = 0
    var reasons: [String: Int] = [:]

    static func + (one: LoadResult, other: LoadResult) -> LoadResult {
        LoadResult(
            served: one.served + other.served, failed: one.failed + other.failed,
            reasons: one.reasons.merging(other.reasons, uniquingKeysWith: +))
    }

    var description: String { "\(served) served, \(failed) failed: \(reasons)" }
}

/// Clients of HTTP/1.1 that keep their connections, and leave them when told, until they are told to stop.
final class Load: Sendable {
    private struct State {
        var result = LoadResult()
        var running: Int
        var isStopped = false
    }
    private let state: Mutex<State>
    /// Where new connections go.
    private let port: Atomic<Int>
    private let body: [UInt8]
    private let pause: UInt32

    /// - Parameters:
    ///   - body: sent with each request, whose answer must be the same; empty for GET.
    ///   - pause: microseconds between two requests of a client.
    init(port: Int, connections: Int, body: [UInt8] = [], pause: UInt32 = 0) {
        state = Mutex(State(running: connections))
        self.port = Atomic(port)
        self.body = body
        self.pause = pause
        for number in 0..<connections { spawn { [self] in ask(number) } }
    }

    /// New connections go elsewhere from now on; those there are stay.
    func move(to other: Int) { port.store(other, ordering: .sequentiallyConsistent) }

    private func connect() -> Visitor { Visitor(port: port.load(ordering: .sequentiallyConsistent)) }

    private func ask(_ number: Int) {
        var visitor = connect()
        var count = 0
        while !state.withLock({ $0.isStopped }) {
            count += 1
            // Some clients keep their connection, some bring new ones.
            if number % 4 == 3 && count % 10 == 0 {
                visitor.end()
                visitor = connect()
            }
            let response = body.isEmpty ? visitor.get("/name") : visitor.post("/echo", body)
            let fault = fault(of: response)
            state.withLock {
                if let fault {
                    $0.result.failed += 1
                    $0.result.reasons[fault, default: 0] += 1
                } else {
                    $0.result.served += 1
                }
            }
            if fault != nil || response.flatMap({ header("connection", $0.head) }) == "close" {
                visitor.end()
                visitor = connect()
            }
            if pause > 0 { usleep(pause) }
        }
        visitor.end()
        state.withLock { $0.running -= 1 }
    }

    private func fault(of response: Visitor.Response?) -> String? {
        guard let response else { return "no answer" }
        if response.status != 200 { return "\(response.status) \(response.reason ?? "")" }
        return body.isEmpty || response.body == body ? nil : "another body"
    }

    var served: Int { state.withLock { $0.result.served } }

    func finish() -> LoadResult {
        state.withLock { $0.isStopped = true }
        _ = eventually { state.withLock { $0.running } == 0 }
        return state.withLock { $0.result }
    }
}

/// Somebody else's client, run again and again until it is told to stop.
final class LoadProgram: Sendable {
    private struct State {
        var result = LoadResult()
        var runs = 0
        var isStopped = false
        var hasEnded = false
    }
    private let state = Mutex(State())

    /// - Parameter read: what one run says of itself; its status is 0 unless the program failed.
    init(_ command: @escaping @Sendable () -> String, _ read: @escaping @Sendable (String, Int32) -> LoadResult) {
        spawn { [self] in
            while !state.withLock({ $0.isStopped }) {
                let said = output(of: command())
                let result = read(said.text, said.status)
                state.withLock {
                    $0.result = $0.result + result
                    $0.runs += 1
                }
            }
            state.withLock { $0.hasEnded = true }
        }
    }

    var served: Int { state.withLock { $0.result.served } }

    func finish() -> LoadResult {
        state.withLock { $0.isStopped = true }
        _ = eventually { state.withLock { $0.hasEnded } }
        return state.withLock { $0.result }
    }

    /// HTTP/1.1 on kept connections.
    static func wrk(_ port: Int, connections: Int = 4) -> LoadProgram {
        LoadProgram({ "wrk -t1 -c\(connections) -d1s http://127.0.0.1:\(port)/name" }) { text, status in
            var result = LoadResult(served: number(before: " requests in", text))
            for line in text.split(separator: "\n").map({ $0.drop { $0 == " " } }) {
                if line.hasPrefix("Non-2xx or 3xx responses: ") || line.hasPrefix("Socket errors: ") {
                    result.failed += 1
                    result.reasons["wrk: \(line)", default: 0] += 1
                }
            }
            if status != 0 { result.fail("wrk: \(text)") }
            return result
        }
    }

    /// HTTP/2, many streams on each connection.
    static func h2load(_ port: Int, requests: Int = 400, more: String = "") -> LoadProgram {
        LoadProgram({ "h2load -n \(requests) -c 2 -m 10 \(more) http://127.0.0.1:\(port)/echo" }) { text, status in
            var result = LoadResult(served: number(before: " 2xx", text))
            if status != 0 || result.served != requests || !text.contains(" 0 failed, 0 errored, 0 timeout") {
                let lines = text.split(separator: "\n").filter { $0.hasPrefix("requests:") || $0.hasPrefix("status") }
                result.fail("h2load: \(lines.joined(separator: " "))")
            }
            return result
        }
    }

    private static func number(before word: String, _ text: String) -> Int {
        guard let end = text.range(of: word)?.lowerBound else { return 0 }
        return Int(text[..<end].reversed().prefix { $0.isNumber }.reversed().map(String.init).joined()) ?? 0
    }
}

extension LoadResult {
    mutating func fail(_ reason: String) {
        failed += 1
        reasons[reason, default: 0] += 1
    }
}

extension String {
    /// The first place of a text, without Foundation.
    fileprivate func range(of word: String) -> Range<String.Index>? {
        var place = startIndex
        while place < endIndex {
            if self[place...].hasPrefix(word) { return place..<index(place, offsetBy: word.count) }
            place = index(after: place)
        }
        return nil
    }
}

/// Bytes that repeat nowhere within a window.
func noise(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) } }

/// A file with these bytes, for programs that send it.
func temporaryFile(_ bytes: [UInt8]) -> String {
    let path = "/tmp/weft-body-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    guard let file = fopen(path, "w") else { return path }
    bytes.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, file) }
    fclose(file)
    return path
}
