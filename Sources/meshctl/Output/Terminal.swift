import Glibc
import Synchronization

/// Where people read: colour only on a terminal, never with NO_COLOR (no-color.org).
enum Terminal {
    static let hasColour = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == nil

    static func green(_ text: String) -> String { coloured(text, "32") }
    static func red(_ text: String) -> String { coloured(text, "31") }
    static func yellow(_ text: String) -> String { coloured(text, "33") }
    static func bold(_ text: String) -> String { coloured(text, "1") }
    static func dim(_ text: String) -> String { coloured(text, "2") }

    private static func coloured(_ text: String, _ code: String) -> String {
        hasColour ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }

    static func error(_ text: String) {
        var bytes = Array("\(text)\n".utf8)
        _ = write(STDERR_FILENO, &bytes, bytes.count)
    }
}

/// The steps of long work, one line each with the time it took.
struct StepReport: Sendable {
    private let start = ContinuousClock.now

    var elapsed: Duration { ContinuousClock.now - start }

    func done(_ step: String, took: Duration, _ remark: String = "") {
        let tail = remark.isEmpty ? "" : Terminal.dim("  \(remark)")
        print("  \(Terminal.green("✓")) \(step.padded(to: 44)) \(took.seconds.padded(toRight: 8))\(tail)")
        fflush(nil)
    }

    func failed(_ step: String, _ why: String) {
        print("  \(Terminal.red("✗")) \(step): \(why)")
        fflush(nil)
    }

    /// Runs a step and reports it.
    func step<Result>(_ name: String, _ body: () async throws -> Result) async throws -> Result {
        let begin = ContinuousClock.now
        do {
            let result = try await body()
            done(name, took: ContinuousClock.now - begin)
            return result
        } catch {
            failed(name, "\(error)")
            throw error
        }
    }
}

extension Duration {
    var milliseconds: Double {
        Double(components.seconds) * 1000 + Double(components.attoseconds) / 1e15
    }

    /// `0.42 s`
    var seconds: String { "\(decimal(milliseconds / 1000, places: 2)) s" }
}

extension String {
    func padded(to width: Int) -> String { self + String(repeating: " ", count: Swift.max(0, width - count)) }
    func padded(toRight width: Int) -> String { String(repeating: " ", count: Swift.max(0, width - count)) + self }
}

/// A number with a fixed count of decimals, without Foundation.
func decimal(_ value: Double, places: Int) -> String {
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = Int64((abs(value) * scale).rounded())
    let sign = value < 0 && scaled != 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let whole = scaled / Int64(scale)
    let fraction = String(scaled % Int64(scale))
    return "\(sign)\(whole)." + String(repeating: "0", count: places - fraction.count) + fraction
}
