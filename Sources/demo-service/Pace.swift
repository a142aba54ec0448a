import CKernel
import Glibc

/// `demo-service pace PORT RATE CONNECTIONS SECONDS PATH [HEADER…]`: requests at fixed times, whatever the answers do.
///
/// Each request has its time, on its connection, before the run begins. A request's latency counts from that time, also when its
/// connection was still busy with the one before: what a slow answer does to those behind it is measured, not left out.
struct Pace: ~Copyable {
    private struct Line {
        var descriptor: CInt
        /// When the next request is due.
        var due: UInt64
        /// When the request in flight was due; 0 for none.
        var asked: UInt64 = 0
        var head: [UInt8] = []
        /// Of the answer's body, still to come; nil while its head is not whole.
        var rest: Int?
    }

    private let rate: Int
    private let seconds: Int
    private let request: [UInt8]
    private let poll: CInt
    private var lines: [Line] = []
    private var latencies: [UInt64] = []
    private var failed = 0

    static func run(_ arguments: [String]) -> CInt {
        let numbers = arguments.prefix(4).compactMap { Int($0) }
        guard arguments.count >= 5, numbers.count == 4, let port = UInt16(exactly: numbers[0]), port > 0,
            (1...100_000).contains(numbers[1]), (1...1000).contains(numbers[2]), (1...3600).contains(numbers[3])
        else {
            say("usage: demo-service pace PORT RATE CONNECTIONS SECONDS PATH [HEADER...]", to: 2)
            return 2
        }
        weft_precise_timers()
        var head = "GET \(arguments[4]) HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        for header in arguments.dropFirst(5) { head += header + "\r\n" }
        var pace = Pace(rate: numbers[1], seconds: numbers[3], request: Array((head + "\r\n").utf8))
        guard pace.open(numbers[2], port) else {
            say("demo-service: pace: no connection to port \(port)", to: 2)
            return 1
        }
        pace.go()
        pace.tell()
        return pace.failed == 0 ? 0 : 1
    }

    private init(rate: Int, seconds: Int, request: [UInt8]) {
        self.rate = rate
        self.seconds = seconds
        self.request = request
        poll = weft_poll_create()
        latencies.reserveCapacity(rate * (seconds + 1))
    }

    private mutating func open(_ count: Int, _ port: UInt16) -> Bool {
        let start = weft_monotonic_nanoseconds() + 50_000_000
        for place in 0..<count {
            let descriptor = weft_connect_ipv4(0x7F00_0001, port)
            if descriptor < 0 { return false }
            weft_no_delay(descriptor)
            _ = weft_poll_add(poll, descriptor, UInt64(place))
            lines.append(Line(descriptor: descriptor, due: start + UInt64(place) * 1_000_000_000 / UInt64(rate)))
        }
        return true
    }

    private mutating func go() {
        let step = UInt64(lines.count) * 1_000_000_000 / UInt64(rate)
        let end = weft_monotonic_nanoseconds() + UInt64(seconds) * 1_000_000_000
        let patience = end + 5_000_000_000
        let events = UnsafeMutableRawPointer.allocate(byteCount: 256 * Int(WEFT_EVENT_SIZE), alignment: 16)
        defer { events.deallocate() }
        while true {
            let now = weft_monotonic_nanoseconds()
            var next = patience
            var isBusy = false
            for place in lines.indices {
                if lines[place].asked != 0 {
                    isBusy = true
                } else if lines[place].due < end {
                    if lines[place].due <= now {
                        ask(place)
                        lines[place].due += step
                        isBusy = true
                    } else {
                        next = min(next, lines[place].due)
                    }
                }
            }
            if now >= patience || (!isBusy && next == patience) { break }
            let count = weft_poll_wait_nanoseconds(poll, events, 256, next > now ? next - now : 0)
            for index in 0..<max(0, Int(count)) { answer(Int(weft_event_key(events, index))) }
        }
        failed += lines.count { $0.asked != 0 }
    }

    private mutating func ask(_ place: Int) {
        lines[place].asked = lines[place].due
        lines[place].head.removeAll(keepingCapacity: true)
        lines[place].rest = nil
        let sent = request.withUnsafeBytes { weft_tcp_send(lines[place].descriptor, $0.baseAddress, $0.count) }
        if sent != request.count { give(up: place) }
    }

    private mutating func give(up place: Int) {
        failed += 1
        lines[place].asked = 0
        lines[place].due = .max
    }

    private mutating func answer(_ place: Int) {
        var space = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = space.withUnsafeMutableBytes {
                weft_tcp_receive(lines[place].descriptor, $0.baseAddress, $0.count)
            }
            if count == -Int(EAGAIN) { return }
            if count <= 0 {
                if lines[place].asked != 0 || lines[place].due != .max { give(up: place) }
                return
            }
            take(place, space[..<count])
        }
    }

    private mutating func take(_ place: Int, _ bytes: ArraySlice<UInt8>) {
        if lines[place].asked == 0 { return }
        if let rest = lines[place].rest {
            lines[place].rest = rest - bytes.count
        } else {
            lines[place].head += bytes
            guard let end = Self.end(of: lines[place].head) else { return }
            let text = String(decoding: lines[place].head[..<end], as: UTF8.self).lowercased()
            guard text.hasPrefix("http/1.1 200"), let length = Self.length(text) else {
                give(up: place)
                return
            }
            lines[place].rest = length - (lines[place].head.count - end)
        }
        if let rest = lines[place].rest, rest <= 0 {
            latencies.append(weft_monotonic_nanoseconds() - lines[place].asked)
            lines[place].asked = 0
        }
    }

    private static func end(of head: [UInt8]) -> Int? {
        guard head.count >= 4 else { return nil }
        for place in 0...(head.count - 4)
        where head[place] == 13 && head[place + 1] == 10 && head[place + 2] == 13 && head[place + 3] == 10 {
            return place + 4
        }
        return nil
    }

    private static func length(_ head: String) -> Int? {
        for line in head.split(separator: "\r\n") where line.hasPrefix("content-length:") {
            return Int(line.dropFirst(15).drop { $0 == " " })
        }
        return nil
    }

    /// Milliseconds, as JSON.
    private mutating func tell() {
        latencies.sort()
        func at(_ share: Double) -> Double {
            latencies.isEmpty ? 0 : Double(latencies[Int(Double(latencies.count - 1) * share)]) / 1e6
        }
        say(
            "{\"answered\": \(latencies.count), \"failed\": \(failed), \"p50\": \(at(0.5)), \"p99\": \(at(0.99)), \"max\": \(at(1))}",
            to: 1)
    }
}
