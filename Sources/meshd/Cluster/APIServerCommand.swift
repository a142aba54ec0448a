import APIServer
import ArgumentParser
import Glibc
import Kernel
import Logging

/// The API server by itself: no controllers, no nodes. Other processes do the rest, or nobody, as for a test.
struct APIServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apiserver",
        abstract: "Run an API server alone, on 127.0.0.1.",
        discussion: """
            The kubeconfig of its administrator is written into the state directory.

            EXAMPLES
              meshd apiserver --state /var/lib/weft-api --port 6443
              kubectl --kubeconfig /var/lib/weft-api/kubeconfig get namespaces

            Several servers may share one etcd (--store): give each the files ca.*, front-proxy-ca.* and sa.key of the first one's \
            pki directory before its start, and an --advertise-address of its own.

            Watches may go back, and lists of several pages go on, for five to ten minutes (watches by 16384 changes at most). Another
            time: --kube-apiserver-arg etcd-compaction-interval=10m, twenty at most, the same for all who share a store; 0 keeps
            history by its size only.
            """)

    @Option(help: "The directory of its store, certificates and kubeconfig; made when it is not there.")
    var state: String
    @Option(help: "The port on 127.0.0.1.")
    var port: UInt16 = 6443
    @Option(help: "Where pods reach it: an endpoint of the service kubernetes.default.")
    var advertiseAddress: String?
    @Option(help: "A flag of the API server by kube-apiserver's name for it, NAME=VALUE; as often as wanted.")
    var kubeApiserverArg: [String] = []
    @OptionGroup var storage: StorageOptions
    @OptionGroup var log: LogOption

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let stop = StopSignal()
        log.apply()
        try SmallFile.makeDirectories(state, mode: 0o700)
        let socket = try NamespaceSocket.listen(IPv4Address(127, 0, 0, 1), port: port, inNamespace: nil)
        var configuration = APIServerConfiguration(
            stateDirectory: state, listeners: [socket.release()], logger: Logger(label: "apiserver"))
        configuration.publicPort = Int(port)
        if let advertiseAddress {
            guard IPv4Address(advertiseAddress) != nil else {
                throw ValidationError("--advertise-address must be an IPv4 address, not \(advertiseAddress)")
            }
            configuration.endpointAddress = advertiseAddress
            configuration.endpointPort = Int(port)
        }
        var flags = APIServerFlags()
        for text in kubeApiserverArg { try flags.set(text) }
        try flags.configure(&configuration)
        var settings = StorageSettings()
        storage.change(&settings)
        try settings.configure(&configuration)
        let server = try await APIServer.start(configuration)
        await stop.wait()
        await server.stop()
    }
}
