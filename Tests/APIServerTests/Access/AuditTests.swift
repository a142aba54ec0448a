import Glibc
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import APIServer

@Suite("Audit")
struct AuditTests {
    private func attempt(
        _ verb: String, _ resource: String, group: String = "", subresource: String = "", namespace: String = "demo",
        name: String = "", user: String = "ann"
    ) -> Attempt {
        Attempt(
            user: User(name: user, groups: [User.authenticated]), verb: verb,
            target: .resource(
                group: group, version: "v1", resource: resource, subresource: subresource, namespace: namespace,
                name: name))
    }

    @Test("the first rule that fits decides; stages and managed fields may be left out for all or for one rule")
    func policy() throws {
        let policy = try AuditPolicy([
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "omitManagedFields": true,
            "rules": [
                ["level": "None", "users": ["quiet"]],
                [
                    "level": "RequestResponse",
                    "resources": [["group": "", "resources": ["secrets"], "resourceNames": ["key"]]],
                    "omitManagedFields": false,
                ],
                ["level": "Request", "verbs": ["create"], "resources": [["group": "", "resources": ["pods/*"]]]],
                ["level": "Metadata", "namespaces": ["demo"], "omitStages": ["ResponseStarted"]],
                ["level": "None", "nonResourceURLs": ["/readyz*"]],
                ["level": "Metadata", "userGroups": ["system:authenticated"]],
            ],
        ])
        func level(_ attempt: Attempt) -> AuditLevel { policy.verdict(attempt).level }
        #expect(level(attempt("get", "secrets", name: "key", user: "quiet")) == .none)
        #expect(level(attempt("get", "secrets", name: "key")) == .requestResponse)
        #expect(!policy.verdict(attempt("get", "secrets", name: "key")).omitsManagedFields)
        #expect(level(attempt("get", "secrets", name: "other")) == .metadata)
        #expect(level(attempt("create", "pods", subresource: "exec")) == .request)
        #expect(level(attempt("create", "pods")) == .request)
        #expect(level(attempt("get", "pods", subresource: "exec")) == .metadata)
        let demo = policy.verdict(attempt("get", "configmaps"))
        #expect(demo.omitsStages == [.received, .started] && demo.omitsManagedFields)
        let probe = Attempt(user: .administrator, verb: "get", target: .path("/readyz/ping"))
        #expect(level(probe) == .none)
        #expect(level(Attempt(user: .anonymous, verb: "get", target: .path("/version"))) == .none)
        #expect(level(attempt("get", "nodes", namespace: "")) == .metadata)
    }

    @Test(
        "a policy that makes no sense is refused with the place of the fault",
        arguments: [
            (["rules": [["level": "Most"]]], "rules[0].level"),
            (["rules": []], "rules"),
            (["rules": [["level": "None", "nonResourceURLs": ["*/x"]]]], "rules[0].nonResourceURLs"),
            (["omitStages": ["Middle"], "rules": [["level": "None"]]], "omitStages"),
        ] as [(JSON, String)])
    func faults(_ part: JSON, _ place: String) throws {
        var policy = part
        policy["apiVersion"] = "audit.k8s.io/v1"
        policy["kind"] = "Policy"
        do {
            _ = try AuditPolicy(policy)
            Issue.record("the policy was taken")
        } catch {
            #expect("\(error)".contains(place))
        }
    }

    @Test(
        "events are one line each, with who, what, the object sent and the answer; secrets' rule keeps their values out"
    )
    func log() async throws {
        let directory = try temporaryDirectory("weft-audit")
        defer { removeTree(directory) }
        try writeFile(
            directory + "/policy.yaml",
            """
            apiVersion: audit.k8s.io/v1
            kind: Policy
            omitStages: [RequestReceived]
            omitManagedFields: true
            rules:
            - level: Metadata
              resources: [{group: "", resources: [secrets]}]
            - level: RequestResponse
              namespaces: [default]
            - level: None

            """)
        let (descriptor, port) = try loopbackListener()
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
        configuration.publicPort = port
        configuration.access.auditPolicyFile = directory + "/policy.yaml"
        configuration.access.auditLogPath = directory + "/audit.log"
        let server = try await APIServer.start(configuration)
        let kubectl = try Kubectl(home: directory, kubeconfig: directory + "/kubeconfig")
        _ = try await kubectl.ok("create", "secret", "generic", "key", "--from-literal=a=hidden")
        _ = try await kubectl.ok("create", "configmap", "settings", "--from-literal=a=shown")
        func watchStages() throws -> [String] {
            let text = String(decoding: try fileBytes(directory + "/audit.log"), as: UTF8.self)
            let events = text.split(separator: "\n").compactMap { try? JSON(parsing: String($0)) }
            return events.filter { $0["verb"] == "watch" }.compactMap { $0["stage"]?.string }
        }
        let (watching, _) = try kubectl.start(["get", "configmaps", "--watch"])
        try await poll("the watch in the log") { try watchStages() == ["ResponseStarted"] }
        watching.end(SIGTERM)
        try await poll("its end in the log") { try watchStages() == ["ResponseStarted", "ResponseComplete"] }
        let stranger = try Kubectl(
            home: directory, kubeconfig: try otherKubeconfig(directory, user: "    token: nobody\n"))
        #expect(try await stranger("get", "--raw", "/api/v1/namespaces/default/pods").code == 1)
        let refused = try await kubectl("get", "configmaps", "--as=ann", "--as-group=team")
        #expect(refused.code == 1)
        await server.stop()

        let text = String(decoding: try fileBytes(directory + "/audit.log"), as: UTF8.self)
        #expect(!text.contains("aGlkZGVu"))
        let events = try text.split(separator: "\n").map { try JSON(parsing: String($0)) }
        func find(_ verb: String, _ resource: String) throws -> JSON {
            try #require(
                events.first { $0["verb"]?.string == verb && $0["objectRef"]?["resource"]?.string == resource })
        }
        let secret = try find("create", "secrets")
        #expect(secret["level"] == "Metadata" && secret["requestObject"] == nil)
        #expect(secret["user"]?["username"] == "kubernetes-admin" && secret["responseStatus"]?["code"] == 201)
        let map = try find("create", "configmaps")
        #expect(map["stage"] == "ResponseComplete" && map["requestObject"]?["data"]?["a"] == "shown")
        #expect(map["responseObject"]?["metadata"]?["uid"] != nil)
        #expect(map["responseObject"]?["metadata"]?["managedFields"] == nil)
        #expect(map["annotations"]?["authorization.k8s.io/decision"] == "allow")
        #expect(map["sourceIPs"] == ["127.0.0.1"] && map["userAgent"]?.string?.hasPrefix("kubectl") == true)
        let watches = events.filter { $0["verb"] == "watch" }.compactMap { $0["stage"]?.string }
        #expect(watches == ["ResponseStarted", "ResponseComplete"])
        let unknown = try find("list", "pods")
        #expect(unknown["responseStatus"]?["code"] == 401 && unknown["user"]?["username"] == "")
        let lists = events.filter { $0["verb"] == "list" && $0["impersonatedUser"] != nil }
        let denied = try #require(lists.first)
        #expect(denied["impersonatedUser"]?["username"] == "ann" && denied["responseStatus"]?["code"] == 403)
        #expect(denied["annotations"]?["authorization.k8s.io/decision"] == "forbid")
    }

    @Test("a full file is set aside; a disk that takes nothing is counted and holds nobody up")
    func rotation() throws {
        let directory = try temporaryDirectory("weft-audit")
        defer { removeTree(directory) }
        let policy = try AuditPolicy(["apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [["level": "None"]]])
        var limits = AuditLog.Limits()
        limits.size = 200
        limits.backups = 2
        let log = AuditLog(policy: policy, path: directory + "/audit.log", limits: limits)
        for number in 0..<40 { log.write(["number": .int(Int64(number)), "filler": "0123456789"]) }
        for name in ["audit.log", "audit.log.1", "audit.log.2"] {
            let bytes = try fileBytes("\(directory)/\(name)")
            #expect(bytes.count <= 200 && bytes.last == 0x0A, "\(name)")
        }
        #expect(access(directory + "/audit.log.3", F_OK) != 0)
        let last = String(decoding: try fileBytes(directory + "/audit.log"), as: UTF8.self).split(separator: "\n").last
        #expect(last?.contains("\"number\":39") == true)
        let full = AuditLog(policy: policy, path: "/dev/full")
        full.write(["a": 1])
        full.write(["a": 2])
        #expect(full.lost == 2)
    }
}
