/// One sample of a Prometheus text exposition.
package struct MetricSample: Sendable, Hashable {
    package var name: String
    package var labels: [String: String]
    package var value: Double

    package init(name: String, labels: [String: String], value: Double) {
        self.name = name
        self.labels = labels
        self.value = value
    }
}

/// A line that is not what the exposition format allows.
package struct MetricsFault: Error, Sendable, Hashable, CustomStringConvertible {
    package var line: Int
    package var message: String
    package var description: String { "metrics line \(line): \(message)" }
}

/// Reads the Prometheus text format (0.0.4); timestamps are passed over.
package func metricSamples(_ text: String) throws(MetricsFault) -> [MetricSample] {
    var samples: [MetricSample] = []
    var number = 0
    for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
        number += 1
        var reader = SampleReader(bytes: line, line: number)
        if let sample = try reader.sample() { samples.append(sample) }
    }
    return samples
}

private struct SampleReader {
    var bytes: Substring.UTF8View
    let line: Int

    init(bytes: Substring.UTF8View, line: Int) {
        self.bytes = bytes
        self.line = line
    }

    mutating func sample() throws(MetricsFault) -> MetricSample? {
        skipSpace()
        guard let first = bytes.first, first != UInt8(ascii: "#"), first != UInt8(ascii: "\r") else { return nil }
        let name = take { $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        if name.isEmpty { throw fault("a sample must begin with a name") }
        var labels: [String: String] = [:]
        if bytes.first == UInt8(ascii: "{") {
            bytes.removeFirst()
            labels = try self.labels()
        }
        skipSpace()
        let text = take { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") && $0 != UInt8(ascii: "\r") }
        guard let value = Double(text == "+Inf" ? "inf" : text) else { throw fault("\"\(text)\" is not a value") }
        return MetricSample(name: name, labels: labels, value: value)
    }

    private mutating func labels() throws(MetricsFault) -> [String: String] {
        var labels: [String: String] = [:]
        while true {
            skipSpace()
            guard let next = bytes.first else { throw fault("labels do not end with }") }
            if next == UInt8(ascii: "}") {
                bytes.removeFirst()
                return labels
            }
            if next == UInt8(ascii: ",") {
                bytes.removeFirst()
                continue
            }
            let name = take { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: " ") }
            skipSpace()
            guard bytes.popFirst() == UInt8(ascii: "=") else { throw fault("label \(name) has no value") }
            skipSpace()
            guard bytes.popFirst() == UInt8(ascii: "\"") else {
                throw fault("the value of label \(name) is not quoted")
            }
            labels[name] = try quoted()
        }
    }

    private mutating func quoted() throws(MetricsFault) -> String {
        var value: [UInt8] = []
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: value, as: UTF8.self)
            case UInt8(ascii: "\\"):
                guard let escaped = bytes.popFirst() else { throw fault("a label's value does not end") }
                value.append(escaped == UInt8(ascii: "n") ? 0x0A : escaped)
            default: value.append(byte)
            }
        }
        throw fault("a label's value does not end")
    }

    private mutating func skipSpace() {
        while let byte = bytes.first, byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { bytes.removeFirst() }
    }

    private mutating func take(while holds: (UInt8) -> Bool) -> String {
        let taken = bytes.prefix(while: holds)
        bytes = bytes.dropFirst(taken.count)
        return String(Substring(taken))
    }

    private func fault(_ message: String) -> MetricsFault { MetricsFault(line: line, message: message) }
}
