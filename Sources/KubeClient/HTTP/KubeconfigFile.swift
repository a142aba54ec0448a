internal import Kernel
package import TLS
internal import Wire

/// What a kubeconfig's current context says: where the server is, whom to trust, who we are.
package struct KubeconfigFile: Sendable {
    package var host: String
    package var port: UInt16
    package var namespace: String
    var roots: [UInt8]  // PEM
    var certificate: [UInt8]  // PEM, may be empty
    var key: [UInt8]
    var token: String?

    package struct Fault: Error, CustomStringConvertible { package let description: String }

    package static func load(_ path: String) throws -> KubeconfigFile {
        let text = String(decoding: try SmallFile.read(path), as: UTF8.self)
        let documents: [YAMLDocument]
        do { documents = try yamlDocuments(text) } catch {
            throw Fault(description: "\(path) is no kubeconfig: \(error)")
        }
        guard let json = documents.first?.json else { throw Fault(description: "\(path) is empty") }
        do { return try KubeconfigFile(json, directory: folder(of: path)) } catch let fault as Fault {
            throw Fault(description: "\(path): \(fault.description)")
        }
    }

    init(_ json: JSON, directory: String) throws {
        func named(_ list: String, _ name: String, _ inner: String) throws -> JSON {
            guard let entry = json[list]?.array?.first(where: { $0["name"]?.string == name }) else {
                throw Fault(description: "\(list) has no entry named \"\(name)\"")
            }
            return entry[inner] ?? .object(JSONObject())
        }
        guard let current = json["current-context"]?.string, !current.isEmpty else {
            throw Fault(description: "current-context is not set")
        }
        let context = try named("contexts", current, "context")
        let cluster = try named("clusters", context["cluster"]?.string ?? "", "cluster")
        let user = try named("users", context["user"]?.string ?? "", "user")
        func bytes(_ object: JSON, _ field: String) throws -> [UInt8] {
            if let text = object["\(field)-data"]?.string {
                guard let decoded = Base64.decode(text) else { throw Fault(description: "\(field)-data is not base64") }
                return decoded
            }
            guard let file = object[field]?.string else { return [] }
            return try SmallFile.read(file.hasPrefix("/") ? file : "\(directory)/\(file)")
        }
        let server = cluster["server"]?.string ?? ""
        guard server.hasPrefix("https://") else {
            throw Fault(description: "server \"\(server)\" must start with https://")
        }
        let authority = server.dropFirst(8).prefix { $0 != "/" }
        let parts = authority.split(separator: ":")
        guard let name = parts.first, let number = parts.count > 1 ? UInt16(parts[1]) : 443 else {
            throw Fault(description: "server \"\(server)\" has no usable host and port")
        }
        host = String(name)
        port = number
        namespace = context["namespace"]?.string ?? "default"
        roots = try bytes(cluster, "certificate-authority")
        certificate = try bytes(user, "client-certificate")
        key = try bytes(user, "client-key")
        token = user["token"]?.string
    }

    private static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }
}

extension KubeconfigFile {
    /// What a client of this server needs to speak TLS with it.
    package func tlsConfiguration(applicationProtocols: [String]) throws(TLSFailure) -> TLSConfiguration {
        .client(
            roots: try Certificate.bundle(pem: roots),
            certificates: certificate.isEmpty ? [] : try Certificate.bundle(pem: certificate),
            key: certificate.isEmpty ? nil : try PrivateKey(pem: key), applicationProtocols: applicationProtocols)
    }
}
