import Glibc
import ProxyResources
import Testing
import Wire

@testable import Proxy

/// Other people's readers, run over what a proxy tells.
enum Reader {
    static let root = String(#filePath.split(separator: "Tests/ProxyTests")[0])

    /// What `observe_reader.py` prints.
    static func run(_ arguments: String) throws -> String {
        let script = "\(root)Tests/ProxyTests/observe_reader.py"
        let command = "'\(root).build/tools/bin/python' '\(script)' \(arguments) 2>&1"
        let pipe = try #require(popen(command, "r"))
        var bytes: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&space, 1, space.count, pipe)
            if count == 0 { break }
            bytes += space[..<count]
        }
        pclose(pipe)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func json(_ arguments: String) throws -> JSON {
        let said = try run(arguments)
        do { return try JSON(parsing: said) } catch {
            Issue.record("the reader said \(said.prefix(2000))")
            throw error
        }
    }
}

/// A gateway before an origin, its telemetry as wanted, and its admin page.
struct SeenGateway {
    let origin = Origin()
    let gateway: TestGateway
    let state: ProgramState
    let adminPort = freePort()
    var configuration: ProxyConfiguration

    init(loops: Int = 1, _ change: (inout ProxyConfiguration) -> Void = { _ in }) throws {
        gateway = try TestGateway(loops: loops)
        configuration = gateway.configuration(
            [
                rule([("origin", 1)]) {
                    $0.name = "HTTPRoute demo/all rule 0"
                    $0.matches = [RouteMatch(path: .prefix("/"))]
                }
            ], [backend("origin", [endpoint(Int(origin.port))])])
        change(&configuration)
        state = ProgramState(plane: gateway.plane, role: "run", keeper: nil)
        var options = ProgramOptions(role: .run)
        (options.healthPort, options.metricsPort, options.adminPort) = (0, 0, adminPort)
        try AdminServer.start(state: state, options: options)
        try apply()
    }

    func apply() throws {
        for resource in configuration.resources { try ResourceRules.check(resource) }
        try state.apply(configuration, identity: nil, versions: [:])
        let generation = state.read { $0.generation }
        guard eventually({ gateway.plane.counts().allSatisfy { $0.generation == generation } }) else {
            throw ConfigurationFault("the loops did not take generation \(generation)")
        }
    }

    func admin(_ path: String) -> String {
        let visitor = Visitor(port: adminPort)
        defer { visitor.end() }
        return visitor.get(path)?.text ?? ""
    }

    func end() {
        gateway.plane.stop()
        origin.stop()
    }
}
