import KubeTypes
import Synchronization

/// The most recent events as watches send them, each written once for all watchers of its kind and version.
final class EventLines: Sendable {
    struct Key: Hashable {
        let revision: Int64
        let definition: ObjectIdentifier
        let kind: UInt8
        let form: AnswerForm
    }
    private struct State {
        var lines: [Key: [UInt8]] = [:]
        var order: [Key] = []
        var oldest = 0
        var bytes = 0
    }

    private static let mostLines = 1024
    private static let mostBytes = 4 << 20
    private let state = Mutex(State())

    func line(_ key: Key, _ write: () -> [UInt8]) -> [UInt8] {
        if let found = state.withLock({ $0.lines[key] }) { return found }
        let line = write()
        state.withLock { state in
            guard state.lines.updateValue(line, forKey: key) == nil else { return }
            state.order.append(key)
            state.bytes += line.count
            while state.order.count - state.oldest > Self.mostLines || state.bytes > Self.mostBytes {
                guard state.oldest < state.order.count else { break }
                if let gone = state.lines.removeValue(forKey: state.order[state.oldest]) { state.bytes -= gone.count }
                state.oldest += 1
            }
            if state.oldest > Self.mostLines {
                state.order.removeFirst(state.oldest)
                state.oldest = 0
            }
        }
        return line
    }
}
