import Glibc
import Kernel
import KubeClient
import KubeTypes
import TestSupport
import Testing

/// A real etcd, and servers of ours that share it, each a process with a directory of its own; gone with the value.
final class SharedCluster {
    let directory: String
    private let etcd: TestProcess
    private let etcdPort: Int
    private(set) var servers: [TestProcess] = []
    private(set) var apis: [HTTPAPI] = []

    init() throws {
        try #require(access("/usr/bin/etcd", X_OK) == 0, "etcd is needed: run 'make deps'")
        var template = Array("/tmp/weft-shared-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        etcdPort = unusedPort()
        let peer = "http://127.0.0.1:\(unusedPort())"
        let client = "http://127.0.0.1:\(etcdPort)"
        etcd = try TestProcess(
            [
                "/usr/bin/etcd", "--name", "m0", "--data-dir", "\(directory)/etcd", "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", "m0=\(peer)", "--log-level", "error",
            ], output: .file("\(directory)/etcd.log"))
    }

    deinit {
        for server in servers { server.end() }
        etcd.end()
        try? FileTree.remove(directory)
    }

    /// Starts one more server, with the keys of the first, and waits until it is ready.
    func addServer() async throws {
        let state = "\(directory)/server-\(servers.count)"
        try SmallFile.makeDirectories("\(state)/pki", mode: 0o700)
        if !servers.isEmpty {
            for name in ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key"] {
                let bytes = try SmallFile.read("\(directory)/server-0/pki/\(name)")
                try SmallFile.replace("\(state)/pki/\(name)", with: bytes, mode: 0o600)
            }
        }
        let port = unusedPort()
        servers.append(
            try TestProcess(
                [
                    try BuiltProgram.path("meshd"), "apiserver", "--state", state, "--port", "\(port)", "--store",
                    "etcd=http://127.0.0.1:\(etcdPort)", "--log-level", "warning", "--advertise-address",
                    "10.245.0.\(servers.count + 1)",
                ], output: .file("\(state).log")))
        var ready: HTTPAPI?
        _ = await eventually {
            guard let api = try? HTTPAPI(try KubeconfigFile.load("\(state)/kubeconfig")),
                (try? await api.list(.namespaces)) != nil
            else { return false }
            ready = api
            return true
        }
        let log = (try? SmallFile.read("\(state).log")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        apis.append(try #require(ready, "a server does not serve: \(log)"))
    }
}
