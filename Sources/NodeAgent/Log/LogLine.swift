package import KubeClient
package import KubeTypes

/// One line of a container's log as the CRI writes it: `2026-01-02T03:04:05.000000006Z stdout F text`.
package struct LogLine: Sendable, Hashable {
    package var time: ArraySlice<UInt8>
    /// `stdout` or `stderr`.
    package var stream: ArraySlice<UInt8>
    /// Whether the program's line ends here; `P` lines are continued by the next.
    package var isWhole: Bool
    package var text: ArraySlice<UInt8>

    /// - Parameter line: without its line feed.
    /// - Returns: `nil` for a line that is not of this form, such as one torn by a full disk.
    package init?(_ line: ArraySlice<UInt8>) {
        let parts = line.split(separator: 32, maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let tag = parts[2].first else { return nil }
        time = parts[0]
        stream = parts[1]
        isWhole = tag == UInt8(ascii: "F")
        text = parts[3]
    }

    package var timestamp: Timestamp? { Timestamp(String(decoding: time, as: UTF8.self)) }
}

/// Turns log files' bytes into what a reader asked for.
package struct LogFilter: Sendable {
    private let since: Timestamp?
    private let hasTimestamps: Bool
    private let stream: LogStream
    private var left: Int
    private var rest: [UInt8] = []
    private var isPastStart: Bool
    /// The present program line began with a shown part.
    private var isContinued = false

    package init(since: Timestamp?, hasTimestamps: Bool, limit: Int?, stream: LogStream = .all) {
        self.since = since
        self.stream = stream
        self.hasTimestamps = hasTimestamps
        left = limit ?? .max
        isPastStart = since == nil
    }

    /// Nothing more will be shown: the limit is reached.
    package var isExhausted: Bool { left <= 0 }

    /// - Returns: what the bytes add to the output. A line that has not ended is kept for the next call.
    package mutating func take(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        rest += bytes
        var output: [UInt8] = []
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: 10) {
            show(rest[start..<end], in: &output)
            start = end + 1
            if isExhausted { break }
        }
        rest.removeSubrange(..<start)
        if output.count > left { output.removeLast(output.count - left) }
        left -= output.count
        return output
    }

    private mutating func show(_ raw: ArraySlice<UInt8>, in output: inout [UInt8]) {
        guard let line = LogLine(raw), stream.takes(line.stream) else { return }
        if !isPastStart {
            guard let since, let time = line.timestamp, time >= since else { return }
            isPastStart = true
        }
        if hasTimestamps, !isContinued {
            output += line.time
            output.append(32)
        }
        output += line.text
        if line.isWhole { output.append(10) }
        isContinued = !line.isWhole
    }
}

extension LogStream {
    fileprivate func takes(_ name: ArraySlice<UInt8>) -> Bool {
        switch self {
        case .all: true
        case .stdout: name.elementsEqual("stdout".utf8)
        case .stderr: name.elementsEqual("stderr".utf8)
        }
    }
}
