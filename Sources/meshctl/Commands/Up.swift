import ArgumentParser
import ClusterLayout
import Glibc
import Kernel
import Wire

struct ClusterOption: ParsableArguments {
    @Option(name: .long, help: "The cluster's name, so that several can run on one machine.")
    var cluster = "weft"

    func layout() throws -> ClusterLayout { try ClusterLayout(name: cluster) }
}

extension ClusterLayout {
    /// A command about this cluster, as its user has to type it.
    func command(_ words: String) -> String { "meshctl \(words)\(name == "weft" ? "" : " --cluster \(name)")" }
}

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a cluster on this machine.",
        discussion: """
            Each node is a network namespace of its own on an isolated bridge; the machine's network sees only listeners on \
            loopback: the API on 127.0.0.1:6443 and the ingress gateway on 127.0.0.1:8080. Run again after a crash, it adopts \
            what still runs and restarts nothing.

            EXAMPLES
              meshctl up                        one node
              meshctl up --nodes 2 --demo       two nodes and the canary demo
              meshctl up --cluster test --api-port 7443 --gateway-port 9080
              meshctl up --store etcd=https://10.0.0.1:2379,https://10.0.0.2:2379 \\
                  --store-ca ca.pem --store-cert client.pem --store-key client-key.pem
              meshctl up --kube-apiserver-arg etcd-compaction-interval=10m
                                                keep history for ten minutes at least, not five (0: by its size only)
            """)

    @OptionGroup var cluster: ClusterOption
    @Option(help: "How many nodes (default: as many as the cluster had, or 1).")
    var nodes: Int?
    @Option(help: "The port of the API server on 127.0.0.1 (default: as before, or 6443).")
    var apiPort: Int?
    @Option(help: "The port of the ingress gateway on 127.0.0.1 (default: as before, or 8080).")
    var gatewayPort: Int?
    @Option(
        help: ArgumentHelp(
            "Where objects are kept: embedded, or etcd=https://host:port,… (default: as before, or embedded).",
            valueName: "where"))
    var store: String?
    @Option(help: ArgumentHelp("Who signs etcd's certificates, PEM.", valueName: "file"))
    var storeCa: String?
    @Option(help: ArgumentHelp("The certificate we show to etcd, PEM.", valueName: "file"))
    var storeCert: String?
    @Option(help: ArgumentHelp("The key of that certificate, PEM.", valueName: "file"))
    var storeKey: String?
    @Option(
        help: ArgumentHelp("Which kinds to encrypt in the store: an EncryptionConfiguration.", valueName: "file"))
    var encryptionProviderConfig: String?
    @Option(
        help: ArgumentHelp(
            "A flag of the API server by kube-apiserver's name for it, such as audit-policy-file=audit.yaml; repeatable.",
            valueName: "name=value"))
    var kubeApiserverArg: [String] = []
    @Flag(help: "Also build the demo's images, apply its canary and send requests through it.")
    var demo = false
    @Option(help: "Which language the demo's route is written in: gateway-api or istio.")
    var demoRoute = DemoRoute.gatewayAPI

    func validate() throws {
        let limits = [
            ("--nodes", nodes, ClusterLayout.mostNodes), ("--api-port", apiPort, 65535),
            ("--gateway-port", gatewayPort, 65535),
        ]
        for (name, value, most) in limits {
            if let value, !(1...most).contains(value) {
                throw ValidationError("\(name) must be 1 to \(most), not \(value)")
            }
        }
        if let apiPort, apiPort == gatewayPort {
            throw ValidationError("--api-port and --gateway-port are both \(apiPort); they must differ")
        }
    }

    func run() async throws {
        let layout = try cluster.layout()
        if let failure = MachineCheck.firstFailure() { throw CommandFailure(failure) }
        let report = StepReport()
        let daemon = Daemon(layout: layout)
        try daemon.waitForTeardown()
        if let process = daemon.runningProcess() {
            print("cluster \(layout.name) is already up (meshd is process \(process))")
            try daemon.waitUntilReady()
        } else {
            print(Terminal.bold("Starting cluster \(layout.name)"))
            do {
                try daemon.start(arguments: settings) { step, took, remark in report.done(step, took: took, remark) }
            } catch is Daemon.AlreadyStarting {
                print("another 'meshctl up' was faster; waiting until its meshd is ready")
                try daemon.waitUntilReady()
            }
        }
        let gatewayPort = daemon.settings()?["gatewayPort"]?.int ?? 8080
        if demo {
            try await Demo(layout: layout, route: demoRoute, gatewayPort: gatewayPort, report: report).run()
        } else {
            print(
                """

                The cluster is up after \(report.elapsed.seconds). To use it:
                  export KUBECONFIG=\(layout.kubeconfig)
                  kubectl get nodes
                  \(layout.command("check"))
                """)
        }
    }

    /// Only what was asked for: the daemon knows the rest from before.
    private var settings: [String] {
        let numbers = [("--nodes", nodes), ("--api-port", apiPort), ("--gateway-port", gatewayPort)]
        let files = [
            ("--store-ca", storeCa), ("--store-cert", storeCert), ("--store-key", storeKey),
            ("--encryption-provider-config", encryptionProviderConfig),
        ]
        var words: [String] = []
        for case (let name, let value?) in numbers { words += [name, "\(value)"] }
        if let store { words += ["--store", store] }
        for case (let name, let value?) in files { words += [name, absolute(value)] }
        for text in kubeApiserverArg {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let isFile = parts.count == 2 && (parts[0].hasSuffix("-file") || parts[0].hasSuffix("-path"))
            words += ["--kube-apiserver-arg", isFile ? "\(parts[0])=\(absolute(parts[1]))" : text]
        }
        return words
    }
}

/// The daemon has another working directory than its starter.
private func absolute(_ path: String) -> String {
    if path.isEmpty || path.hasPrefix("/") { return path }
    guard let here = getcwd(nil, 0) else { return path }
    defer { free(here) }
    return "\(String(cString: here))/\(path)"
}

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End a cluster on this machine and leave nothing behind.",
        discussion: """
            Stops the daemon, every container and proxy; removes mounts, namespaces, rules and cgroups, and the cluster's data \
            unless --keep-data is given. It also cleans up after a daemon that crashed.

            EXAMPLES
              meshctl down
              meshctl down --keep-data      the next 'meshctl up' finds all objects again
            """)

    @OptionGroup var cluster: ClusterOption
    @Flag(help: "Keep the stored objects, keys and images.")
    var keepData = false

    func run() async throws {
        let layout = try cluster.layout()
        if geteuid() != 0 { throw CommandFailure("meshctl down needs root, as meshctl up did: run it with sudo") }
        let report = StepReport()
        let daemon = Daemon(layout: layout)
        let existed =
            daemon.runningProcess() != nil || access(layout.runDirectory, F_OK) == 0
            || access(layout.stateDirectory, F_OK) == 0
        guard existed else {
            print("there is no cluster \(layout.name) on this machine")
            return
        }
        try await report.step("stop meshd") { try daemon.stop() }
        try await report.step("remove containers, networks, rules\(keepData ? "" : ", data")") {
            try daemon.tearDown(keepingData: keepData)
        }
        print("cluster \(layout.name) is gone after \(report.elapsed.seconds)")
    }
}
