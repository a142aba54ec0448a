import ContainerRuntime
import Glibc
import Kernel
package import KubeClient
package import KubeTypes
import Wire

/// What the agent says of itself, under the paths Kubernetes' agents have.
extension NodeAgent {
    package func answer(ofNode name: String, _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer {
        let parts = request.path.split(separator: "/").map(String.init)
        switch (parts.first, parts.dropFirst().first) {
        case ("healthz", _): return NodeAnswer("ok")
        case ("pods", nil): return json(podList(pods.cache.all.map(\.json)))
        case ("runningpods", nil): return json(podList(try await sandboxes().map(running)))
        case ("stats", "summary"), ("stats", nil): return json(try await summary())
        case ("metrics", nil): return NodeAnswer(contentType: NodeMetricsText.type, try await ownMetrics())
        case ("metrics", "resource"), ("metrics", "cadvisor"):
            return NodeAnswer(contentType: NodeMetricsText.type, try await resourceMetrics())
        case ("configz", nil): return json(settings)
        case ("logs", _): return logFile(parts.dropFirst().joined(separator: "/"))
        case ("containerLogs", _) where parts.count == 4: return try await containerLog(parts, request)
        default: return NodeAnswer(status: 404, "404 page not found\n")
        }
    }

    private nonisolated func json(_ body: JSON) -> NodeAnswer {
        NodeAnswer(contentType: "application/json", bytes: body.bytes)
    }

    private nonisolated func podList(_ items: [JSON]) -> JSON {
        ["kind": "PodList", "apiVersion": "v1", "metadata": [:], "items": .array(items)]
    }

    private nonisolated func running(_ sandbox: SandboxStatus) -> JSON {
        let containers = sandbox.containers.filter { $0.state == .running }
        return [
            "metadata": [
                "name": .string(sandbox.name), "namespace": .string(sandbox.namespace), "uid": .string(sandbox.podUID),
            ],
            "spec": [
                "containers": .array(
                    containers.map { ["name": .string($0.name), "image": .string($0.image), "resources": [:]] })
            ],
            "status": [:],
        ]
    }

    private nonisolated func sandboxes() async throws(APIFailure) -> [SandboxStatus] {
        do throws(RuntimeFailure) { return try await runtime.sandboxes().filter(\.isRunning) } catch {
            throw .internalError("node \(configuration.name): its pods cannot be listed: \(error)")
        }
    }

    private nonisolated var settings: JSON {
        [
            "kubeletconfig": [
                "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "clusterDomain": .string(configuration.clusterDomain),
                "clusterDNS": [.string(configuration.dnsAddress)],
                "maxPods": .int(Int64(configuration.mostPods)),
                "nodeStatusUpdateFrequency": .string("\(configuration.heartbeat.components.seconds)s"),
                "syncFrequency": "1m0s",
            ]
        ]
    }

    // MARK: Logs

    /// Below the node's log directory, and never outside of it: a directory as a list of links, a file as it is.
    private nonisolated func logFile(_ path: String) -> NodeAnswer {
        let root = configuration.stateDirectory + "/logs"
        let text = Self.decoded(path)
        let place = text.isEmpty ? root : "\(root)/\(text)"
        guard !text.split(separator: "/").contains(".."), let real = realpath(place, nil) else {
            return NodeAnswer(status: 404, "404 page not found\n")
        }
        defer { free(real) }
        let found = String(cString: real)
        guard let base = realpath(root, nil) else { return NodeAnswer(status: 404, "404 page not found\n") }
        defer { free(base) }
        let home = String(cString: base)
        guard found == home || found.hasPrefix(home + "/") else {
            return NodeAnswer(status: 404, "404 page not found\n")
        }
        if Self.isDirectory(found) {
            let names = FileTree.names(in: found).sorted().map { name in
                let slash = Self.isDirectory("\(found)/\(name)") ? "/" : ""
                return "<a href=\"\(name)\(slash)\">\(name)\(slash)</a>"
            }
            return NodeAnswer(
                contentType: "text/html; charset=utf-8", "<pre>\n" + names.map { $0 + "\n" }.joined() + "</pre>\n")
        }
        let reader = FileReader(found)
        return NodeAnswer(
            contentType: "text/plain; charset=utf-8", body: AsyncThrowingStream(unfolding: { await reader.next() }))
    }

    private static func isDirectory(_ path: String) -> Bool {
        var facts = stat()
        return stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
    }

    /// A `%` that no two hexadecimal digits follow stands for itself.
    private static func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let first = rest.popFirst() {
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            if first == UInt8(ascii: "%"), digits.utf8.count == 2, let byte = UInt8(digits, radix: 16) {
                bytes.append(byte)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(first)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `containerLogs/NAMESPACE/POD/CONTAINER`.
    private func containerLog(_ parts: [String], _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer {
        guard let pod = pods.cache[ObjectKey(namespace: parts[1], name: parts[2])] else {
            return NodeAnswer(status: 404, "pod \"\(parts[2])\" does not exist\n")
        }
        var options = LogOptions()
        func value(_ name: String) -> String? { request.query.first { $0.name == name }?.value }
        options.tailLines = value("tailLines").flatMap { Int($0) }
        options.limitBytes = value("limitBytes").flatMap { Int($0) }
        options.timestamps = value("timestamps") == "true"
        options.previous = value("previous") == "true"
        options.follow = value("follow") == "true"
        let stream = try await logs(pod: pod, container: parts[3], options)
        return NodeAnswer(contentType: "text/plain; charset=utf-8", body: stream)
    }

    // MARK: Figures

    private func figures() async throws(APIFailure) -> NodeFigures {
        let usage = try await usage(ofNode: configuration.name)
        var figures = NodeFigures(node: configuration.name, time: usage.time)
        for sandbox in try await sandboxes() {
            guard let spent = try? await runtime.stats(podUID: sandbox.podUID), let whole = spent[""] else { continue }
            let key = ObjectKey(namespace: sandbox.namespace, name: sandbox.name)
            let rates = usage.pods.first { $0.key == key }
            var pod = NodeFigures.Pod(
                key: key, uid: sandbox.podUID, whole: whole, nanocores: rates?.whole.nanocores ?? 0)
            for run in sandbox.containers where run.state == .running {
                guard let used = spent[run.id] else { continue }
                let rate = rates?.containers.first { $0.name == run.name }?.amount.nanocores ?? 0
                pod.containers.append(
                    .init(
                        name: run.name, startedAt: Timestamp(unixNanoseconds: run.startedAt), usage: used,
                        nanocores: rate))
            }
            figures.pods.append(pod)
        }
        return figures
    }

    private func summary() async throws(APIFailure) -> JSON {
        try await figures().summary(memory: configuration.machine?.memoryBytes ?? MachineSize.measured().memoryBytes)
    }

    private func resourceMetrics() async throws(APIFailure) -> String { NodeMetricsText.resources(try await figures()) }

    private nonisolated func ownMetrics() async throws(APIFailure) -> String {
        NodeMetricsText.agent(configuration.name, try await sandboxes())
    }
}

/// A file's bytes as it was when it was opened, piece by piece.
private actor FileReader {
    private let path: String
    private var offset = 0

    init(_ path: String) { self.path = path }

    func next() -> [UInt8]? {
        guard let file = try? LogFile(path) else { return nil }
        let bytes = file.read(at: offset, 65536)
        offset += bytes.count
        return bytes.isEmpty ? nil : bytes
    }
}
