import Glibc

/// What the service is and where it listens, from arguments and environment.
struct Options: Sendable {
    enum Role: String, Sendable { case catalog, frontend, echo }
    struct Problem: Error { let message: String }

    var role: Role
    var port: UInt16
    var version: String
    var pod: String
    var upstream: Upstream.Address

    static let usage = """
        usage: demo-service catalog|frontend|echo
               demo-service get URL      asks once, prints the answer; exits 1 unless it is a 200
          PORT         where to listen (8080)
          VERSION      what the service calls itself (v1)
          POD_NAME     who answers (the host's name)
          CATALOG_URL  whom the frontend asks (http://catalog:8080/items)
        """

    static func read(_ arguments: [String]) -> Result<Options, Problem> {
        let words = arguments.dropFirst().filter { !$0.hasPrefix("-") }
        let name = words.first ?? variable("ROLE") ?? ""
        guard let role = Role(rawValue: name) else {
            return .failure(Problem(message: name.isEmpty ? "no role given" : "\"\(name)\" is not a role"))
        }
        let portText = variable("PORT") ?? "8080"
        guard let port = UInt16(portText) else {
            return .failure(Problem(message: "PORT \"\(portText)\" is not a port"))
        }
        let url = variable("CATALOG_URL") ?? "http://catalog:8080/items"
        guard let upstream = Upstream.Address(url: url) else {
            return .failure(Problem(message: "CATALOG_URL \"\(url)\" must look like http://host:port/path"))
        }
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, 255)
        let hostname = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return .success(
            Options(
                role: role, port: port, version: variable("VERSION") ?? "v1", pod: variable("POD_NAME") ?? hostname,
                upstream: upstream))
    }

    private static func variable(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }
}
