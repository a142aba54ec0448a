import KubeClient
import KubeTypes
import Testing
import Wire

@testable import APIServer

@Suite("The range of cluster addresses, as users see it")
struct ServiceCIDRTests {
    @Test("kubectl shows the range the server runs with, and whose each address is")
    func shown() async throws {
        try await withKubectl({ $0.serviceRange = "10.96.0.0/12" }) { kubectl, api in
            func table(_ resource: String) async throws -> [[Substring]] {
                try await kubectl.ok("get", resource).split(separator: "\n").map { $0.split(separator: " ") }
            }
            let ranges = try await table("servicecidrs")
            #expect(ranges.first == ["NAME", "CIDRS", "AGE"] && ranges.count == 2)
            #expect(ranges.last?.prefix(2) == ["kubernetes", "10.96.0.0/12"])
            let addresses = try await table("ipaddresses")
            #expect(addresses == [["NAME", "PARENTREF"], ["10.96.0.1", "services/default/kubernetes"]])
            let ready = try await kubectl.ok("wait", "servicecidr/kubernetes", "--for=condition=Ready", "--timeout=5s")
            #expect(ready.contains("condition met"))
        }
    }

    @Test("it is made anew when it is gone; one of another range stays, and is not ready")
    func kept() async throws {
        try await withServer { server, api in
            let range = DefaultServiceCIDR(registry: server.registry)
            let (type, key) = (DefaultServiceCIDR.type, DefaultServiceCIDR.key)
            let first = try await api.get(type, key)
            #expect(first.spec == ["cidrs": ["10.96.0.0/16"]])
            try await range.ensure()
            #expect(try await api.get(type, key) == first)
            try await api.delete(type, key)
            try await range.ensure()
            let second = try await api.get(type, key)
            #expect(second.uid != first.uid && second.status["conditions"]?[0]?["status"] == "True")
            try await api.delete(type, key)
            var other = KubeObject(apiVersion: type.apiVersion, kind: type.kind, name: key.name)
            other.spec = ["cidrs": ["10.20.0.0/16"]]
            _ = try await api.create(type, other)
            try await range.ensure()
            let third = try await api.get(type, key)
            #expect(third.spec == other.spec && third.status["conditions"] == nil)
        }
    }
}
