import Synchronization
import Wire

/// The expressions that programs match against, compiled once.
enum Patterns {
    private static let known = Mutex<[String: Pattern]>([:])
    private static let mostKnown = 1000

    static func find(_ text: String) throws(EvaluationFault) -> Pattern {
        if let pattern = known.withLock({ $0[text] }) { return pattern }
        do {
            let pattern = try Pattern(text)
            known.withLock { patterns in
                if patterns.count >= mostKnown { patterns.removeAll() }
                patterns[text] = pattern
            }
            return pattern
        } catch {
            throw .failed("error parsing regexp: \(error)")
        }
    }
}
