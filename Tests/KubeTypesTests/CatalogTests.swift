import KubeTypes
import Testing
import Wire

@Suite("The catalog of kinds")
struct CatalogTests {
    let catalog = SchemaCatalog.builtIn

    @Test("the types our controllers name are all there, spelled the same")
    func constants() throws {
        let types: [ResourceType] = [
            .namespaces, .nodes, .pods, .services, .endpoints, .serviceAccounts, .configMaps, .secrets, .events,
            .deployments,
            .replicaSets, .endpointSlices, .leases, .httpRoutes, .gateways, .gatewayClasses, .virtualServices,
            .destinationRules,
            .istioGateways, .peerAuthentications,
        ]
        for type in types {
            let definition = try #require(catalog.definition(of: type), "\(type)")
            #expect(definition.type == type)
            #expect(catalog.definition(apiVersion: type.apiVersion, kind: type.kind)?.type == type)
            #expect(!definition.schema.properties.isEmpty, "\(type)")
            #expect(definition.columns.first?.name == (type == .events ? "Last Seen" : "Name"))
        }
    }

    @Test(
        "words users type lead to the right kind",
        arguments: [
            ("po", "pods"), ("deploy", "deployments"), ("Deployment", "deployments"), ("svc", "services"),
            ("vs", "virtualservices"),
            ("dr", "destinationrules"), ("httproute", "httproutes"), ("gateways.networking.istio.io", "gateways"),
            ("ns", "namespaces"), ("gtw", "gateways"),
        ])
    func words(word: String, resource: String) throws {
        #expect(try #require(catalog.definition(named: word)).type.resource == resource)
    }

    @Test("only stable Kubernetes versions are served; custom kinds in all their served versions")
    func versions() throws {
        #expect(
            catalog.definition(group: "storage.k8s.io", version: "v1beta1", resource: "volumeattributesclasses") == nil)
        #expect(catalog.versions(of: "autoscaling") == ["v2", "v1"])
        #expect(catalog.versions(of: "networking.istio.io") == ["v1", "v1beta1", "v1alpha3"])
        let old = try #require(
            catalog.definition(group: "networking.istio.io", version: "v1alpha3", resource: "virtualservices"))
        #expect(old.storageType.version == "v1")
        #expect(old.schema.properties["spec"] != nil)
        let grant = try #require(
            catalog.definition(group: "gateway.networking.k8s.io", version: "v1", resource: "referencegrants"))
        #expect(grant.storageVersion == "v1beta1")
    }

    @Test("every schema can be read, and its patterns compile")
    func schemas() {
        for definition in catalog.definitions { #expect(definition.schema.kind == .object, "\(definition.type)") }
        #expect(catalog.definitions.count > 90)
    }

    @Test("versions are ordered as Kubernetes orders them")
    func order() {
        let sorted = ["v1beta1", "v1", "v2alpha1", "v10", "v2", "v1alpha1", "foo"].sorted {
            APIVersion($0) > APIVersion($1)
        }
        #expect(sorted == ["v10", "v2", "v1", "v1beta1", "v2alpha1", "v1alpha1", "foo"])
    }
}
