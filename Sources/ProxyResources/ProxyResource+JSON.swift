package import Wire

extension ProxyResource {
    /// Decodes what an xDS `Any` holds.
    ///
    /// `name`: the name the xDS resource has; the content must agree with it.
    /// Throws a `ResourceFault` naming the resource and the field; suitable as a NACK's `error_detail`.
    package static func decode(kind: Kind, name: String, bytes: [UInt8]) throws(ResourceFault) -> ProxyResource {
        let label = "\(kind.word) \(name)"
        let json: JSON
        do {
            json = try JSON(parsing: bytes)
        } catch {
            throw ResourceFault(resource: label, field: "", message: "is not JSON: \(error)")
        }
        let fields = try ResourceFields(json, of: label)
        let decoded: ProxyResource
        switch kind {
        case .workload: decoded = .workload(try Workload(fields))
        case .identity: decoded = .identity(try Identity(fields))
        case .servicePort: decoded = .servicePort(try ServicePort(fields))
        case .backend: decoded = .backend(try Backend(fields))
        case .destination: decoded = .destination(try Destination(fields))
        }
        guard decoded.name == name else {
            throw ResourceFault(resource: label, field: "", message: "holds the resource \(decoded.name)")
        }
        return decoded
    }

    package var json: JSON {
        switch self {
        case .workload(let value): value.json
        case .identity(let value): value.json
        case .servicePort(let value): value.json
        case .backend(let value): value.json
        case .destination(let value): value.json
        }
    }
}

extension ProxyResource.Kind {
    /// `ServicePort`: the type URL's last word.
    package var word: String {
        switch self {
        case .workload: "Workload"
        case .identity: "Identity"
        case .servicePort: "ServicePort"
        case .backend: "Backend"
        case .destination: "Destination"
        }
    }
}
