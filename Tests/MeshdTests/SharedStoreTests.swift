import Glibc
import KubeClient
import KubeTypes
import TestSupport
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
        let secretKey = token.key
        #expect(try await eventually { try await apis[1].get(.secrets, secretKey).json["data"]?["token"] != nil })
        #expect(
            try await eventually { try await alive(apis[1]) == ["10.245.0.2"] },
            "a server that died is no endpoint any more")
    }

    // MARK: Quotas

    private static let quotas = ResourceType(
        group: "", version: "v1", resource: "resourcequotas", kind: "ResourceQuota")

    private func used(_ api: HTTPAPI) async throws -> String? {
        let quota = try await api.get(Self.quotas, ObjectKey(namespace: "default", name: "few"))
        return quota.status["used"]?["count/configmaps"]?.string
    }

    private func maps(_ api: HTTPAPI) async throws -> [KubeObject] {
        try await api.list(.configMaps, namespace: "default", Selection()).items
    }

    /// Both servers make objects of these names, eight at a time each.
    ///
    /// - Returns: refusals for another reason than the quota, or a name that is taken.
    private func make(_ names: [[String]], _ apis: [HTTPAPI]) async throws -> [String] {
        try await withThrowingTaskGroup(of: [String].self) { group in
            for (api, names) in zip(apis, names) {
                for worker in 0..<8 {
                    group.addTask {
                        var faults: [String] = []
                        for place in stride(from: worker, to: names.count, by: 8) {
                            do throws(APIFailure) {
                                _ = try await api.create(.configMaps, map(names[place], "x"))
                            } catch {
                                let isFull = error.message.contains("exceeded quota: few")
                                if !isFull, error.reason != "AlreadyExists" { faults.append(error.message) }
                            }
                        }
                        return faults
                    }
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    @Test("a quota holds for both together, whatever fails; what goes is free again, also when one has died")
    func quota() async throws {
        let cluster = try SharedCluster()
        try await cluster.addServer()
        try await cluster.addServer()
        let apis = cluster.apis
        var quota = KubeObject(apiVersion: "v1", kind: "ResourceQuota", namespace: "default", name: "few")
        quota.json["spec"] = ["hard": ["count/configmaps": "30"]]
        _ = try await apis[1].create(Self.quotas, quota)
        #expect(try await eventually { try await used(apis[0]) == "0" })

        // Each name at both: of two that have taken their share, one is refused and gives it back.
        let same = (0..<60).map { "same-\($0)" }
        #expect(try await make([same, same], apis) == [])
        let first = try await maps(apis[0]).count
        #expect(first <= 30)
        #expect(try await eventually { try await used(apis[1]) == "\(first)" }, "\(first) are there")

        func fill(_ round: String) async throws {
            let names = (0..<2).map { place in (0..<40).map { "\(round)-\(place)-\($0)" } }
            #expect(try await make(names, apis) == [])
            #expect(try await maps(apis[1]).count == 30)
            #expect(try await used(apis[0]) == "30")
        }
        try await fill("second")
        for (place, object) in try await maps(apis[0]).prefix(12).enumerated() {
            try await apis[place % 2].delete(.configMaps, object.key)
        }
        #expect(try await eventually { try await used(apis[1]) == "18" })
        try await fill("third")

        // The first leads, most likely: the other takes over what it did, also what happened in between.
        cluster.servers[0].end(SIGKILL)
        for object in try await maps(apis[1]).prefix(5) { try await apis[1].delete(.configMaps, object.key) }
        #expect(try await eventually { try await used(apis[1]) == "25" })
    }
}
