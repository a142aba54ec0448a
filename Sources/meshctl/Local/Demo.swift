import ArgumentParser
import ClusterLayout
import ContainerRuntime
import Glibc
import Kernel
import KubeTypes
import Wire

enum DemoRoute: String, ExpressibleByArgument, CaseIterable {
    case gatewayAPI = "gateway-api"
    case istio
}

/// The canary demo: two versions of a service behind one name, reached through the ingress gateway.
struct Demo {
    static let namespace = "demo"
    static let requests = 1000
    private static let shell = "/bin/busybox"
    private static let shellCommands = [
        "sh", "cat", "echo", "env", "false", "grep", "head", "hostname", "id", "ip", "ls", "netstat", "nslookup", "ps",
        "sleep", "tar",
        "test", "true",
    ]

    let layout: ClusterLayout
    let route: DemoRoute
    let gatewayPort: Int
    let report: StepReport

    func run() async throws {
        let folder = try Self.examples()
        let api = try APIConnection(layout: layout)
        try await report.step("build the demo's images from this repository") { try packImages() }
        try await report.step("apply policies/examples/canary") { try await applyManifests(folder, api) }
        try await report.step("wait for the pods and their sidecars") { try await waitUntilReady(api) }
        try await waitForFirstAnswer()
        report.done("first answer through the mesh", took: report.elapsed, "since the start")
        let probe = SplitProbe(
            port: gatewayPort, host: "frontend.demo", path: "/", header: "x-catalog-version", requests: Self.requests)
        let result = await probe.run()
        report.done("\(Self.requests) requests through the ingress gateway", took: result.took)
        print(describe(result))
        print(try await identities(api))
        guard result.failures.isEmpty else {
            throw CommandFailure("some of the requests failed; '\(layout.command("check"))' may say why")
        }
        print(
            """

            The cluster was up and the demo through after \(Terminal.bold(report.elapsed.seconds)). To go on:
              # who talks to whom, and as which identity
              \(layout.command("edges -n demo"))
              # requests, success rate and latency by workload
              \(layout.command("stat -n demo"))
              # the cluster with the tool you know
              KUBECONFIG=\(layout.kubeconfig) kubectl get pods -A
            '\(layout.command("down"))' ends it all.
            """)
    }

    private func packImages() throws {
        let program = try Daemon.program(named: "demo-service")
        let store = try ImageStore(directory: layout.imageDirectory)
        for version in ["v1", "v2"] {
            var image = PackedImage(
                name: "weft.dev/demo:\(version)", files: [.init(source: program, target: "/bin/demo-service")],
                entrypoint: ["/bin/demo-service"], environment: ["PATH=/bin", "IMAGE_VERSION=\(version)"],
                exposedPorts: [8080])
            // A shell to look around with: `kubectl exec -it deploy/frontend -n demo -- sh`.
            if access(Self.shell, X_OK) == 0 {
                image.files.append(.init(source: Self.shell, target: "/bin/busybox"))
                for name in Self.shellCommands { image.links["/bin/\(name)"] = "busybox" }
            }
            _ = try ImagePacker(store: store).pack(image)
        }
    }

    private func applyManifests(_ folder: String, _ api: APIConnection) async throws {
        var manifests = try readManifests(["\(folder)/canary"])
        if route == .istio {
            manifests.removeAll { $0.object.kind == "HTTPRoute" && $0.object.name == "catalog" }
            manifests += try readManifests(["\(folder)/canary-istio"])
        }
        _ = try await apply(manifests, to: api, defaultNamespace: Self.namespace)
    }

    private func waitUntilReady(_ api: APIConnection) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let deployments = try await api.list(.deployments, namespace: Self.namespace, selector: "")
            let waiting = deployments.filter { deployment in
                let wanted = deployment.spec["replicas"]?.int ?? 1
                return deployment.status["availableReplicas"]?.int ?? 0 < wanted
                    || deployment.status["observedGeneration"]?.int ?? 0 < deployment.generation
            }
            if waiting.isEmpty, !deployments.isEmpty { return }
            if ContinuousClock.now > deadline {
                throw CommandFailure(
                    "not ready after 60 s: \(waiting.map(\.label).joined(separator: ", ")); see 'kubectl describe pods -n demo'"
                )
            }
            try await Task.sleep(for: .milliseconds(25))
        }
    }

    private func waitForFirstAnswer() async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        var last = ""
        while ContinuousClock.now < deadline {
            do {
                let answer = try LoopbackHTTP(port: gatewayPort).get("/", host: "frontend.demo")
                if answer.status == 200 { return }
                last = "status \(answer.status) \(answer.headers["x-weft-reason"] ?? "")"
            } catch { last = "\(error)" }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw CommandFailure(
            "no answer from frontend through the gateway on 127.0.0.1:\(gatewayPort) after 20 s: \(last)")
    }

    private func describe(_ result: SplitResult) -> String {
        var table = TextTable(["", "CATALOG", "ANSWERS", "SHARE", ""], numeric: [2, 3])
        for (version, count) in result.answers.sorted(by: { $0.key < $1.key }) {
            let share = Double(count) * 100 / Double(result.count)
            let bar = String(repeating: "█", count: Int((share / 2.5).rounded()))
            table.rows.append(["", version, "\(count)", "\(decimal(share, places: 1)) %", bar])
        }
        for (failure, count) in result.failures.sorted(by: { $0.value > $1.value }) {
            table.rows.append(["", Terminal.red(failure), "\(count)", "", ""])
        }
        return
            "\n\(table.text)\n   latency p50 \(millis(result.percentile(0.5))), p99 \(millis(result.percentile(0.99)))"
    }

    private func millis(_ duration: Duration) -> String { "\(decimal(duration.milliseconds, places: 1)) ms" }

    /// Who spoke to the catalog, as the proxies at both ends recorded it from each other's certificates.
    private func identities(_ api: APIConnection) async throws -> String {
        let edges = try await api.edges(namespace: Self.namespace).filter {
            $0.destination.hasPrefix("catalog") && $0.isMutualTLS
        }
        guard let edge = edges.first else {
            throw CommandFailure("the proxies recorded no mTLS request to the catalog")
        }
        return """

               \(edge.sourcePrincipal)
               \(Terminal.green("── mTLS ──▶")) \(edge.destinationPrincipal)
            """
    }

    /// The folder `policies/examples`: of the working directory, or of the repository this program was built in.
    static func examples() throws -> String {
        let wanted = "policies/examples"
        if access(wanted, R_OK) == 0 { return wanted }
        var place = Substring(try Daemon.program(named: "meshctl"))
        while let slash = place.lastIndex(of: "/") {
            place = place[..<slash]
            if access("\(place)/\(wanted)", R_OK) == 0 { return "\(place)/\(wanted)" }
        }
        throw CommandFailure("the folder \(wanted) is neither here nor above meshctl: run this in Weft's repository")
    }
}
