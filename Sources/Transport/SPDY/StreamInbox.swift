import Synchronization

/// What has come for one reader and was not yet read, bounded: who adds too much waits.
final class StreamInbox: Sendable {
    private struct State {
        var pieces: [[UInt8]] = []
        var count = 0
        var hasEnded = false
        var wasReset = false
        var reader: CheckedContinuation<[UInt8]?, Never>?
        var writer: CheckedContinuation<Void, Never>?
    }
    private let state = Mutex(State())

    /// Returns when the reader has less than `most` bytes before it, or the adding task was cancelled.
    func add(_ bytes: [UInt8], most: Int) async {
        let mustWait = state.withLock { state -> Bool in
            if state.hasEnded { return false }
            if let reader = state.reader {
                state.reader = nil
                reader.resume(returning: bytes)
                return false
            }
            state.pieces.append(bytes)
            state.count += bytes.count
            return state.count > most
        }
        guard mustWait else { return }
        // Perhaps nobody will ever read: then only the connection's end is an end.
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isFree = state.withLock { state -> Bool in
                    if state.hasEnded || state.count <= most { return true }
                    state.writer = continuation
                    return false
                }
                if isFree { continuation.resume() }
            }
        } onCancel: {
            end()
        }
    }

    var wasReset: Bool { state.withLock(\.wasReset) }

    func end(isReset: Bool = false) {
        let (reader, writer) = state.withLock { state in
            state.hasEnded = true
            if isReset { state.wasReset = true }
            defer { (state.reader, state.writer) = (nil, nil) }
            return (state.reader, state.writer)
        }
        reader?.resume(returning: nil)
        writer?.resume()
    }

    /// `nil` at the end, and when the reader's task was cancelled.
    func next() async -> [UInt8]? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let found = state.withLock {
                    state -> (bytes: [UInt8]?, isKnown: Bool, writer: CheckedContinuation<Void, Never>?) in
                    if !state.pieces.isEmpty {
                        let all = state.pieces.flatMap { $0 }
                        state.pieces = []
                        state.count = 0
                        defer { state.writer = nil }
                        return (all, true, state.writer)
                    }
                    if state.hasEnded { return (nil, true, nil) }
                    state.reader = continuation
                    return (nil, false, nil)
                }
                found.writer?.resume()
                if found.isKnown { continuation.resume(returning: found.bytes) }
            }
        } onCancel: {
            end()
        }
    }
}
