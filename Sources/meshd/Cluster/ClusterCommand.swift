import ArgumentParser
import ClusterLayout
import Glibc
import Kernel

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "Run a whole cluster on this machine: server and nodes in one process.")

    @Option(help: "The cluster's name.")
    var name = "weft"
    @Option(help: "How many nodes; without it, as many as the cluster had, or one.")
    var nodes: Int?
    @Option(help: "The port of the API server on 127.0.0.1.")
    var apiPort: Int?
    @Option(help: "The port of the ingress gateway on 127.0.0.1.")
    var gatewayPort: Int?
    @OptionGroup var storage: StorageOptions
    @Option(help: "A flag of the API server by kube-apiserver's name for it, NAME=VALUE; as often as wanted.")
    var kubeApiserverArg: [String] = []
    @Option(help: "An open descriptor to which progress is written, one JSON object a line.")
    var progressDescriptor: Int32?
    @OptionGroup var log: LogOption

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        raiseDescriptorLimit()
        if let progressDescriptor { _ = fcntl(progressDescriptor, F_SETFD, FD_CLOEXEC) }
        let progress = ProgressReport(descriptor: progressDescriptor)
        log.apply()
        do {
            let layout = try ClusterLayout(name: name)
            try SmallFile.makeDirectories(layout.stateDirectory, mode: 0o755)
            try SmallFile.makeDirectories(layout.runDirectory, mode: 0o755)
            let lock = try PidFile(layout.pidFile)
            _ = unlink(layout.readyFile)
            let before = try ClusterSettings.load(layout)
            var settings = before ?? ClusterSettings()
            if let nodes { settings.nodes = max(nodes, settings.nodes) }
            settings.apiPort = apiPort ?? settings.apiPort
            settings.gatewayPort = gatewayPort ?? settings.gatewayPort
            storage.change(&settings.storage)
            for text in kubeApiserverArg { try settings.apiServer.set(text) }
            try settings.save(layout)
            do { try await ClusterProcess(layout: layout, settings: settings, progress: progress).run() } catch {
                // What a cluster could not start with is not what its next start begins with.
                if access(layout.readyFile, F_OK) != 0 { try ClusterSettings.restore(before, layout) }
                throw error
            }
            _ = consume lock
        } catch let taken as PidFile.Taken {
            progress.taken("\(taken)")
            throw taken
        } catch {
            progress.failed("\(error)")
            throw error
        }
    }

    /// Many pods mean many sockets: as many descriptors as the system lets us have.
    private func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
