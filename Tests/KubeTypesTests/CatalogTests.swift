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
        let beta = catalog.definition(
            group: "storage.k8s.io", version: "v1beta1", resource: "volumeattributesclasses")
        #expect(beta == nil)
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

    @Test("every stable group, version, kind, verb, subresource, short name and category of Kubernetes' list is served")
    func completeness() throws {
        let file = EmbeddedFacts.resources
        var count = 0
        for group in file {
            let parts = group.key.split(separator: "/").map(String.init)
            guard APIVersion(parts.last ?? "").isStable else { continue }
            let (name, version) = parts.count == 2 ? (parts[0], parts[1]) : ("", group.key)
            for resource in group.value.array ?? [] {
                let plural = try #require(resource["name"]?.string)
                let found = try #require(
                    catalog.definition(group: name, version: version, resource: plural), "\(group.key) \(plural)")
                func strings(_ key: String) -> Set<String> {
                    Set(resource[key]?.array?.compactMap(\.string) ?? [])
                }
                #expect(found.type.kind == resource["kind"]?.string)
                #expect(found.type.isNamespaced == resource["namespaced"]?.bool)
                #expect(found.singular == resource["singularName"]?.string)
                #expect(Set(found.verbs) == strings("verbs"))
                #expect(Set(found.shortNames) == strings("shortNames"))
                #expect(Set(found.categories) == strings("categories"))
                let parts = Set(resource["subresources"]?.object?.keys ?? [])
                #expect(Set(found.subresources.map(\.name)) == parts, "\(plural)")
                count += 1
            }
        }
        #expect(count > 60)
    }

    @Test("an event is one object in both its groups")
    func events() throws {
        let core = try #require(catalog.definition(of: .events))
        let other = try #require(catalog.definition(apiVersion: "events.k8s.io/v1", kind: "Event"))
        #expect(other.storageType == core.storageType)
        let event = KubeObject([
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": ["name": "a"], "note": "pulled",
            "regarding": ["kind": "Pod", "name": "web"], "reportingController": "kubelet", "deprecatedCount": 2,
            "reason": "Pulled",
        ])
        let stored = other.stored(event)
        #expect(stored.apiVersion == "v1" && stored.json["message"] == "pulled" && stored.json["count"] == 2)
        #expect(stored.json["involvedObject"]?["name"] == "web" && stored.json["note"] == nil)
        #expect(other.presented(stored) == event)
        #expect(!other.showsStoredBytes && core.showsStoredBytes)
    }
}
