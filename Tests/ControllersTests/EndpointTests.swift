import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import Controllers

private func service(_ ports: [JSON] = [["name": "http", "port": 80, "targetPort": "http"]]) -> KubeObject {
    var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "demo", name: "web")
    service.spec = [
        "selector": ["app": "web"], "ports": .array(ports), "clusterIP": "10.96.0.20", "ipFamilies": ["IPv4"],
    ]
    service.json[path: ["metadata", "uid"]] = "service-1"
    return service
}

private func pod(_ number: Int, ready: Bool = true, ending: Bool = false, port: Int = 8080) -> KubeObject {
    var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "web-\(number)")
    pod.labels = ["app": "web"]
    pod.json[path: ["metadata", "uid"]] = .string("pod-\(number)")
    pod.spec = [
        "nodeName": "node-1",
        "containers": [["name": "app", "ports": [["name": "http", "containerPort": .int(Int64(port))]]]],
    ]
    pod[Pod.phase] = "Running"
    pod[Pod.podIP] = "10.244.\(number / 200).\(number % 200 + 2)"
    pod[Pod.conditions] = [["type": "Ready", "status": ready ? "True" : "False"]]
    if ending { pod.json[path: ["metadata", "deletionTimestamp"]] = "2026-11-21T10:00:00Z" }
    return pod
}

/// The slices after a plan is carried out.
private func performed(_ plan: EndpointSlicePlan, on slices: [KubeObject]) -> [KubeObject] {
    var result: [String: KubeObject] = [:]
    for slice in slices { result[slice.name] = slice }
    for slice in plan.deletions { result[slice.name] = nil }
    for slice in plan.updates { result[slice.name] = slice }
    for (number, slice) in plan.creations.enumerated() {
        var slice = slice
        slice.name = "web-new\(result.count)-\(number)"
        result[slice.name] = slice
    }
    return result.values.sorted { $0.name < $1.name }
}

private func addresses(_ slices: [KubeObject]) -> [String] {
    slices.flatMap { $0[EndpointSlice.endpoints] ?? [] }.compactMap { $0[SliceEndpoint.addresses]?.first }.sorted()
}

@Test("an endpoint says its pod, its node, and whether it is ready, serves and is going")
func endpointConditions() throws {
    let pods = [pod(1), pod(2, ready: false), pod(3, ending: true)]
    let plan = EndpointSlicePlan(service: service(), pods: pods, slices: [])
    let slice = try #require(plan.creations.first)
    #expect(plan.creations.count == 1)
    #expect(slice.labels["kubernetes.io/service-name"] == "web")
    #expect(slice.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io")
    #expect(slice.controller?.uid == "service-1")
    #expect(slice[EndpointSlice.ports] == [["name": "http", "protocol": "TCP", "port": 8080]])
    let conditions = (slice[EndpointSlice.endpoints] ?? []).map { $0["conditions"] }
    #expect(
        conditions == [
            ["ready": true, "serving": true, "terminating": false],
            ["ready": false, "serving": false, "terminating": false],
            ["ready": false, "serving": true, "terminating": true],
        ])
    #expect(slice[EndpointSlice.endpoints]?.first?[SliceEndpoint.targetUID] == "pod-1")
    #expect(slice[EndpointSlice.endpoints]?.first?[SliceEndpoint.nodeName] == "node-1")
}

@Test("what stands is planned again without a write")
func settledSlices() {
    let pods = (0..<250).map { pod($0) }
    let slices = performed(EndpointSlicePlan(service: service(), pods: pods, slices: []), on: [])
    #expect(slices.count == 3)
    #expect(addresses(slices).count == 250)
    #expect(EndpointSlicePlan(service: service(), pods: pods.reversed(), slices: slices).isEmpty)
}

@Test("one pod more or less touches one slice")
func minimalWrites() {
    let pods = (0..<250).map { pod($0) }
    let slices = performed(EndpointSlicePlan(service: service(), pods: pods, slices: []), on: [])
    let grown = EndpointSlicePlan(service: service(), pods: pods + [pod(250)], slices: slices)
    #expect(grown.creations.isEmpty && grown.updates.count == 1 && grown.deletions.isEmpty)
    #expect(addresses(performed(grown, on: slices)).count == 251)
    let shrunk = EndpointSlicePlan(service: service(), pods: Array(pods.dropLast()), slices: slices)
    #expect(shrunk.creations.isEmpty && shrunk.updates.count == 1 && shrunk.deletions.isEmpty)
    let none = EndpointSlicePlan(service: service(), pods: [], slices: slices)
    #expect(none.creations.isEmpty)
    let left = performed(none, on: slices)
    #expect(left.count == 1 && addresses(left).isEmpty)
}

@Test("pods that name the port differently stand in slices of their own")
func portGroups() {
    let plan = EndpointSlicePlan(service: service(), pods: [pod(1), pod(2, port: 9090), pod(3)], slices: [])
    #expect(plan.creations.map { ($0[EndpointSlice.endpoints] ?? []).count }.sorted() == [1, 2])
}

@Test("a native sidecar's port counts, a missing one leaves the pod out of that port")
func namedPorts() {
    var sidecar = pod(1)
    sidecar.json[path: ["spec", "initContainers"]] = [
        ["name": "proxy", "restartPolicy": "Always", "ports": [["name": "metrics", "containerPort": 15090]]]
    ]
    let both: [JSON] = [
        ["name": "http", "port": 80, "targetPort": "http"], ["name": "m", "port": 1, "targetPort": "metrics"],
    ]
    #expect(ResolvedPort.all(of: service(both), on: sidecar).map(\.number) == [8080, 15090])
    #expect(ResolvedPort.all(of: service(both), on: pod(2)).map(\.number) == [8080])
    #expect(ResolvedPort.all(of: service([["port": 81]]), on: pod(2)).map(\.number) == [81])
}

@Test("a service that publishes all shows unready pods as ready")
func publishAll() {
    var all = service()
    all[Service.publishNotReadyAddresses] = true
    let plan = EndpointSlicePlan(service: all, pods: [pod(1, ready: false)], slices: [])
    #expect(plan.creations.first?[EndpointSlice.endpoints]?.first?[SliceEndpoint.ready] == true)
}

@Test("Endpoints part the ready from the others and leave out who is going")
func legacyEndpoints() {
    let object = endpointsObject(for: service(), pods: [pod(1), pod(2, ready: false), pod(3, ending: true)])
    let subset = object.json["subsets"]?[0]
    #expect(subset?["addresses"]?.array?.count == 1)
    #expect(subset?["notReadyAddresses"]?.array?.count == 1)
    #expect(subset?["ports"]?[0]?["port"] == 8080)
}

@Test("slices and Endpoints follow pods as they come and go, and leave with the service")
func endpointsFollow() async throws {
    try await withCluster { api in
        _ = try await api.create(.deployments, deployment("web", replicas: 3))
        _ = try await api.create(.services, service())
        func ready() async throws -> Int {
            try await api.list(.endpointSlices).items.flatMap { $0[EndpointSlice.endpoints] ?? [] }
                .count { $0[SliceEndpoint.ready] == true }
        }
        #expect(try await eventually { try await ready() == 3 })
        #expect(
            try await eventually {
                try await api.list(.endpoints).items.first?.json["subsets"]?[0]?["addresses"]?.array?.count == 3
            })
        let key = ObjectKey(namespace: "demo", name: "web")
        _ = try await api.patch(.deployments, key, .merge, ["spec": ["replicas": 1]], subresource: nil)
        #expect(
            try await eventually {
                let all = try await api.list(.endpointSlices).items.flatMap { $0[EndpointSlice.endpoints] ?? [] }
                return all.count == 1
            })
        #expect(try await api.list(.endpointSlices).items.count == 1)
        try await api.delete(.services, key)
        #expect(try await eventually { try await api.list(.endpointSlices).items.isEmpty })
        #expect(try await eventually { try await api.list(.endpoints).items.isEmpty })
    }
}
