import Kernel
import KubeClient
import KubeTypes
import Logging
import MeshModel
import Wire

/// What happened to single requests, read from the proxies' admin pages inside their pods' networks.
struct RequestQueries: Sendable {
    let api: any KubeAPI
    /// The path of a pod's network namespace, by its node and, unless it uses the node's network, its UID.
    let namespaceOfPod: @Sendable (_ node: String, _ uid: String?) -> String
    let logger: Logger

    private static let adminPort: UInt16 = 15000
    private static let loopback = IPv4Address(127, 0, 0, 1)
    /// So many proxies are asked at the same time.
    private static let breadth = 16
    /// Members of a query that are about the pods, not the requests.
    private static let ownMembers: Set<String> = ["namespace", "target", "seconds", "from", "host"]

    /// `target`: `deploy/frontend`, `pod/frontend-x`, a workload's or pod's name, or empty for all of the namespace.
    private func pods(namespace: String, target: String) async throws(APIFailure) -> [KubeObject] {
        let name = target.split(separator: "/", maxSplits: 1).last.map(String.init) ?? ""
        return try await api.list(.pods).items.filter { pod in
            let isMeshed = pod.annotations[MeshWords.intercept] == "true" || pod.labels[MeshWords.gateway] != nil
            guard isMeshed, namespace.isEmpty || pod.namespace == namespace else { return false }
            if name.isEmpty { return true }
            return pod.name == name || (!target.hasPrefix("pod/") && MeshPod(pod).workload == name)
        }
    }

    /// Requests as they come, for a short time; the caller asks again.
    func tap(_ query: [(String, String)]) async throws(APIFailure) -> JSON {
        let seconds = try Self.seconds(query)
        let found = try await pods(namespace: Self.value("namespace", query), target: Self.value("target", query))
        try Self.require(found, query)
        let path = "/tap?seconds=\(seconds)" + Self.members(query)
        let items = try await gather(found) { pod in
            try await lines(of: pod, path, timeout: .seconds(seconds + 3))
        }
        return ["items": .array(items)]
    }

    /// The records of one request, or the newest ones, of all proxies.
    func requests(_ query: [(String, String)]) async throws(APIFailure) -> JSON {
        let found = try await pods(namespace: Self.value("namespace", query), target: Self.value("target", query))
        let path = "/requests?" + Self.members(query).dropFirst()
        let items = try await gather(found) { pod in try await page(of: pod, path).array ?? [] }
        return ["items": .array(items), "proxies": .int(Int64(found.count))]
    }

    /// What would become of a request of a pod: its own proxy's routes, and what the proxies it would reach say to it.
    func explain(_ query: [(String, String)]) async throws(APIFailure) -> JSON {
        let from = Self.value("from", query)
        let sides = from.split(separator: "/").map(String.init)
        var namespace = Self.value("namespace", query)
        var target = from
        if sides.count == 2, !["deploy", "deployment", "pod"].contains(sides[0]) {
            namespace = sides[0]
            target = sides[1]
        }
        let found = try await pods(namespace: namespace.isEmpty ? "default" : namespace, target: target)
        guard let caller = found.first, !target.isEmpty else {
            throw APIFailure(
                code: 404, reason: "NotFound", message: "no pod with a proxy is \(from) in namespace \(namespace)")
        }
        let members = Self.members(query) + "&host=\(percentEncoded(Self.value("host", query)))"
        var answer: JSON = ["from": .string("\(caller.namespace)/\(caller.name)")]
        do {
            let client = try await page(of: caller, "/explain?" + members.dropFirst())
            answer["client"] = client
            answer["servers"] = .array(try await servers(client, MeshPod(caller).address, members))
        } catch let failure as APIFailure {
            throw failure
        } catch {
            throw APIFailure(code: 503, reason: "ServiceUnavailable", message: "\(caller.key): \(error)")
        }
        return answer
    }

    /// One endpoint of each backend is asked what it would say to the caller.
    private func servers(
        _ client: JSON, _ address: String, _ members: String
    ) async throws(APIFailure) -> [JSON] {
        var pods: [String: KubeObject] = [:]
        for pod in try await api.list(.pods).items { pods[pod.status["podIP"]?.string ?? "-"] = pod }
        var said: [JSON] = []
        for backend in (client["backends"]?.array ?? []).prefix(8) {
            guard let endpoint = backend["endpoints"]?.array?.first, let text = endpoint["address"]?.string else {
                continue
            }
            let sides = text.split(separator: ":")
            guard sides.count == 2, let pod = pods[String(sides[0])] else { continue }
            var entry: JSON = [
                "backend": backend["backend"] ?? "", "pod": .string("\(pod.namespace)/\(pod.name)"),
                "address": .string(text),
            ]
            guard endpoint["principal"] != nil else {
                entry["outcome"] = "no proxy: spoken to in plain text"
                said.append(entry)
                continue
            }
            let identity = client["principal"]?.string ?? ""
            let path =
                "/explain?side=inbound&port=\(sides[1])&principal=\(percentEncoded(identity))"
                + "&address=\(address)\(members)"
            do { entry["inbound"] = try await page(of: pod, path) } catch { entry["message"] = .string("\(error)") }
            said.append(entry)
        }
        return said
    }

    // MARK: asking

    private enum Answer: Sendable {
        case records([JSON])
        case failure(String)
        case refused(String)
    }

    /// Asks many proxies. One that does not answer is left out, and said so in the log; when none does it is an error.
    private func gather(
        _ pods: [KubeObject], _ ask: @escaping @Sendable (KubeObject) async throws -> [JSON]
    ) async throws(APIFailure) -> [JSON] {
        let answers = await withTaskGroup(of: Answer.self) { group in
            var all: [Answer] = []
            for (index, pod) in pods.enumerated() {
                if index >= Self.breadth, let found = await group.next() { all.append(found) }
                group.addTask {
                    do {
                        return .records(
                            try await ask(pod).map { record in
                                var record = record
                                record["pod"] = .string(pod.name)
                                record["namespace"] = .string(pod.namespace)
                                return record
                            })
                    } catch let refused as ProxyScrape.Refused {
                        return .refused(refused.description)
                    } catch {
                        logger.warning("no records from \(pod.key): \(error)")
                        return .failure("\(pod.key): \(error)")
                    }
                }
            }
            for await found in group { all.append(found) }
            return all
        }
        var records: [JSON] = []
        var failures: [String] = []
        for answer in answers {
            switch answer {
            case .records(let found): records += found
            case .failure(let message): failures.append(message)
            case .refused(let message): throw APIFailure(code: 400, reason: "BadRequest", message: message)
            }
        }
        if let first = failures.first, failures.count == answers.count {
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable", message: "no proxy answered, such as \(first)")
        }
        return records
    }

    private func scrape(_ pod: KubeObject, _ path: String) -> ProxyScrape {
        let node = pod.spec["nodeName"]?.string ?? ""
        let onHost = pod.spec["hostNetwork"]?.bool ?? false
        return ProxyScrape(
            namespace: namespaceOfPod(node, onHost ? nil : pod.uid), address: Self.loopback, port: Self.adminPort,
            path: path)
    }

    private func page(of pod: KubeObject, _ path: String) async throws -> JSON {
        try JSON(parsing: try await scrape(pod, path).body())
    }

    private func lines(of pod: KubeObject, _ path: String, timeout: Duration) async throws -> [JSON] {
        var scrape = scrape(pod, path)
        scrape.timeout = timeout
        return try await scrape.body().split(separator: 10).map { try JSON(parsing: Array($0)) }
    }

    // MARK: queries

    private static func value(_ name: String, _ query: [(String, String)]) -> String {
        query.first { $0.0 == name }?.1 ?? ""
    }

    /// `&key=value` for what the proxies are asked.
    private static func members(_ query: [(String, String)]) -> String {
        query.filter { !ownMembers.contains($0.0) }.map { "&\(percentEncoded($0.0))=\(percentEncoded($0.1))" }.joined()
    }

    private static func seconds(_ query: [(String, String)]) throws(APIFailure) -> Int {
        let text = value("seconds", query)
        if text.isEmpty { return 1 }
        guard let seconds = Int(text), (1...30).contains(seconds) else {
            throw .badRequest("seconds is \"\(text)\", must be from 1 to 30")
        }
        return seconds
    }

    private static func require(_ pods: [KubeObject], _ query: [(String, String)]) throws(APIFailure) {
        if !pods.isEmpty { return }
        let target = value("target", query)
        let namespace = value("namespace", query)
        let place = namespace.isEmpty ? "" : " in namespace \(namespace)"
        throw APIFailure(
            code: 404, reason: "NotFound",
            message: target.isEmpty
                ? "no pod has a proxy\(place)" : "no pod with a proxy belongs to \(target)\(place)")
    }
}
