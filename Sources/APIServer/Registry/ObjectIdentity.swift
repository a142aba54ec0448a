import KubeTypes
import Wire

/// What the server gives every object.
enum ObjectIdentity {
    /// A random UUID (RFC 9562 version 4).
    static func newUID() -> String {
        var random = SystemRandomNumberGenerator()
        let (high, low): (UInt64, UInt64) = (random.next(), random.next())
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
        let end = (0..<5).map { _ in nameLetters[Int.random(in: 0..<nameLetters.count)] }
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
