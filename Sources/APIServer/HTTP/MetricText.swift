/// Metrics in Prometheus' text form.
struct MetricText {
    typealias Labels = [(name: String, value: String)]
    enum Kind: String { case counter, gauge, histogram }

    private(set) var bytes: [UInt8] = []
    private var current = ""

    /// Begins a family; the samples that follow are its own.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        current = name
        line("# HELP \(name) \(help)")
        line("# TYPE \(name) \(kind.rawValue)")
    }

    mutating func sample(_ value: some CustomStringConvertible, _ labels: Labels = [], suffix: String = "") {
        guard !labels.isEmpty else {
            line("\(current)\(suffix) \(value)")
            return
        }
        let text = labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
        line("\(current)\(suffix){\(text)} \(value)")
    }

    mutating func sample(_ histogram: Histogram, _ labels: Labels = []) {
        var sum = 0
        for (bound, count) in zip(histogram.bounds, histogram.counts) {
            sum += count
            sample(sum, labels + [("le", "\(bound)")], suffix: "_bucket")
        }
        sum += histogram.counts[histogram.bounds.count]
        sample(sum, labels + [("le", "+Inf")], suffix: "_bucket")
        sample(histogram.sum, labels, suffix: "_sum")
        sample(sum, labels, suffix: "_count")
    }

    private mutating func line(_ text: String) {
        bytes += text.utf8
        bytes.append(UInt8(ascii: "\n"))
    }

    /// Names of webhooks and policies are users' own.
    private static func escaped(_ value: String) -> String {
        if value.utf8.allSatisfy({ $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "\"") && $0 >= 0x20 }) {
            return value
        }
        var result = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// How many observations were at most how large.
struct Histogram: Sendable {
    /// Upper bounds, ascending.
    let bounds: [Double]
    /// Each observation once, under the first bound that holds; the last is for those above all.
    private(set) var counts: [Int]
    private(set) var sum = 0.0

    var total: Int { counts.reduce(0, +) }

    init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.count + 1)
    }

    mutating func observe(_ value: Double) {
        counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum += value
    }
}

extension Duration {
    var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
