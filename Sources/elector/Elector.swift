import ArgumentParser
import Glibc
import Kernel
import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport
import Wire

/// A sidecar that takes part in an election for its pod, and says over HTTP who leads.
@main
struct Elector: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "elector",
        abstract: "Take part in an election, and say over HTTP who leads.",
        discussion: """
            GET / answers {"name":"<the leader's id>"}; the name is empty while there is none. /healthz answers 200 while the API
            server can be asked, or this one leads.

            EXAMPLES
              elector --election scheduler --http 0.0.0.0:4040                     in a pod, as its service account
              elector --election scheduler --lock endpoints --kubeconfig ~/.kube/config
            """)

    @Option(help: "The name of the election: of the object that holds its record.")
    var election: String
    @Option(help: "The namespace of that object.")
    var electionNamespace = "default"
    @Option(help: "leases, endpoints or configmaps.")
    var lock = "leases"
    @Option(help: "This candidate (default: the host's name, which is a pod's).")
    var id: String?
    @Option(help: "Where to answer, ADDRESS:PORT; nothing is answered without it.")
    var http: String?
    @Option(help: "For how many seconds a lead holds without having been renewed.")
    var ttl = 15
    @Option(help: "A kubeconfig; without it, the service account of the pod.")
    var kubeconfig: String?

    func validate() throws {
        if election.isEmpty { throw ValidationError("--election must not be empty") }
        if LeaderLock(rawValue: lock) == nil {
            throw ValidationError("--lock: leases, endpoints or configmaps, not \(lock)")
        }
        if !(3...3600).contains(ttl) {
            throw ValidationError("--ttl must be 3 to 3600 seconds, not \(ttl)")
        }
        if http != nil, address == nil {
            throw ValidationError("--http must be ADDRESS:PORT, such as 0.0.0.0:4040")
        }
    }

    private var address: (host: String, port: Int)? {
        guard let http, let colon = http.lastIndex(of: ":"),
            let port = Int(http[http.index(after: colon)...]),
            (0...65535).contains(port)
        else { return nil }
        let host = http[..<colon].drop { $0 == "[" }.prefix { $0 != "]" }
        return (host.isEmpty ? "0.0.0.0" : String(host), port)
    }

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let stop = StopSignal()
        let api = try HTTPAPI(
            try kubeconfig.map { try KubeconfigFile.load($0) } ?? KubeconfigFile.inCluster())
        let lease = Duration.seconds(ttl)
        let elector = LeaderElector(
            api, ObjectKey(namespace: electionNamespace, name: election), identity: id ?? Self.hostName,
            lock: LeaderLock(rawValue: lock) ?? .lease,
            timing: LeaderTiming(lease: lease, renewDeadline: lease * 2 / 3, retry: lease * 2 / 15))
        let server = HTTPServer(HTTPServer.Configuration()) { request, responder in
            await Self.answer(request, responder, elector)
        }
        if let address {
            let port = try await server.listen(host: address.host, port: address.port)
            Logger(label: "elector").info("answering", metadata: ["address": "\(address.host):\(port)"])
        }
        let candidacy = Task {
            while !Task.isCancelled {
                await elector.lead { while (try? await Task.sleep(for: .seconds(3600))) != nil {} }
            }
        }
        await stop.wait()
        candidacy.cancel()
        await candidacy.value
        await server.stop()
    }

    private static func answer(
        _ request: HTTPRequest, _ responder: HTTPResponder, _ elector: LeaderElector
    ) async {
        let path = request.target.prefix { $0 != "?" }
        switch path {
        case "/":
            let json: JSON = ["name": .string(elector.leader)]
            await responder.respond(.ok, ["content-type": "application/json"], json.bytes)
        case "/healthz": await responder.respond(.ok, ["content-type": "text/plain"], Array("ok".utf8))
        default:
            await responder.respond(.notFound, ["content-type": "text/plain"], Array("not found".utf8))
        }
    }

    private static var hostName: String {
        var space = [CChar](repeating: 0, count: 256)
        gethostname(&space, space.count - 1)
        return String(decoding: space.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
