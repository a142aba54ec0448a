import Glibc
import Kernel
import KubeClient
import KubeTypes
import Logging
import Synchronization
import Testing
import Wire

@testable import meshd

/// A proxy's admin page where a pod has it: at its port, in a network of its own.
private final class PodProxy: Sendable {
    let path: String
    private let answers: [String: String]
    private let state = Mutex((asked: [String](), isStopped: false))
    private let door: Int32

    var asked: [String] { state.withLock { $0.asked } }

    /// - Parameter answers: bodies, by the page's path; another page is 404.
    init(at path: String, _ answers: [String: String]) throws {
        self.path = path
        self.answers = answers
        try NetworkNamespace.create(at: path)
        var links = try NetlinkSocket(inNamespace: path)
        guard let loopback = try links.link(named: "lo") else {
            throw SystemCallFailed("link lo", code: ENOENT, on: path)
        }
        try links.setUp(loopback)
        let listener = try NamespaceSocket.listen(IPv4Address(127, 0, 0, 1), port: 15000, inNamespace: path)
        door = listener.release()
        let flags = fcntl(door, F_GETFL)
        _ = fcntl(door, F_SETFL, flags & ~O_NONBLOCK)
        _ = try NetworkNamespace.startThread(in: path) { [self] in
            while true {
                let client = accept(door, nil, nil)
                if client < 0 || state.withLock({ $0.isStopped }) { return }
                serve(client)
                close(client)
            }
        }
    }

    private func serve(_ client: Int32) {
        var head: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 4096)
        while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
            let count = read(client, &space, space.count)
            if count <= 0 { return }
            head += space[..<count]
        }
        let words = String(decoding: head, as: UTF8.self).split(separator: " ")
        let target = String(words[1])
        state.withLock { $0.asked.append(target) }
        let page = String(target.prefix { $0 != "?" })
        let status = answers[page] == nil ? "404 Not Found" : "200 OK"
        let text = Array("HTTP/1.1 \(status)\r\nconnection: close\r\n\r\n\(answers[page] ?? "")".utf8)
        _ = text.withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        shutdown(door, Int32(SHUT_RDWR))
        close(door)
    }
}

/// Pods with proxies in namespaces, as a node has them.
private final class Pods {
    let directory = "/tmp/weft-queries-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    let api = MemoryAPI()
    private(set) var proxies: [String: PodProxy] = [:]

    init() throws { try SmallFile.makeDirectories(directory) }

    var queries: RequestQueries {
        let directory = directory
        return RequestQueries(
            api: api, namespaceOfPod: { node, uid in "\(directory)/\(uid.map { "pod-\($0)" } ?? node)" },
            logger: Logger(label: "test"))
    }

    func add(
        _ name: String, namespace: String = "demo", address: String = "10.0.0.1", meshed: Bool = true,
        _ answers: [String: String]? = nil
    ) async throws {
        let annotations: JSON = meshed ? ["weft.dev/intercept": "true"] : [:]
        let json: JSON = [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": .string(name), "namespace": .string(namespace),
                "annotations": annotations,
            ],
            "spec": ["nodeName": "node-1", "containers": [["name": "app", "image": "app"]]],
        ]
        var made = try await api.create(.pods, KubeObject(json))
        made.json["status"] = ["podIP": .string(address)]
        made = try await api.updateStatus(.pods, made)
        if let answers { proxies[name] = try PodProxy(at: "\(directory)/pod-\(made.uid)", answers) }
    }

    func end() {
        for proxy in proxies.values {
            proxy.stop()
            try? NetworkNamespace.remove(at: proxy.path)
        }
        try? NetworkNamespace.removeDirectory(directory)
    }
}

@Suite struct RequestQueriesTests {
    @Test("tap gathers lines of all pods of a target, and says whose they are")
    func tap() async throws {
        let pods = try Pods()
        let queries = pods.queries
        let lines = "{\"status\":500}\n{\"status\":503}\n"
        try await pods.add("frontend-1", ["/tap": lines])
        try await pods.add("frontend-2", ["/tap": "{\"status\":501}\n"])
        try await pods.add("plain", meshed: false)
        try await pods.add("elsewhere", namespace: "other", ["/tap": lines])
        let found = try await queries.tap([
            ("namespace", "demo"), ("seconds", "2"), ("status", "5xx"), ("path", "/a b"),
        ])
        let items = try #require(found["items"]?.array)
        #expect(items.count == 3 && items.allSatisfy { $0["namespace"]?.string == "demo" })
        #expect(Set(items.compactMap { $0["pod"]?.string }) == ["frontend-1", "frontend-2"])
        #expect(pods.proxies["frontend-1"]?.asked == ["/tap?seconds=2&status=5xx&path=%2Fa%20b"])
        #expect(pods.proxies["elsewhere"]?.asked == [])
        let one = try await queries.tap([("namespace", "demo"), ("target", "pod/frontend-2")])
        #expect(one["items"]?.array?.count == 1)
        #expect(pods.proxies["frontend-2"]?.asked.last == "/tap?seconds=1")
        pods.end()
    }

    @Test("a proxy that is gone is left out; when none answers, that is the answer")
    func gone() async throws {
        let pods = try Pods()
        let queries = pods.queries
        try await pods.add("well", ["/requests": "[{\"id\":\"x\"}]"])
        try await pods.add("gone")
        let found = try await queries.requests([("namespace", "demo"), ("failed", ""), ("last", "3")])
        #expect(found["items"]?.array?.count == 1 && found["proxies"]?.int == 2)
        #expect(pods.proxies["well"]?.asked == ["/requests?failed=&last=3"])
        let failure = await #expect(throws: APIFailure.self) {
            _ = try await queries.requests([("namespace", "demo"), ("target", "gone")])
        }
        #expect(failure?.code == 503 && failure?.message.contains("gone") == true)
        pods.end()
    }

    private static let packed = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    private static let notText: [UInt8] = Array("HTTP/1.1 500 ".utf8) + [0xFF, 0xFF, 0xFF, 13, 10, 13, 10]

    @Test(
        "no answer of a pod ends the daemon",
        arguments: [
            Array("\(packed)7fffffffffffffff\r\nx".utf8), Array("\(packed)1\r\nx".utf8), notText,
            Array("HTTP/1.1 200".utf8), [],
        ])
    func hostile(answer: [UInt8]) {
        let scrape = ProxyScrape(namespace: "", address: IPv4Address(127, 0, 0, 1), port: 1, path: "/")
        #expect(throws: ProxyScrape.Failed.self) { _ = try scrape.bodyOf(answer) }
    }

    @Test("an answer is read by its bytes, and a refusal in the proxy's words")
    func answers() throws {
        let scrape = ProxyScrape(namespace: "", address: IPv4Address(127, 0, 0, 1), port: 1, path: "/")
        let whole: [UInt8] = Array("whole".utf8)
        var answer: [UInt8] = Array("HTTP/1.1 200 OK\r\nx: ".utf8)
        answer += [0xFF, 0xFF, 13, 10, 13, 10] + whole
        #expect(try scrape.bodyOf(answer) == whole)
        let refused = #expect(throws: ProxyScrape.Refused.self) {
            _ = try scrape.bodyOf([UInt8]("HTTP/1.1 400 Bad Request\r\n\r\nstatus is \"x\"".utf8))
        }
        #expect(refused?.description == "status is \"x\"")
    }

    @Test("what cannot be asked is refused, naming it")
    func refusals() async throws {
        let pods = try Pods()
        let queries = pods.queries
        try await pods.add("plain", meshed: false)
        for seconds in ["0", "31", "x"] {
            let failure = await #expect(throws: APIFailure.self) {
                _ = try await queries.tap([("seconds", seconds)])
            }
            #expect(failure?.code == 400 && failure?.message.contains("\"\(seconds)\"") == true)
        }
        var failure = await #expect(throws: APIFailure.self) {
            _ = try await queries.tap([("namespace", "demo"), ("target", "deploy/nobody")])
        }
        #expect(failure?.code == 404 && failure?.message.contains("deploy/nobody in namespace demo") == true)
        failure = await #expect(throws: APIFailure.self) { _ = try await queries.explain([("from", "nobody")]) }
        #expect(failure?.code == 404 && failure?.message.contains("nobody") == true)
        pods.end()
    }

    @Test("explain asks the caller's proxy, then one endpoint of each backend what it says to the caller")
    func explain() async throws {
        let pods = try Pods()
        let queries = pods.queries
        let client = """
            {"principal":"spiffe://cluster.local/ns/demo/sa/frontend","backends":[
            {"backend":"demo/catalog:8080","endpoints":[{"address":"10.0.0.2:8080","principal":"spiffe://a"}]},
            {"backend":"demo/plain:80","endpoints":[{"address":"10.0.0.3:80"}]},
            {"backend":"demo/lost:80","endpoints":[{"address":"10.0.0.9:80","principal":"spiffe://b"}]}]}
            """
        try await pods.add("frontend-1", address: "10.0.0.1", ["/explain": client])
        try await pods.add("catalog-1", address: "10.0.0.2", ["/explain": "{\"outcome\":\"allowed\"}"])
        try await pods.add("plain-1", address: "10.0.0.3", meshed: false)
        let answer = try await queries.explain([
            ("from", "demo/frontend-1"), ("host", "catalog:8080"), ("path", "/products"),
        ])
        #expect(answer["from"]?.string == "demo/frontend-1")
        #expect(pods.proxies["frontend-1"]?.asked == ["/explain?path=%2Fproducts&host=catalog%3A8080"])
        let servers = try #require(answer["servers"]?.array)
        #expect(servers.count == 2)
        #expect(servers[0]["pod"]?.string == "demo/catalog-1" && servers[0]["inbound"]?["outcome"]?.string == "allowed")
        #expect(servers[1]["outcome"]?.string?.contains("plain text") == true)
        let asked = try #require(pods.proxies["catalog-1"]?.asked.first)
        #expect(asked.hasPrefix("/explain?side=inbound&port=8080&principal=spiffe%3A%2F%2Fcluster.local"))
        #expect(asked.contains("&address=10.0.0.1&path=%2Fproducts&host=catalog%3A8080"))
        pods.end()
    }
}
