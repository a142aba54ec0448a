import Synchronization

/// Collects the warnings of one request.
final class WarningSink: Sendable {
    /// Of all warnings together, in characters: clients and what is between refuse heads that are too long.
    private static let most = 4096
    /// Of each, when all are too long.
    private static let mostOfOne = 256
    private let texts = Mutex<[String]>([])

    func add(_ text: String) { texts.withLock { $0.append(text) } }

    /// As values of `Warning` headers (RFC 9111 §5.5): code 299, no agent, quoted text. Each text once.
    var headers: [String] {
        let all = texts.withLock { $0 }
        if all.isEmpty { return [] }
        var seen: Set<String> = []
        var unique = all.filter { seen.insert($0).inserted }
        if unique.reduce(0, { $0 + $1.utf8.count }) > Self.most {
            var left = Self.most
            unique = unique.map { String($0.prefix(Self.mostOfOne)) }.filter { text in
                left -= text.utf8.count
                return left >= 0
            }
        }
        return unique.map(Self.quoted)
    }

    private static func quoted(_ text: String) -> String {
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
