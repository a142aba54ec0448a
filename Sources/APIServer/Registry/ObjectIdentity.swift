import KubeTypes
import Wire

/// What the server gives every object.
enum ObjectIdentity {
    /// A random UUID (RFC 9562 version 4).
    static func newUID() -> String {
        var random = SystemRandomNumberGenerator()
        let (high, low): (UInt64, UInt64) = (random.next(), random.next())
        var bytes = (0..<8).map { UInt8(truncatingIfNeeded: high >> (8 * $0)) }
        bytes += (0..<8).map { UInt8(truncatingIfNeeded: low >> (8 * $0)) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append(UInt8(ascii: "-")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

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
