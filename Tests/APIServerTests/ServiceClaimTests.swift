import KubeClient
import KubeTypes
import Store
import Testing
import Wire

@testable import APIServer

@Suite("Claims of service addresses")
struct ServiceClaimTests {
    private func service(_ name: String, address: String? = nil, port: Int? = nil) -> KubeObject {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "default", name: name)
        service.json["spec"] = ["type": "NodePort", "ports": [["port": 80]]]
        if let address { service.json[path: ["spec", "clusterIP"]] = .string(address) }
        if let port { service.json[path: ["spec", "ports"]] = [["port": 80, "nodePort": .int(Int64(port))]] }
        return service
    }

    @Test("each address is an IPAddress that names its service, and goes with it")
    func addresses() async throws {
        try await withServer { _, api in
            let web = try await api.create(.services, service("web"))
            let name = try #require(web.spec["clusterIP"]?.string)
            let address = try await api.get(ServiceClaims.addressType, ObjectKey(name: name))
            #expect(
                address.spec["parentRef"] == [
                    "group": "", "resource": "services", "namespace": "default", "name": "web",
                ])
            #expect(address.labels["ipaddress.kubernetes.io/managed-by"] == "ipallocator.k8s.io")
            var changed = web
            changed.json["spec"] = ["type": "ExternalName", "externalName": "example.test"]
            _ = try await api.update(.services, changed)
            #expect(await isMissing(api, ServiceClaims.addressType, address.key))
            let fixed = try await api.create(.services, service("fixed", address: name))
            try await api.delete(.services, fixed.key)
            #expect(await isMissing(api, ServiceClaims.addressType, address.key))
        }
    }

    @Test("a write that fails gives back what it took, a dry run takes nothing")
    func failed() async throws {
        try await withServer { server, api in
            _ = try await api.create(.services, service("web", port: 30080))
            let before = claimed(server)
            let refused = await failure { () throws(APIFailure) in
                _ = try await api.create(.services, service("other", address: "10.96.4.4", port: 30080))
            }
            #expect(refused?.message.contains("provided port is already allocated") == true)
            var context = WriteContext(user: .apiServer)
            context.isDryRun = true
            let definition = try server.registry.definition(of: .services)
            let shown = try await server.registry.create(
                definition, namespace: "default", service("dry", address: "10.96.4.4"), context)
            #expect(shown.spec["clusterIP"] == "10.96.4.4" && shown.spec["ports"]?[0]?["nodePort"]?.int ?? 0 > 0)
            #expect(claimed(server) == before)
            _ = try await api.create(.services, service("third", address: "10.96.4.4"))
        }
    }

    @Test("a claim whose service never came is given up at the second look, a service without its claim gets it back")
    func repair() async throws {
        try await withServer { server, api in
            let claims = ServiceClaims(registry: server.registry)
            let lost = ObjectKey(namespace: "default", name: "lost")
            for address in ["10.96.5.5", "10.96.5.6"] {
                let number = try #require(ServiceRange.address(address))
                #expect(try await claims.take(.address(number), for: lost) != nil)
            }
            #expect(try await claims.take(.port(31000), for: lost) != nil)
            let web = try await api.create(.services, service("web", address: "10.96.6.6"))
            let address = ObjectKey(name: "10.96.6.6")
            try await api.delete(ServiceClaims.addressType, address)
            // Of a user's own IPAddress nothing is known here.
            var own = KubeObject(apiVersion: "networking.k8s.io/v1", kind: "IPAddress", name: "10.96.7.7")
            own.json["spec"] = ["parentRef": ["group": "example.test", "resource": "things", "name": "mine"]]
            _ = try await api.create(ServiceClaims.addressType, own)
            // Begun again after the server died, the same service goes on with what it claimed.
            _ = try await api.create(.services, service("lost", address: "10.96.5.5"))

            var repair = ClaimRepair(server.registry)
            try await repair.pass()
            let back = try await api.get(ServiceClaims.addressType, address)
            #expect(back.spec["parentRef"]?["name"]?.string == web.name)
            #expect(await !isMissing(api, ServiceClaims.addressType, ObjectKey(name: "10.96.5.6")))
            try await repair.pass()
            #expect(await isMissing(api, ServiceClaims.addressType, ObjectKey(name: "10.96.5.6")))
            #expect(await !isMissing(api, ServiceClaims.addressType, ObjectKey(name: "10.96.5.5")))
            #expect(claims.isFree(.port(31000)))
            #expect(await !isMissing(api, ServiceClaims.addressType, own.key))
        }
    }

    @Test(
        "those who ask for nothing get what is above the part for those who ask by name",
        arguments: [("10.96.0.0/16", 65534, 256), ("10.0.0.0/24", 254, 16), ("10.0.0.0/28", 14, 0)])
    func order(_ text: String, _ count: Int, _ lower: Int) throws {
        let range = try ServiceRange(text, reserved: [])
        let base = try #require(ServiceRange.address(String(text.prefix { $0 != "/" })))
        let offsets = range.candidates.map { Int($0 - base) }
        #expect(offsets.count == count && Set(offsets) == Set(1...count))
        #expect(offsets.prefix(count - lower).allSatisfy { $0 > lower })
        let ports = Array(range.portCandidates)
        #expect(
            ports.count == 2768 && Set(ports) == Set(30000...32767) && ports.prefix(2682).allSatisfy { $0 >= 30086 })
    }

    private func balanced(_ name: String, policy: String = "Local", health: Int? = nil) -> KubeObject {
        var service = service(name)
        service.json[path: ["spec", "type"]] = "LoadBalancer"
        service.json[path: ["spec", "externalTrafficPolicy"]] = .string(policy)
        service.json[path: ["spec", "healthCheckNodePort"]] = health.map { .int(Int64($0)) }
        return service
    }

    @Test("a load balancer that keeps traffic local has a port for health checks as long as it does so")
    func healthPort() async throws {
        try await withServer { server, api in
            let claims = ServiceClaims(registry: server.registry)
            let made = try await api.create(.services, balanced("web"))
            let port = try #require(made.spec["healthCheckNodePort"]?.int)
            #expect((30000...32767).contains(port) && made.spec["ports"]?[0]?["nodePort"]?.int != port)
            #expect(claims.kept(.port(port))?.owner == made.key)
            // Replaced by what was written at first, it keeps what it was given.
            var again = balanced("web")
            again.labels = ["app": "web"]
            let kept = try await api.update(.services, again)
            #expect(kept.spec == made.spec && kept.labels == again.labels && kept.generation == made.generation)

            var moved = kept
            moved.json[path: ["spec", "healthCheckNodePort"]] = .int(port == 30999 ? 30998 : 30999)
            let other = moved
            let refused = await failure { () throws(APIFailure) in _ = try await api.update(.services, other) }
            #expect(refused?.message.contains("spec.healthCheckNodePort: Forbidden: field is immutable") == true)

            var cluster = kept
            cluster.json[path: ["spec", "externalTrafficPolicy"]] = "Cluster"
            let open = try await api.update(.services, cluster)
            #expect(open.spec["healthCheckNodePort"] == nil && claims.isFree(.port(port)))
            var local = open
            local.json[path: ["spec", "externalTrafficPolicy"]] = "Local"
            let back = try await api.update(.services, local)
            let next = try #require(back.spec["healthCheckNodePort"]?.int)
            #expect(!claims.isFree(.port(next)))
            // With its type, a service loses what only that type has, though the update still says it.
            var plain = back
            plain.json[path: ["spec", "type"]] = "ClusterIP"
            let inner = try await api.update(.services, plain)
            for member in ["healthCheckNodePort", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"] {
                #expect(inner.spec[member] == nil, "\(member)")
            }
            #expect(inner.spec["ports"]?[0]?["nodePort"] == nil && inner.spec["clusterIP"] == made.spec["clusterIP"])
            #expect(claims.isFree(.port(next)))
        }
    }

    @Test("a port for health checks that is asked for is had when nobody else has it")
    func askedHealthPort() async throws {
        try await withServer { server, api in
            let claims = ServiceClaims(registry: server.registry)
            let web = try await api.create(.services, balanced("web", health: 30500))
            #expect(web.spec["healthCheckNodePort"] == 30500)
            var both = balanced("both", health: 30600)
            both.json[path: ["spec", "ports"]] = [["port": 80, "nodePort": 30600]]
            var late = service("late", port: 30500)
            late.json[path: ["spec", "type"]] = "NodePort"
            let taken = "provided port is already allocated"
            let health = "failed to allocate requested HealthCheck NodePort"
            let refusals: [(KubeObject, Int, String)] = [
                (balanced("other", health: 30500), 500, "\(health) 30500: \(taken)"),
                (both, 500, "\(health) 30600: \(taken)"), (late, 422, taken),
                (balanced("far", health: 80), 500, "\(health) 80: provided port is not in the valid range"),
                (
                    balanced("open", policy: "Cluster", health: 30700), 422,
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
                ),
            ]
            let before = claimed(server)
            for (object, code, why) in refusals {
                let refused = await failure { () throws(APIFailure) in _ = try await api.create(.services, object) }
                #expect(refused?.code == code && refused?.message.contains(why) == true, "\(object.name)")
            }
            #expect(claimed(server) == before)
            try await api.delete(.services, web.key)
            #expect(claims.isFree(.port(30500)))
            _ = try await api.create(.services, balanced("other", health: 30500))
        }
    }

    /// How many services and addresses are stored; the server writes other things by itself.
    private func claimed(_ server: APIServer) -> Int {
        var count = 0
        server.registry.store.snapshot().index.visit(under: "/registry/") { record in
            if record.key.contains("/services/") || record.key.contains("/ipaddresses/") { count += 1 }
            return true
        }
        return count
    }

    @Test(
        "a service says of what families its addresses are, and what this cluster does not have is refused",
        arguments: [
            ([:], ["SingleStack", "IPv4"], ""),
            (["ipFamilyPolicy": "PreferDualStack"], ["PreferDualStack", "IPv4"], ""),
            (["clusterIP": "None", "selector": ["a": "b"]], ["SingleStack", "IPv4"], ""),
            (["clusterIP": "None"], ["RequireDualStack", "IPv4", "IPv6"], ""),
            (["clusterIP": "None", "ipFamilies": ["IPv6"]], ["RequireDualStack", "IPv6", "IPv4"], ""),
            (["clusterIP": "None", "ipFamilyPolicy": "SingleStack"], ["SingleStack", "IPv4"], ""),
            (
                ["ipFamilyPolicy": "RequireDualStack"], [],
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack"
            ),
            (
                ["ipFamilies": ["IPv6"]], [],
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"
            ),
            (
                ["ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]], [],
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
            ),
            (["type": "ExternalName", "externalName": "a.test"], [], ""),
        ] as [(JSON, [String], String)])
    func families(_ more: JSON, _ settled: [String], _ why: String) async throws {
        try await withServer { _, api in
            var asked = service("web")
            asked.json["spec"] = ["ports": [["port": 80]]]
            for member in more.object ?? JSONObject() { asked.json[path: ["spec", member.key]] = member.value }
            let object = asked
            if !why.isEmpty {
                let refused = await failure { () throws(APIFailure) in _ = try await api.create(.services, object) }
                #expect(refused?.code == 422 && refused?.message.contains(why) == true)
                return
            }
            let made = try await api.create(.services, object)
            let families = made.spec["ipFamilies"]?.array?.compactMap(\.string) ?? []
            #expect(([made.spec["ipFamilyPolicy"]?.string].compactMap { $0 }) + families == settled)
            // Written again as at first, it stays as it is.
            let again = try await api.update(.services, object)
            #expect(again.resourceVersion == made.resourceVersion)
        }
    }
}
