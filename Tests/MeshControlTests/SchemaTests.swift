import KubeClient
import KubeTypes
import MeshControl
import MeshModel
import Testing
import Wire

/// What we write must be what the API server takes.
@Suite struct SchemaTests {
    static func check(_ object: KubeObject) throws {
        let definition = try #require(
            SchemaCatalog.builtIn.definition(apiVersion: object.apiVersion, kind: object.kind),
            "\(object.label) is a kind served")
        var (read, _) = try definition.decode(object.json, fieldValidation: .strict)
        definition.default(&read)
        try definition.validate(read)
    }

    @Test("every kind the mesh watches is served", arguments: MeshState.watched)
    func watched(type: ResourceType) {
        let definition = SchemaCatalog.builtIn.definition(of: type)
        #expect(definition?.type == type)
    }

    @Test("the defaults and the examples fit their schemas, field by field")
    func manifests() throws {
        for object in try ProxyTemplates.defaults(image: "weft.dev/meshproxy:1") { try Self.check(object) }
        let files = [
            "canary/00-namespace", "canary/frontend", "canary/catalog-v1", "canary/catalog-v2", "canary/services",
            "canary/route",
            "canary/ingress", "canary-istio/route", "strict-mtls/peer-authentication",
            "mirror/route", "fault/route", "redirect/route", "rewrite/route", "cors/route",
            "tls-routes/routes",
        ]
        for file in files {
            for object in try MemoryAPI.objects(file: "policies/examples/\(file).yaml") { try Self.check(object) }
        }
    }

    @Test("an injected pod is a valid pod")
    func injected() throws {
        var pod = InjectionTests.pod(spec: ["initContainers": [["name": "prepare", "image": "x"]]])
        pod.json["apiVersion"] = "v1"
        try Self.check(try InjectionTests.injected(pod))
    }

    @Test("the statuses written fit their schemas")
    func statuses() async throws {
        let mesh = try await RunningMesh()
        for file in [
            "policies/defaults/gateway", "policies/examples/canary/route", "policies/examples/canary/ingress",
            "policies/examples/canary-istio/route", "policies/examples/canary/00-namespace",
            "policies/examples/canary/services", "policies/examples/tls-routes/routes",
        ] {
            try mesh.api.apply(file: "\(file).yaml")
        }
        let written: [(ResourceType, ObjectKey, String)] = [
            (.gatewayClasses, ObjectKey(name: "weft"), "conditions"),
            (.gateways, ObjectKey(namespace: "weft-system", name: "ingress"), "listeners"),
            (.httpRoutes, ObjectKey(namespace: "demo", name: "catalog"), "parents"),
            (.httpRoutes, ObjectKey(namespace: "demo", name: "ingress"), "parents"),
            (.tlsRoutes, ObjectKey(namespace: "weft-system", name: "sealed"), "parents"),
            (.tlsRoutes, ObjectKey(namespace: "demo", name: "frontend"), "parents"),
            (.virtualServices, ObjectKey(namespace: "demo", name: "catalog"), "validationMessages"),
            (.destinationRules, ObjectKey(namespace: "demo", name: "catalog"), "conditions"),
        ]
        for (type, key, field) in written {
            try await eventually("the status of \(type.kind) \(key)") {
                try await mesh.api.get(type, key).status[field]?.array?.isEmpty == false
            }
            try Self.check(try await mesh.api.get(type, key))
        }
        await mesh.end()
    }
}
