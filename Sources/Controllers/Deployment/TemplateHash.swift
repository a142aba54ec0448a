import KubeTypes
import Wire

/// Tells pod templates apart: the value of the label `pod-template-hash`, the same wherever and whenever it is computed.
enum TemplateHash {
    static let label = "pod-template-hash"

    /// FNV-1a over the template's canonical JSON. A collision, counted in the Deployment's status, changes the hash.
    static func hash(of template: JSON, collisions: Int) -> String {
        var value: UInt32 = 2_166_136_261
        func mix(_ bytes: some Sequence<UInt8>) {
            for byte in bytes { value = (value ^ UInt32(byte)) &* 16_777_619 }
        }
        mix(canonical(template).bytes)
        if collisions > 0 { mix(String(collisions).utf8) }
        // No vowels and no digits that look like letters, so that no name spells a word.
        let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")
        return String(String(value).utf8.map { alphabet[Int($0) % alphabet.count] })
    }

    /// The template with members in order, without nulls, empty objects and our own label.
    static func canonical(_ template: JSON) -> JSON {
        var template = template
        template[path: ["metadata", "labels", label]] = nil
        return cleaned(template) ?? [:]
    }

    private static func cleaned(_ json: JSON) -> JSON? {
        switch json {
        case .null: return nil
        case .object(let object):
            let members = object.members
                .compactMap { member in cleaned(member.value).map { JSONObject.Member(member.key, $0) } }
                .sorted { $0.key < $1.key }
            return members.isEmpty ? nil : .object(JSONObject(members))
        case .array(let elements):
            return .array(elements.map { cleaned($0) ?? ($0.object == nil ? $0 : [:]) })
        default: return json
        }
    }
}
