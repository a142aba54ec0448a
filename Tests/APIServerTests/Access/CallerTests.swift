import APIServer
import Glibc
import KubeClient
import KubeTypes
import TLS
import Testing
import Wire

@Suite("Who may do what")
struct AccessTests {
    @Test(
        "no certificate: health only; a bad token: 401; an account's token: known, and not allowed, and over with its account"
    )
    func callers() async throws {
        let directory = try temporaryDirectory("weft-access")
        defer { removeTree(directory) }
        let (descriptor, port) = try loopbackListener()
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
        configuration.publicPort = port
        let server = try await APIServer.start(configuration)
        let inside = server.api(as: .administrator)
        _ = try await inside.create(
            .serviceAccounts, KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "robot"))
        let admin = try HTTPAPI(try KubeconfigFile.load(directory + "/kubeconfig"))
        let issued = try await admin.raw(
            "POST", "/api/v1/namespaces/default/serviceaccounts/robot/token",
            headers: [("content-type", "application/json")],
            body: Array("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":{}}".utf8))
        let token = try #require(try JSON(parsing: issued.body)["status"]?["token"]?.string)

        func status(_ user: String, _ path: String) async throws -> (Int, String) {
            let file = try otherKubeconfig(directory, user: user)
            let answer = try await HTTPAPI(try KubeconfigFile.load(file)).raw("GET", path)
            return (answer.status, String(decoding: answer.body, as: UTF8.self))
        }
        #expect(try await status("    {}\n", "/readyz").0 == 200)
        for path in ["/api/v1/namespaces/default/pods", "/metrics", "/version", "/readyz/ping"] {
            #expect(try await status("    {}\n", path).0 == 401, "\(path)")
        }
        #expect(try await status("    token: \(token)x\n", "/readyz").0 == 401)
        let robot = try await status("    token: \(token)\n", "/api/v1/pods")
        #expect(robot.0 == 403 && robot.1.contains("system:serviceaccount:default:robot"))
        #expect(try await status("    token: \(token)\n", "/apis").0 == 200)
        try await inside.delete(.serviceAccounts, ObjectKey(namespace: "default", name: "robot"))
        #expect(try await status("    token: \(token)\n", "/apis").0 == 401)

        var details = stat()
        #expect(stat(directory + "/kubeconfig", &details) == 0 && details.st_mode & 0o777 == 0o600)
        #expect(stat(directory + "/pki/ca.key", &details) == 0 && details.st_mode & 0o777 == 0o600)
        let certificate = try Certificate(pem: try fileBytes(directory + "/pki/apiserver.crt"))
        for name in [
            SubjectAlternativeName.dns("kubernetes.default.svc"), .ip("127.0.0.1"), .ip("10.96.0.1"), .ip("10.245.0.1"),
        ] {
            #expect(certificate.subjectAlternativeNames.contains(name))
        }
        await server.stop()
    }

    @Test("a component outside the cluster's own is refused in process too")
    func inProcess() async throws {
        try await withServer { server, _ in
            let stranger = server.api(as: User(name: "somebody", groups: ["system:authenticated"]))
            let refused = await failure { () throws(APIFailure) in
                _ = try await stranger.list(.pods, namespace: "default", .all)
            }
            #expect(refused?.code == 403)
            #expect(
                refused?.message
                    == "pods is forbidden: User \"somebody\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
            )
        }
    }
}
