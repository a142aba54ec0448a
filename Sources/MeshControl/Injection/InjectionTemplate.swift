package import Wire

/// What injection adds to a pod: `proxies/sidecar/injection.yaml`, read.
package struct InjectionTemplate: Sendable, Hashable {
    package static let path = "proxies/sidecar/injection.yaml"

    package var values: [String: String]
    package var annotations: [String: String]
    package var container: JSON
    package var volumes: [JSON]

    /// The template linked into this program.
    ///
    /// `values`: come before those of the file, for example the image of this version.
    package static func linked(values: [String: String] = [:]) throws(TemplateFault) -> InjectionTemplate {
        guard let document = try ProxyTemplates.documents(path).first else {
            throw TemplateFault(path: path, message: "is empty")
        }
        return try InjectionTemplate(document, values: values, path: path)
    }

    package init(_ json: JSON, values: [String: String] = [:], path: String) throws(TemplateFault) {
        guard let container = json["container"], container["name"]?.string != nil else {
            throw TemplateFault(path: path, message: "container.name is required")
        }
        let volumes = json["volumes"]?.array ?? []
        guard volumes.allSatisfy({ $0["name"]?.string != nil }) else {
            throw TemplateFault(path: path, message: "volumes: each needs a name")
        }
        self.container = container
        self.volumes = volumes
        annotations = json["annotations"]?.stringMap ?? [:]
        self.values = (json["values"]?.stringMap ?? [:]).merging(values) { $1 }
        // Whatever pods ask for later, the template itself must be whole.
        _ = try ProxyTemplates.filled(container, self.values, path)
    }
}
