import APIServer
import Glibc
import KubeClient
import KubeTypes
import TLS
import Testing
import Wire

@Suite("Who may do what")
struct AccessTests {
    /// A kubeconfig with the cluster's address and other credentials.
    private func kubeconfig(_ path: String, user: String) throws -> String {
        let text = try String(decoding: readFile(path), as: UTF8.self)
        let place = try #require(text.firstRange(of: "  user:\n"))
        return String(text[..<place.upperBound]) + user
    }

    private func readFile(_ path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY)
        try #require(file >= 0)
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        return Array(bytes[..<max(0, read(file, &bytes, bytes.count))])
    }

    private func write(_ path: String, _ text: String) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(file) }
        let bytes = Array(text.utf8)
        _ = Glibc.write(file, bytes, bytes.count)
    }

    @Test(
        "no certificate: health only; a bad token: 401; an account's token: known, and not allowed; a stranger's certificate: refused"
    )
    func callers() async throws {
        let directory = try temporaryDirectory("weft-access")
        defer { removeTree(directory) }
        let (descriptor, port) = try loopbackListener()
        var configuration = APIServerConfiguration(stateDirectory: directory, listeners: [descriptor])
        configuration.publicPort = port
        let server = try await APIServer.start(configuration)
        let inside = server.api(as: .component("test"))
        _ = try await inside.create(
            .serviceAccounts, KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "robot"))
        let admin = try HTTPAPI(try KubeconfigFile.load(directory + "/kubeconfig"))
        let issued = try await admin.raw(
            "POST", "/api/v1/namespaces/default/serviceaccounts/robot/token",
            headers: [("content-type", "application/json")],
            body: Array("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":{}}".utf8))
        let token = try #require(try JSON(parsing: issued.body)["status"]?["token"]?.string)

        func status(_ user: String, _ path: String) async throws -> (Int, String) {
            let file = directory + "/other"
            write(file, try kubeconfig(directory + "/kubeconfig", user: user))
            let answer = try await HTTPAPI(try KubeconfigFile.load(file)).raw("GET", path)
            return (answer.status, String(decoding: answer.body, as: UTF8.self))
        }
        #expect(try await status("    {}\n", "/readyz").0 == 200)
        let anonymous = try await status("    {}\n", "/api/v1/namespaces/default/pods")
        #expect(
            anonymous.0 == 403
                && anonymous.1.contains("User \\\"system:anonymous\\\" cannot list resource \\\"pods\\\""))
        #expect(try await status("    {}\n", "/metrics").0 == 403)
        #expect(try await status("    token: \(token)x\n", "/readyz").0 == 401)
        let robot = try await status("    token: \(token)\n", "/api/v1/pods")
        #expect(robot.0 == 403 && robot.1.contains("system:serviceaccount:default:robot"))
        #expect(try await status("    token: \(token)\n", "/apis").0 == 200)
        try await inside.delete(.serviceAccounts, ObjectKey(namespace: "default", name: "robot"))
        #expect(try await status("    token: \(token)\n", "/apis").0 == 401)

        var details = stat()
        #expect(stat(directory + "/kubeconfig", &details) == 0 && details.st_mode & 0o777 == 0o600)
        #expect(stat(directory + "/pki/ca.key", &details) == 0 && details.st_mode & 0o777 == 0o600)
        let certificate = try Certificate(pem: try readFile(directory + "/pki/apiserver.crt"))
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
