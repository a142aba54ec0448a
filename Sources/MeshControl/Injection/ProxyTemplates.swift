import CProxyTemplates
import KubeClient
package import KubeTypes
import Wire

/// The files of `proxies/` and `policies/defaults/` that are linked into this program.
package enum ProxyTemplates {
    package static let paths: [String] = (0..<weft_template_count()).map {
        String(cString: weft_template_entry($0).path)
    }

    package static func text(_ path: String) -> String? {
        guard let index = paths.firstIndex(of: path) else { return nil }
        let found = weft_template_entry(index)
        return String(decoding: UnsafeBufferPointer(start: found.bytes, count: found.count), as: UTF8.self)
    }

    /// What a cluster has from its start: the system's namespace, the GatewayClass and Gateway, the gateway's pods; in order.
    package static func defaults(image: String, pullPolicy: String = "IfNotPresent") throws(TemplateFault)
        -> [KubeObject]
    {
        let values = ["image": image, "pullPolicy": pullPolicy]
        var objects: [KubeObject] = []
        for path in paths where path != InjectionTemplate.path {
            for document in try documents(path) { objects.append(KubeObject(try filled(document, values, path))) }
        }
        return objects
    }

    static func documents(_ path: String) throws(TemplateFault) -> [JSON] {
        guard let text = text(path) else { throw TemplateFault(path: path, message: "is not linked into this program") }
        do {
            return try yamlDocuments(text).map(\.json)
        } catch {
            throw TemplateFault(path: path, message: "\(error)")
        }
    }

    /// Puts values in the place of `${name}` in all strings.
    static func filled(_ json: JSON, _ values: [String: String], _ path: String) throws(TemplateFault) -> JSON {
        switch json {
        case .string(let text): return .string(try filled(text, values, path))
        case .array(let elements):
            var made: [JSON] = []
            for element in elements { made.append(try filled(element, values, path)) }
            return .array(made)
        case .object(let object):
            var made = JSONObject()
            for member in object { made.members.append(.init(member.key, try filled(member.value, values, path))) }
            return .object(made)
        default: return json
        }
    }

    private static func filled(_ text: String, _ values: [String: String], _ path: String) throws(TemplateFault)
        -> String
    {
        var result = ""
        var rest = text[...]
        while let start = rest.firstRange(of: "${") {
            result += rest[..<start.lowerBound]
            guard let end = rest[start.upperBound...].firstIndex(of: "}") else { break }
            let name = String(rest[start.upperBound..<end])
            guard let value = values[name] else {
                throw TemplateFault(path: path, message: "has no value for ${\(name)}")
            }
            result += value
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }
}

/// A template that cannot be used.
package struct TemplateFault: Error, Sendable, Hashable, CustomStringConvertible {
    package var path: String
    package var message: String
    package var description: String { "\(path): \(message)" }
}
