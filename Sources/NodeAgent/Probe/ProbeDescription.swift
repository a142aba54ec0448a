package import Wire

/// A probe as the manifest says it, defaults filled in.
package struct ProbeDescription: Sendable, Hashable {
    package enum Handler: Sendable, Hashable {
        case command([String])
        case http(HTTPCheck)
        case tcp(port: Int, host: String?)
        case grpc(port: Int, service: String)
        /// A handler this agent cannot perform, and why.
        case impossible(String)
    }

    package var handler: Handler
    package var initialDelay: Duration
    package var period: Duration
    package var timeout: Duration
    package var successThreshold: Int
    package var failureThreshold: Int
    /// Replaces the pod's when this probe ends the container.
    package var gracePeriod: Duration?

    package init(_ json: JSON, container: JSON) {
        handler = Handler(json, container: container)
        initialDelay = .seconds(max(0, json["initialDelaySeconds"]?.int ?? 0))
        period = .seconds(max(1, json["periodSeconds"]?.int ?? 10))
        timeout = .seconds(max(1, json["timeoutSeconds"]?.int ?? 1))
        successThreshold = max(1, json["successThreshold"]?.int ?? 1)
        failureThreshold = max(1, json["failureThreshold"]?.int ?? 3)
        gracePeriod = json["terminationGracePeriodSeconds"]?.int.map { .seconds($0) }
    }
}

/// One HTTP request whose status tells health: 200 to 399.
package struct HTTPCheck: Sendable, Hashable {
    package var scheme: String  // `http` or `https`
    package var host: String?  // `nil`: the pod's address
    package var port: Int
    package var path: String
    package var headers: [Header]

    package struct Header: Sendable, Hashable {
        package var name: String
        package var value: String
    }

    init(port: Int, path: String = "/") {
        scheme = "http"
        self.port = port
        self.path = path
        headers = []
    }

    /// - Parameter json: the API's `HTTPGetAction`.
    init?(_ json: JSON, container: JSON) {
        guard let port = ContainerDescription.port(json["port"], of: container), (1...65535).contains(port) else {
            return nil
        }
        self.port = port
        scheme = (json["scheme"]?.string ?? "HTTP").lowercased()
        host = json["host"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        let path = json["path"]?.string ?? "/"
        self.path = path.hasPrefix("/") ? path : "/" + path
        headers = (json["httpHeaders"]?.array ?? []).compactMap { header in
            guard let name = header["name"]?.string else { return nil }
            return Header(name: name, value: header["value"]?.string ?? "")
        }
    }
}

extension ProbeDescription.Handler {
    /// - Parameter json: a probe, or a lifecycle hook: both name their action the same way.
    init(_ json: JSON, container: JSON) {
        if let exec = json["exec"] {
            self = .command(exec["command"]?.array?.compactMap(\.string) ?? [])
        } else if let http = json["httpGet"] {
            if let check = HTTPCheck(http, container: container) {
                self = .http(check)
            } else {
                self = .impossible("httpGet.port \(http["port"]?.text ?? "(missing)") names no port of the container")
            }
        } else if let tcp = json["tcpSocket"] {
            if let port = ContainerDescription.port(tcp["port"], of: container), (1...65535).contains(port) {
                self = .tcp(port: port, host: tcp["host"]?.string.flatMap { $0.isEmpty ? nil : $0 })
            } else {
                self = .impossible("tcpSocket.port \(tcp["port"]?.text ?? "(missing)") names no port of the container")
            }
        } else if let grpc = json["grpc"], let port = grpc["port"]?.int {
            self = .grpc(port: port, service: grpc["service"]?.string ?? "")
        } else {
            self = .impossible("the probe has no exec, httpGet, tcpSocket or grpc")
        }
    }
}
