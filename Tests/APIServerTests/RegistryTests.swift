import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("The API in process")
struct RegistryTests {
    @Test("a new cluster has its namespaces, its own service and that service's endpoint")
    func bootstrap() async throws {
        try await withServer { _, api in
            let namespaces = try await api.list(.namespaces)
            #expect(Set(namespaces.items.map(\.name)).isSuperset(of: ["default", "kube-system", "weft-system"]))
            let service = try await api.get(.services, ObjectKey(namespace: "default", name: "kubernetes"))
            #expect(service.spec["clusterIP"] == "10.96.0.1")
            let slice = try await api.get(.endpointSlices, ObjectKey(namespace: "default", name: "kubernetes"))
            #expect(slice.json["endpoints"]?[0]?["addresses"] == ["10.245.0.1"])
        }
    }

    @Test("create gives identity; update is guarded by the version; generation counts changes of the spec only")
    func lifecycle() async throws {
        try await withServer { _, api in
            let made = try await api.create(.configMaps, configMap("settings", ["a": "1"]))
            #expect(made.uid.count == 36 && !made.resourceVersion.isEmpty && made.creationTimestamp != nil)
            let again = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("settings"))
            }
            #expect(again?.alreadyExists == true)
            #expect(again?.message == "configmaps \"settings\" already exists")
            var changed = made
            changed.json["data"] = ["a": "2"]
            let second = try await api.update(.configMaps, changed)
            #expect(second.resourceVersion != made.resourceVersion && second.uid == made.uid)
            let stale = await failure { () throws(APIFailure) in _ = try await api.update(.configMaps, changed) }
            #expect(stale?.isConflict == true)
            let same = try await api.update(.configMaps, second)
            #expect(same.resourceVersion == second.resourceVersion)
        }
    }

    @Test("a namespace must exist, and must not be ending")
    func namespaces() async throws {
        try await withServer { _, api in
            let missing = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("x", namespace: "nowhere"))
            }
            #expect(missing?.code == 404)
            #expect(missing?.message == "namespaces \"nowhere\" not found")
            _ = try await api.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "gone"))
            try await api.delete(.namespaces, ObjectKey(name: "gone"))
            let ending = try await api.get(.namespaces, ObjectKey(name: "gone"))
            #expect(ending.status["phase"] == "Terminating" && ending.deletionTimestamp != nil)
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(.configMaps, configMap("x", namespace: "gone"))
            }
            #expect(refused?.code == 403)
            #expect(refused?.message.contains("because it is being terminated") == true)
            var empty = ending
            empty.json["spec"] = ["finalizers": []]
            _ = try await api.update(.namespaces, empty, subresource: "finalize")
            let after = await failure { () throws(APIFailure) in
                _ = try await api.get(.namespaces, ObjectKey(name: "gone"))
            }
            #expect(after?.isNotFound == true)
        }
    }

    @Test("a pod on a node stays until its node deletes it with no grace left; one without a node goes at once")
    func gracefulDeletion() async throws {
        try await withServer { _, api in
            _ = try await api.create(
                .serviceAccounts,
                KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "default"))
            let made = try await api.create(.pods, pod("free"))
            #expect(made.status["phase"] == "Pending")
            #expect(made.spec["serviceAccountName"] == "default")
            try await api.delete(.pods, made.key)
            #expect(await isMissing(api, .pods, made.key))

            let placed = try await api.create(.pods, pod("placed"))
            try await api.bind(placed.key, uid: placed.uid, node: "node-1")
            let again = await failure { () throws(APIFailure) in
                try await api.bind(placed.key, uid: placed.uid, node: "node-2")
            }
            #expect(again?.isConflict == true)
            #expect(again?.message.contains("already assigned to node \"node-1\"") == true)
            try await api.delete(.pods, placed.key)
            let ending = try await api.get(.pods, placed.key)
            #expect(ending.deletionTimestamp != nil)
            #expect(ending.metadata["deletionGracePeriodSeconds"] == 30)
            try await api.delete(.pods, placed.key, DeleteOptions(gracePeriodSeconds: 0, uid: ending.uid))
            #expect(await isMissing(api, .pods, placed.key))
        }
    }

    @Test("finalizers hold an object; foreground deletion adds one")
    func finalizers() async throws {
        try await withServer { _, api in
            var map = configMap("held")
            map.finalizers = ["example.test/hold"]
            let made = try await api.create(.configMaps, map)
            try await api.delete(.configMaps, made.key, DeleteOptions(propagation: .foreground))
            var held = try await api.get(.configMaps, made.key)
            #expect(held.finalizers == ["example.test/hold", "foregroundDeletion"])
            held.finalizers.append("example.test/late")
            let late = held
            let refused = await failure { () throws(APIFailure) in _ = try await api.update(.configMaps, late) }
            #expect(
                refused?.code == 422
                    && refused?.message.contains("metadata.finalizers: Forbidden: no new finalizers can be added")
                        == true
            )
            held.finalizers = []
            _ = try await api.update(.configMaps, held)
            #expect(await isMissing(api, .configMaps, made.key))
        }
    }

    @Test("status and spec are written apart")
    func status() async throws {
        try await withServer { _, api in
            var deployment = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "default", name: "web")
            deployment.json["spec"] = [
                "replicas": 2, "selector": ["matchLabels": ["app": "web"]],
                "template": [
                    "metadata": ["labels": ["app": "web"]],
                    "spec": ["containers": [["name": "app", "image": "example.test/app:1"]]],
                ],
            ]
            deployment.json["status"] = ["replicas": 9]
            var made = try await api.create(.deployments, deployment)
            #expect(made.status["replicas"] == nil && made.generation == 1)
            made.json["status"] = ["replicas": 2, "observedGeneration": 1]
            made.json[path: ["spec", "replicas"]] = 7
            var current = try await api.updateStatus(.deployments, made)
            #expect(current.status["replicas"] == 2)
            #expect(current.spec["replicas"] == 2 && current.generation == 1)
            current.json[path: ["spec", "replicas"]] = 3
            current.json["status"] = nil
            current = try await api.update(.deployments, current)
            #expect(current.status["replicas"] == 2 && current.generation == 2)
        }
    }

    @Test("service addresses: given, honoured, refused when taken, freed with the service")
    func services() async throws {
        try await withServer { _, api in
            func service(_ name: String, address: String? = nil, type: String = "ClusterIP") -> KubeObject {
                var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: name)
                service.json["spec"] = ["type": .string(type), "selector": ["app": "web"], "ports": [["port": 80]]]
                if let address { service.json[path: ["spec", "clusterIP"]] = .string(address) }
                return service
            }
            let one = try await api.create(.services, service("one"))
            #expect(one.spec["clusterIP"]?.string?.hasPrefix("10.96.") == true)
            let dns = try await api.create(.services, service("dns", address: "10.96.0.10"))
            #expect(dns.spec["clusterIPs"] == ["10.96.0.10"])
            let taken = await failure { () throws(APIFailure) in
                _ = try await api.create(.services, service("two", address: "10.96.0.10"))
            }
            #expect(taken?.code == 422 && taken?.message.contains("already allocated") == true)
            let outside = await failure { () throws(APIFailure) in
                _ = try await api.create(.services, service("two", address: "10.1.0.1"))
            }
            #expect(outside?.message.contains("10.96.0.0/16") == true)
            try await api.delete(.services, dns.key)
            _ = try await api.create(.services, service("two", address: "10.96.0.10"))
            let port = try await api.create(.services, service("port", type: "NodePort"))
            #expect((30000...32767).contains(port.spec["ports"]?[0]?["nodePort"]?.int ?? 0))
            let headless = try await api.create(.services, service("headless", address: "None"))
            #expect(headless.spec["clusterIP"] == "None")
        }
    }

    @Test("bad input names the object and the field, and nothing is stored")
    func badInput() async throws {
        try await withServer { _, api in
            var unknown = configMap("bad")
            unknown.json["dota"] = ["a": "1"]
            let strict = await failure { () throws(APIFailure) in _ = try await api.create(.configMaps, unknown) }
            #expect(strict?.code == 400 && strict?.message.contains("unknown field \"dota\"") == true)
            #expect(strict?.message.contains("\"bad\"") == true)
            var wrong = pod("bad")
            wrong.json["spec"] = ["containers": "none"]
            let typed = await failure { () throws(APIFailure) in _ = try await api.create(.pods, wrong) }
            #expect(typed?.message.contains("spec.containers") == true)
            let reference = await failure { () throws(APIFailure) in _ = try await api.create(.pods, pod("bad")) }
            #expect(reference?.message.contains("serviceaccount \"default\" not found") == true)
            let left = try await api.list(.pods).items
            #expect(left.isEmpty)
        }
    }

    @Test("generated names are unique, and a body without any name is refused")
    func generatedNames() async throws {
        try await withServer { _, api in
            var map = configMap("")
            map.json["metadata"] = ["generateName": "web-", "namespace": "default"]
            var names: Set<String> = []
            for _ in 0..<20 { names.insert(try await api.create(.configMaps, map).name) }
            #expect(names.count == 20 && names.allSatisfy { $0.hasPrefix("web-") && $0.count == 9 })
            map.json["metadata"] = ["namespace": "default"]
            let nameless = await failure { () throws(APIFailure) in _ = try await api.create(.configMaps, map) }
            #expect(nameless?.code == 422 && nameless?.message.contains("metadata.name") == true)
        }
    }

    @Test("everything survives a restart of the server")
    func restart() async throws {
        let directory = try temporaryDirectory("weft-api")
        defer { removeTree(directory) }
        let configuration = APIServerConfiguration(stateDirectory: directory, listeners: [])
        var server = try await APIServer.start(configuration)
        let made = try await server.api(as: .administrator).create(.configMaps, configMap("kept", ["a": "1"]))
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: "kept")
        service.json["spec"] = ["clusterIP": "10.96.7.7", "ports": [["port": 80]]]
        _ = try await server.api(as: .administrator).create(.services, service)
        let certificate = server.rootCertificate
        await server.stop()
        server = try await APIServer.start(configuration)
        #expect(server.rootCertificate == certificate)
        service.name = "other"
        let taken = await failure { () throws(APIFailure) in
            _ = try await server.api(as: .administrator).create(.services, service)
        }
        #expect(taken?.message.contains("already allocated") == true)
        let found = try await server.api(as: .administrator).get(.configMaps, made.key)
        #expect(found == made)
        await server.stop()
    }
}
