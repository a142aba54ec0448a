import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("kubectl: logs, exec, server-side apply")
struct KubectlStreamTests {
    @Test("logs and exec reach the node, with exit codes and standard input")
    func streams() async throws {
        try await withKubectl({ $0.nodes = EchoGateway() }) { kubectl, api in
            let made = try await api.create(.pods, pod("solo"))
            let early = try await kubectl("logs", "solo")
            #expect(early.code == 1 && early.errors.contains("does not have a host assigned"))
            try await api.bind(made.key, uid: made.uid, node: "node-1")
            var running = try await api.get(.pods, made.key)
            running.json[path: ["status", "phase"]] = "Running"
            _ = try await api.updateStatus(.pods, running)
            #expect(try await kubectl.ok("logs", "solo", "--tail=2") == "line 4 of solo/app\nline 5 of solo/app\n")
            #expect(try await kubectl.ok("exec", "solo", "--", "hello", "there") == "hello there\n")
            let failing = try await kubectl("exec", "solo", "--", "exit", "7")
            #expect(failing.code == 7 && failing.errors.contains("failing"))
            let text = String(repeating: "0123456789", count: 20_000)
            #expect(try await kubectl("exec", "-i", "solo", "--", "cat", input: text).output == text)
            let wrong = try await kubectl("exec", "solo", "-c", "other", "--", "cat")
            #expect(wrong.code == 1 && wrong.errors.contains("container other is not valid"))
        }
    }

    @Test("without a way to the nodes, logs say so")
    func noGateway() async throws {
        try await withKubectl { kubectl, api in
            let made = try await api.create(.pods, pod("solo"))
            try await api.bind(made.key, uid: made.uid, node: "node-1")
            let logs = try await kubectl("logs", "solo")
            #expect(logs.code == 1 && logs.errors.contains("no way to the nodes"))
        }
    }

    @Test("apply --server-side creates, owns its fields, and conflicts with other managers")
    func serverSideApply() async throws {
        try await withKubectl { kubectl, api in
            func map(_ value: String) -> String {
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {a: \"\(value)\"}\n"
            }
            let created = try await kubectl.ok("apply", "--server-side", "-f", "-", input: map("1"))
            #expect(created == "configmap/shared serverside-applied\n")
            let other = try await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", input: map("2"))
            #expect(other.code == 1 && other.errors.contains("conflict with \"kubectl\""))
            _ = try await kubectl.ok(
                "apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", input: map("2"))
            let found = try await api.get(.configMaps, ObjectKey(namespace: "default", name: "shared"))
            #expect(found.json["data"]?["a"] == "2")
            let managers = found.metadata["managedFields"]?.array?.compactMap { $0["manager"]?.string } ?? []
            #expect(managers.contains("other"))
        }
    }

    @Test("client-side apply can be followed by server-side apply")
    func migration() async throws {
        try await withKubectl { kubectl, api in
            func map(_ value: String) -> String {
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: moved}\ndata: {a: \"\(value)\"}\n"
            }
            _ = try await kubectl.ok("apply", "-f", "-", input: map("1"))
            _ = try await kubectl.ok("apply", "--server-side", "-f", "-", input: map("1"))
            _ = try await kubectl.ok("apply", "--server-side", "-f", "-", input: map("2"))
            let found = try await api.get(.configMaps, ObjectKey(namespace: "default", name: "moved"))
            #expect(found.json["data"]?["a"] == "2")
        }
    }

    @Test("a list in pages shows one state of the cluster")
    func pages() async throws {
        try await withKubectl { kubectl, api in
            for number in 0..<25 { _ = try await api.create(.configMaps, configMap("page-\(number)")) }
            let names = try await kubectl.ok("get", "configmaps", "--chunk-size=4", "-o", "name")
            #expect(names.split(separator: "\n").count == 25)
        }
    }
}
