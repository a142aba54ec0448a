import KubeTypes
import Synchronization
import TLS
import Wire

/// What the server gives every object.
enum ObjectIdentity {
    /// A random UUID (RFC 9562 version 4).
    static func newUID() -> String {
        let (high, low) = RandomNumbers.pair()
        return String(unsafeUninitializedCapacity: 36) { text in
            var place = 0
            for index in 0..<16 {
                if index == 4 || index == 6 || index == 8 || index == 10 {
                    text[place] = UInt8(ascii: "-")
                    place += 1
                }
                var byte = UInt8(truncatingIfNeeded: index < 8 ? high >> (8 * index) : low >> (8 * (index - 8)))
                if index == 6 { byte = byte & 0x0F | 0x40 }
                if index == 8 { byte = byte & 0x3F | 0x80 }
                text[place] = digit(byte >> 4)
                text[place + 1] = digit(byte & 15)
                place += 2
            }
            return 36
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }

    /// Letters and digits that spell no words, as Kubernetes' generated names end.
    private static let nameLetters = Array("bcdfghjklmnpqrstvwxz2456789".utf8)

    static func generatedName(_ prefix: String) -> String {
        var rest = RandomNumbers.pair().0
        let count = UInt64(nameLetters.count)
        let end = (0..<5).map { _ in
            defer { rest /= count }
            return nameLetters[Int(rest % count)]
        }
        return String(prefix.prefix(58)) + String(decoding: end, as: UTF8.self)
    }

    /// Members that the server owns, taken over from the stored object whatever the client sent.
    private static let kept = [
        "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "generation",
        "generateName", "selfLink",
    ]

    static func keep(from old: KubeObject, in object: inout KubeObject) {
        var metadata = object.metadata
        for member in kept { metadata[member] = old.metadata[member] }
        object.json["metadata"] = metadata
    }

    /// Whether nothing differs beside the version.
    static func isSame(_ one: KubeObject, _ other: KubeObject) -> Bool {
        func plain(_ object: KubeObject) -> JSON {
            var json = object.json
            json[path: ["metadata", "resourceVersion"]] = nil
            return json
        }
        return plain(one) == plain(other)
    }
}

/// Random numbers, made many at a time: the system's own generator is a call of the kernel for each, and each request takes some.
enum RandomNumbers {
    private struct State {
        var numbers: [UInt64] = []
    }
    private static let most = 128
    private static let state = Mutex(State())

    static func pair() -> (UInt64, UInt64) {
        state.withLock { state in
            if state.numbers.count < 2 { state.numbers = fresh() }
            return (state.numbers.removeLast(), state.numbers.removeLast())
        }
    }

    private static func fresh() -> [UInt64] {
        if let bytes = try? AESGCM.random(8 * most) {
            return bytes.withUnsafeBytes { bytes in
                (0..<most).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self) }
            }
        }
        var system = SystemRandomNumberGenerator()
        return (0..<most).map { _ in system.next() }
    }
}
