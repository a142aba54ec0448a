internal import Glibc
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
    /// Read again as it changes: the tokens of service accounts do not last.
    var tokenFile: String?

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

    /// How a pod reaches the server, as its service account.
    package static func inCluster() throws -> KubeconfigFile {
        let folder = "/var/run/secrets/kubernetes.io/serviceaccount"
        guard let host = getenv("KUBERNETES_SERVICE_HOST"), let port = getenv("KUBERNETES_SERVICE_PORT") else {
            throw Fault(description: "KUBERNETES_SERVICE_HOST is not set: this is no pod; name a kubeconfig")
        }
        return try inCluster(host: String(cString: host), port: String(cString: port), folder: folder)
    }

    static func inCluster(host: String, port: String, folder: String) throws -> KubeconfigFile {
        guard let number = UInt16(port) else {
            throw Fault(description: "KUBERNETES_SERVICE_PORT \"\(port)\" is no port")
        }
        let roots = try SmallFile.read("\(folder)/ca.crt")
        let namespace = (try? SmallFile.read("\(folder)/namespace")) ?? []
        return KubeconfigFile(
            host: host, port: number, namespace: String(decoding: namespace, as: UTF8.self), roots: roots,
            tokenFile: "\(folder)/token")
    }

    private init(host: String, port: UInt16, namespace: String, roots: [UInt8], tokenFile: String) {
        self.host = host
        self.port = port
        self.namespace = namespace
        self.roots = roots
        self.tokenFile = tokenFile
        certificate = []
        key = []
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
