import Synchronization

/// Collects the warnings of one request.
final class WarningSink: Sendable {
    private let texts = Mutex<[String]>([])

    func add(_ text: String) { texts.withLock { $0.append(text) } }

    /// As values of `Warning` headers (RFC 9111 §5.5): code 299, no agent, quoted text. Each text once.
    var headers: [String] {
        var seen: Set<String> = []
        return texts.withLock { $0 }.filter { seen.insert($0).inserted }.map { text in
            var quoted = "299 - \""
            for character in text.unicodeScalars {
                switch character {
                case "\"", "\\":
                    quoted += "\\"
                    quoted.unicodeScalars.append(character)
                case _ where character.value < 0x20: quoted += " "
                default: quoted.unicodeScalars.append(character)
                }
            }
            return quoted + "\""
        }
    }
}
