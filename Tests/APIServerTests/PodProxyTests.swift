import KubeClient
import KubeTypes
import NIOHTTP1
import Testing
import Transport
import Wire

@testable import APIServer

@Suite("Ways into pods, and who may use them")
struct PodProxyTests {
    private func runningPod(_ api: InProcessAPI) async throws {
        let made = try await api.create(.pods, pod("solo"))
        try await api.bind(made.key, uid: made.uid, node: "node-1")
        var running = try await api.get(.pods, made.key)
        running.json[path: ["status", "phase"]] = "Running"
        _ = try await api.updateStatus(.pods, running)
    }

    @Test("the proxy answers HEAD without a body, and leads to where relative links work", arguments: ["1.1", "2"])
    func head(version: String) async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            try await runningPod(api)
            let curl = try Kubectl(home: kubectl.home, kubeconfig: "", program: "/usr/bin/curl")
            let server = try await kubectl.ok("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
            let pki = kubectl.home + "/pki/"
            let path = "\(server)/api/v1/namespaces/default/pods/solo:8080/proxy"
            func ask(_ suffix: String) async throws -> Kubectl.Outcome {
                try await curl(
                    "-sSI", "--http\(version)", "--max-time", "30", "--cacert", pki + "ca.crt", "--cert",
                    pki + "admin.crt", "--key", pki + "admin.key", path + suffix)
            }
            let found = try await ask("/items/17")
            #expect(found.code == 0 && found.output.contains("HTTP/\(version) 200"), "\(found)")
            #expect(found.output.contains("content-length: 17"), "\(found.output)")
            let moved = try await ask("?page=2")
            #expect(
                moved.output.contains("301")
                    && moved.output.contains("location: /api/v1/namespaces/default/pods/solo:8080/proxy/?page=2"),
                "\(moved.output)")
        }
    }

    @Test("a pod learns nothing of how its caller is known to the server")
    func headers() {
        var headers: HTTPHeaders = [
            "authorization": "Bearer x", "impersonate-user": "ann", "x-remote-group": "system:masters",
            "connection": "x-private, keep-alive", "x-private": "1", "accept": "text/plain",
        ]
        headers.add(name: "Impersonate-Extra-Reason", value: "why")
        let request = HTTPRequest(
            method: .GET, target: "/", headers: headers, body: .empty, connection: ConnectionInfo())
        let head = String(decoding: ProxyExchange.head(request, path: "/", bodyLength: 0), as: UTF8.self)
        #expect(head == "GET / HTTP/1.1\r\nhost: pod\r\nconnection: close\r\naccept: text/plain\r\n\r\n")
    }

    @Test("who may only get pods/exec gets into no pod; who may create it does")
    func create() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            try await runningPod(api)
            func permit(_ user: String, _ verbs: String) async throws {
                let parts = ["pods", "pods/exec", "pods/attach", "pods/portforward"].joined(separator: ",")
                _ = try await kubectl.ok("create", "role", user, "--verb=\(verbs)", "--resource=\(parts)")
                _ = try await kubectl.ok("create", "rolebinding", user, "--role=\(user)", "--user=\(user)")
            }
            try await permit("reader", "get")
            try await permit("writer", "get,create")
            for command in [["exec", "solo", "--", "hello"], ["attach", "solo"], ["port-forward", "solo", "0:80"]] {
                let refused = try await kubectl.run(["--as=reader"] + command, input: "")
                #expect(
                    refused.code == 1 && refused.errors.contains("cannot create resource \"pods/"),
                    "\(command): \(refused)")
            }
            #expect(try await kubectl.ok("--as=writer", "exec", "solo", "--", "hello") == "hello\n")
        }
    }

    @Test(
        "a log's options are checked",
        arguments: [
            ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=-9223372036854775808", "sinceSeconds: Invalid value: -9223372036854775808: must be greater"),
            ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "at most one of `sinceTime` or `sinceSeconds`"),
        ])
    func logOptions(query: String, fault: String) async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            try await runningPod(api)
            let path = "/api/v1/namespaces/default/pods/solo/log"
            let refused = try await kubectl("get", "--raw", "\(path)?\(query)")
            #expect(
                refused.code == 1 && refused.errors.contains("PodLogOptions \"solo\" is invalid")
                    && refused.errors.contains(fault), "\(refused.errors)")
        }
    }
}
