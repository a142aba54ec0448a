import CKernel
import Glibc
import Synchronization
import Wire

/// Which exchanges somebody wants to see.
struct TapFilter: Sendable, Equatable {
    struct Fault: Error, Equatable { let message: String }

    /// Both bounds are included.
    var statuses: ClosedRange<Int>?
    var path = ""
    var method = ""
    var host = ""
    var source = ""
    var requestID = ""
    var side: Side?
    var failedOnly = false
    /// Nanoseconds.
    var durationAtLeast: UInt64 = 0

    /// From a query's members; others than these are left alone.
    init(_ query: [(String, String)]) throws(Fault) {
        for (key, value) in query {
            switch key {
            case "status": statuses = try Self.statuses(value)
            case "path": path = value
            case "method": method = value.uppercased()
            case "host": host = value.lowercased()
            case "source": source = value
            case "id": requestID = value
            case "failed": failedOnly = value != "false" && value != "0"
            case "side":
                switch value {
                case "inbound": side = .inbound
                case "outbound": side = .outbound
                case "gateway": side = .gateway
                default: throw Fault(message: "side is \"\(value)\", must be inbound, outbound or gateway")
                }
            case "slow":
                guard let milliseconds = UInt64(value), milliseconds < 86_400_000 else {
                    throw Fault(message: "slow is \"\(value)\", must be a number of milliseconds")
                }
                durationAtLeast = milliseconds * 1_000_000
            default: break
            }
        }
    }

    /// `404`, `5xx`, `400-499` or `>=500`.
    private static func statuses(_ text: String) throws(Fault) -> ClosedRange<Int> {
        if let one = Int(text), (0...999).contains(one) { return one...one }
        if text.utf8.count == 3, text.lowercased().hasSuffix("xx"), let hundreds = Int(text.prefix(1)) {
            return hundreds * 100...hundreds * 100 + 99
        }
        if text.hasPrefix(">="), let least = Int(text.dropFirst(2)), (0...999).contains(least) { return least...999 }
        let ends = text.split(separator: "-").compactMap { Int($0) }
        if ends.count == 2, ends[0] <= ends[1] { return ends[0]...ends[1] }
        throw Fault(message: "status is \"\(text)\", must be a number, 5xx, 400-499 or >=500")
    }

    func admits(_ record: RequestRecord, _ pages: LabelPages) -> Bool {
        if let statuses, !statuses.contains(Int(record.status)) { return false }
        if let side, record.side != side { return false }
        if record.duration < durationAtLeast { return false }
        if failedOnly && !record.hasFailed { return false }
        if !method.isEmpty && record.string(record.method) != method { return false }
        if !path.isEmpty && !record.string(record.path).hasPrefix(path) { return false }
        if !host.isEmpty && !record.string(record.host).lowercased().hasPrefix(host) { return false }
        if !requestID.isEmpty && record.string(record.requestID) != requestID { return false }
        if !source.isEmpty {
            let caller = record.side == .inbound ? pages.peer(record.peer) : pages.own
            if caller.workload != source && caller.app != source { return false }
        }
        return true
    }
}

/// One reader of the live stream of records, as lines of JSON. Its buffer is bounded: a reader that is slow loses the stream.
final class Tap: Sendable {
    private static let mostWaiting = 1 << 20

    private struct State: ~Copyable {
        var lines: [UInt8] = []
        var left: Int
        var isOver = false
    }

    let filter: TapFilter
    private let state: Mutex<State>
    /// Rung when there is something to read.
    private let bell: CInt

    init(filter: TapFilter, most: Int, bell: CInt) {
        self.filter = filter
        self.bell = bell
        state = Mutex(State(left: most))
    }

    var isOver: Bool { state.withLock { $0.isOver } }

    func offer(_ line: @autoclosure () -> String) {
        if isOver { return }
        let bytes = Array(line().utf8)
        state.withLock { state in
            if state.isOver { return }
            state.left -= 1
            if state.left <= 0 { state.isOver = true }
            if state.lines.count + bytes.count > Self.mostWaiting {
                state.lines += Array("{\"ended\":\"the reader is too slow\"}\n".utf8)
                state.isOver = true
                return
            }
            state.lines += bytes
            state.lines.append(10)
        }
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    func end() { state.withLock { $0.isOver = true } }

    /// What has come since the last time, and whether that was all.
    func take() -> (lines: [UInt8], isOver: Bool) {
        state.withLock { state in
            let taken = state.lines
            state.lines = []
            return (taken, state.isOver)
        }
    }
}
