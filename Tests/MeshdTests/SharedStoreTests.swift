import Glibc
import KubeClient
import KubeTypes
import Testing
import Wire

/// One at a time: each has an etcd and two servers.
@Suite("Two API servers over one etcd", .serialized)
struct SharedStoreTests {
    private func service(_ name: String) -> KubeObject {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: name)
        service.json["spec"] = ["type": "NodePort", "ports": [["port": 80]]]
        return service
    }

    private func map(_ name: String, _ value: String) -> KubeObject {
        var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "default", name: name)
        map.json["data"] = ["value": .string(value)]
        return map
    }

    /// The endpoints of the service kubernetes.
    private func alive(_ api: HTTPAPI) async throws -> [String] {
        let slice = try await api.get(.endpointSlices, ObjectKey(namespace: "default", name: "kubernetes"))
        return slice.json["endpoints"]?.array?.compactMap { $0["addresses"]?[0]?.string } ?? []
    }

    /// 500 services, 16 at a time at each server.
    private func createServices(_ apis: [HTTPAPI]) async throws -> [KubeObject] {
        try await withThrowingTaskGroup(of: [KubeObject].self) { group in
            for (place, api) in apis.enumerated() {
                for worker in 0..<16 {
                    group.addTask {
                        var made: [KubeObject] = []
                        for number in stride(from: worker, to: 250, by: 16) {
                            made.append(try await api.create(.services, service("web-\(place)-\(number)")))
                        }
                        return made
                    }
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    @Test("no address and no node port is given twice; what one was answered, the other shows at once; one may die")
    func pair() async throws {
        let cluster = try SharedCluster()
        try await cluster.addServer()
        try await cluster.addServer()
        let apis = cluster.apis
        #expect(try await alive(apis[0]) == ["10.245.0.1", "10.245.0.2"])

        let made = try await createServices(apis)
        #expect(made.count == 500)
        let addresses = Set(made.compactMap { $0.spec["clusterIP"]?.string })
        let ports = Set(made.compactMap { $0.spec["ports"]?[0]?["nodePort"]?.int })
        #expect(addresses.count == 500 && ports.count == 500)
        // An address that the other server gave cannot be asked for here, and is free again when its service is gone.
        let first = made[0]
        var same = service("same")
        same.json[path: ["spec", "clusterIP"]] = first.spec["clusterIP"]
        let wanted = same
        for api in apis {
            let refused = await #expect(throws: APIFailure.self) { _ = try await api.create(.services, wanted) }
            #expect(refused?.message.contains("already allocated") == true, "\(refused?.message ?? "")")
        }
        try await apis[0].delete(.services, first.key)
        let taken = try await apis[1].create(.services, wanted)
        #expect(taken.spec["clusterIP"] == first.spec["clusterIP"])

        for number in 0..<100 {
            let (writer, reader) = number % 2 == 0 ? (apis[0], apis[1]) : (apis[1], apis[0])
            let written = try await writer.create(.configMaps, map("map-\(number)", "\(number)"))
            #expect(try await reader.get(.configMaps, written.key).resourceVersion == written.resourceVersion)
            let list = try await reader.list(.configMaps, namespace: "default", Selection())
            #expect(list.items.contains { $0.name == written.name })
            try await reader.delete(.configMaps, written.key)
            let gone = await #expect(throws: APIFailure.self) { _ = try await writer.get(.configMaps, written.key) }
            #expect(gone?.isNotFound == true)
        }

        cluster.servers[0].end(SIGKILL)
        let after = try await apis[1].create(.services, service("after"))
        let address = after.spec["clusterIP"]?.string ?? ""
        #expect(!address.isEmpty && (!addresses.contains(address) || address == first.spec["clusterIP"]?.string))
        #expect(try await apis[1].list(.services, namespace: "default", Selection()).items.count == 502)
        // Its duties are done by the other, once its Lease has run out.
        let lease = ObjectKey(namespace: "kube-system", name: "weft-apiserver")
        let holder = try await apis[1].get(.leases, lease).spec["holderIdentity"]?.string ?? ""
        #expect(!holder.isEmpty)
        let secret = "kubernetes.io/service-account-token"
        var token = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "default", name: "token")
        token.json["type"] = .string(secret)
        token.annotations = ["kubernetes.io/service-account.name": "robot"]
        _ = try await apis[1].create(
            .serviceAccounts, KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "robot"))
        _ = try await apis[1].create(.secrets, token)
        var isFilled = false
        for _ in 0..<1200 where !isFilled {
            isFilled = try await apis[1].get(.secrets, token.key).json["data"]?["token"] != nil
            if !isFilled { try await Task.sleep(for: .milliseconds(50)) }
        }
        #expect(isFilled)
        var left = ["both"]
        for _ in 0..<1200 where left != ["10.245.0.2"] {
            left = try await alive(apis[1])
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(left == ["10.245.0.2"], "a server that died is no endpoint any more")
    }
}
