import Glibc
package import KubeClient
package import KubeTypes

/// Reads one run's log for one reader, as far as it is asked; following looks again until the run has ended.
package actor LogReader {
    private let path: String
    private var filter: LogFilter
    private let follows: Bool
    private let hasEnded: @Sendable () async -> Bool
    private var files: [String]
    private var position: Int
    private var sawEnd = false
    private var identity: UInt?
    private var pause: Duration = .milliseconds(20)

    /// - Parameter hasEnded: whether the run has ended, so that nothing more will be written.
    package init(
        _ path: String, _ options: LogOptions, now: Timestamp = .now(), hasEnded: @escaping @Sendable () async -> Bool
    ) {
        self.path = path
        self.hasEnded = hasEnded
        follows = options.follow
        var since = options.sinceTime.flatMap { Timestamp($0) }
        if let seconds = options.sinceSeconds { since = now + (.zero - .seconds(seconds)) }
        filter = LogFilter(
            since: since, hasTimestamps: options.timestamps, limit: options.limitBytes,
            stream: options.stream)
        if let lines = options.tailLines {
            (files, position) = LogFiles(path: path).tail(max(0, lines))
        } else {
            (files, position) = (LogFiles(path: path).all, 0)
        }
    }

    nonisolated package var stream: AsyncThrowingStream<[UInt8], any Error> {
        AsyncThrowingStream(unfolding: { await self.next() })
    }

    /// - Returns: `nil` at the end.
    package func next() async -> [UInt8]? {
        while !Task.isCancelled {
            if filter.isExhausted { return nil }
            if let bytes = readMore() {
                pause = .milliseconds(20)
                let shown = filter.take(bytes[...])
                if !shown.isEmpty { return shown }
                continue
            }
            guard follows, !sawEnd else { return nil }
            // What it wrote before it ended is read once more after its end is known.
            sawEnd = await hasEnded()
            if sawEnd { continue }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(200))
        }
        return nil
    }

    private func readMore() -> [UInt8]? {
        while let name = files.first {
            guard let file = try? LogFile(name) else {
                if files.count == 1 { return nil }
                files.removeFirst()
                position = 0
                continue
            }
            if files.count == 1 {
                // Rotated since: the rest of the old file first, then the new one from its start.
                if let identity, identity != file.identity, let old = rotated(identity) {
                    files = [old, path]
                    self.identity = nil
                    continue
                }
                identity = file.identity
            }
            let bytes = file.read(at: position, 65536)
            if !bytes.isEmpty {
                position += bytes.count
                return bytes
            }
            if files.count == 1 { return nil }
            files.removeFirst()
            position = 0
        }
        return nil
    }

    private func rotated(_ identity: UInt) -> String? {
        LogFiles(path: path).all.dropLast().last { name in
            guard let file = try? LogFile(name) else { return false }
            return file.identity == identity
        }
    }
}
