import ArgumentParser
import Glibc
import Kernel
import KubeClient
import KubeTypes
import MeshModel
import Wire

struct UpgradeProxy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade-proxy",
        abstract: "Put another meshproxy in the place of running ones, without restarting anything.",
        discussion: """
            The new program takes the sockets, the configuration and the certificates over; connections of the old one end with their \
            next answer, so no request fails. Pods and containers stay as they are, restart counts too. A program that does not become \
            ready is ended, and the old one goes on; then no further pod is tried. A container that restarts later begins with its \
            image's program again.

            EXAMPLES
              meshctl upgrade-proxy deploy/frontend -n demo
              meshctl upgrade-proxy pod/frontend-7dc7bf79d7-phf78 -n demo \\
                  --program .build/release/meshproxy
              meshctl upgrade-proxy -n demo
              meshctl upgrade-proxy -A
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "deploy/NAME, pod/NAME or a name; all of the namespace when left out.")
    var workload = ""
    @Option(help: "The program (default: the meshproxy beside this meshctl).")
    var program: String?

    /// How long a new program and the pod's readiness are waited for.
    private static let patience = 90

    func run() async throws {
        if workload.isEmpty && target.namespace == nil && !target.allNamespaces {
            throw CommandFailure("name a workload or a pod, or a namespace with -n, or ask for all with -A")
        }
        let bytes = try programBytes()
        let api = try target.connect()
        let proxies = try await chosen(api)
        var done: [JSON] = []
        var failure: String?
        for (place, proxy) in proxies.enumerated() {
            let begin = ContinuousClock.now
            let outcome: Result<String, CommandFailure>
            do {
                outcome = .success(try await upgrade(proxy, bytes, api))
            } catch {
                outcome = .failure(CommandFailure("\(error)"))
            }
            let took = ContinuousClock.now - begin
            done.append(report(proxy, outcome, took, place + 1, of: proxies.count))
            if case .failure(let fault) = outcome {
                failure = "\(proxy.pod): \(fault); \(proxies.count - place - 1) others were not tried"
                break
            }
        }
        if isStructured { try printStructured(["items": .array(done)], format.output) }
        if let failure { throw CommandFailure(failure) }
    }

    private var isStructured: Bool { format.output == .json || format.output == .yaml }

    private func programBytes() throws -> [UInt8] {
        let path = try program ?? ProgramFile.beside("meshproxy")
        let bytes = try SmallFile.read(path, limit: 256 << 20)
        guard bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else { throw CommandFailure("\(path) is no program") }
        return bytes
    }

    private func chosen(_ api: APIConnection) async throws -> [ProxyContainer] {
        let namespace = target.allNamespaces ? "" : target.namespaceOrDefault
        let name = workload.split(separator: "/", maxSplits: 1).last.map(String.init) ?? ""
        let found = try await api.list(.pods, namespace: namespace).filter { pod in
            if name.isEmpty || pod.name == name { return true }
            return !workload.hasPrefix("pod/") && MeshPod(pod).workload == name
        }.compactMap(ProxyContainer.init)
        if found.isEmpty {
            let place = namespace.isEmpty ? "in any namespace" : "in namespace \(namespace)"
            throw CommandFailure(
                name.isEmpty
                    ? "no running pod has a proxy \(place)"
                    : "no running pod with a proxy belongs to \(workload) \(place)")
        }
        return found
    }

    /// - Returns: what the proxy says of itself.
    private func upgrade(_ proxy: ProxyContainer, _ bytes: [UInt8], _ api: APIConnection) async throws -> String {
        let before = proxy.standing(try await api.get(.pods, proxy.pod))
        var command = ["meshproxy", "upgrade", "--program", "-"]
        if let state = proxy.state { command += ["--state", state] }
        let result = try await api.exec(
            proxy.pod, container: proxy.name, command, input: bytes, patience: Self.patience)
        let said = String(decoding: result.stdout, as: UTF8.self).split(separator: "\n").last.map(String.init) ?? ""
        guard result.exitCode == 0, said.hasPrefix("ready") else {
            let errors = String(decoding: result.stderr, as: UTF8.self).split(separator: "\n").last.map(String.init)
            let why = said.isEmpty ? errors ?? "exited with \(result.exitCode)" : said
            throw CommandFailure("\(why) (the proxy before goes on)")
        }
        let limit = ContinuousClock.now + .seconds(Self.patience)
        while true {
            let pod = try await api.get(.pods, proxy.pod)
            let after = proxy.standing(pod)
            if after != before {
                throw CommandFailure(
                    "\(said), but then the container restarted "
                        + "(\(before.restarts) -> \(after.restarts) restarts); see its log")
            }
            if ProxyContainer.isReady(pod) { return said }
            if ContinuousClock.now >= limit { throw CommandFailure("\(said), but the pod is not ready; see its log") }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private func report(
        _ proxy: ProxyContainer, _ outcome: Result<String, CommandFailure>, _ took: Duration, _ number: Int, of all: Int
    ) -> JSON {
        var json: JSON = [
            "namespace": .string(proxy.pod.namespace), "pod": .string(proxy.pod.name),
            "container": .string(proxy.name), "seconds": .double(took.milliseconds / 1000),
        ]
        switch outcome {
        case .success(let said):
            json["upgraded"] = true
            if let process = said.split(separator: " ").last.flatMap({ Int64($0) }) { json["process"] = .int(process) }
            if !isStructured {
                StepReport().done("\(proxy.pod)", took: took, "\(number) of \(all), \(said)")
            }
        case .failure(let fault):
            json["upgraded"] = false
            json["message"] = .string(fault.description)
        }
        return json
    }
}
