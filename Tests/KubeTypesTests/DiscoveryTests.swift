import KubeTypes
import Testing
import Wire

@Suite("Discovery and OpenAPI")
struct DiscoveryTests {
    let catalog = SchemaCatalog.builtIn

    @Test("aggregated discovery lists groups, versions, resources and subresources")
    func aggregated() throws {
        let core = catalog.aggregatedDiscovery(legacy: true)
        #expect(core["items"]?.array?.count == 1)
        let resources = core["items"]?[0]?["versions"]?[0]?["resources"]?.array ?? []
        let pods = try #require(resources.first { $0["resource"] == "pods" })
        #expect(pods["responseKind"] == ["group": "", "version": "v1", "kind": "Pod"])
        #expect(
            pods["shortNames"] == ["po"] && pods["categories"] == ["all"] && pods["scope"] == "Namespaced"
                && pods["singularResource"] == "pod")
        let eviction = pods["subresources"]?.array?.first { $0["subresource"] == "eviction" }
        #expect(eviction?["responseKind"] == ["group": "policy", "version": "v1", "kind": "Eviction"])
        let groups = catalog.aggregatedDiscovery(legacy: false)["items"]?.array ?? []
        let names = groups.compactMap { $0["metadata"]?["name"]?.string }
        #expect(
            names.contains("apps") && names.contains("gateway.networking.k8s.io")
                && names.contains("networking.istio.io") && !names.contains(""))
        let autoscaling = groups.first { $0["metadata"]?["name"] == "autoscaling" }
        #expect(autoscaling?["versions"]?.array?.map { $0["version"] } == ["v2", "v1"])
    }

    @Test("the legacy documents say the same")
    func legacy() throws {
        #expect(catalog.legacyVersions(address: "127.0.0.1:6443")["versions"] == ["v1"])
        let groups = catalog.legacyGroups()["groups"]?.array ?? []
        #expect(
            groups.first { $0["name"] == "apps" }?["preferredVersion"] == ["groupVersion": "apps/v1", "version": "v1"])
        let list = try #require(catalog.legacyResources(group: "apps", version: "v1"))
        let scale = list["resources"]?.array?.first { $0["name"] == "deployments/scale" }
        #expect(scale?["group"] == "autoscaling" && scale?["version"] == "v1" && scale?["kind"] == "Scale")
        #expect(catalog.legacyResources(group: "apps", version: "v9") == nil && catalog.legacyGroup("nothing") == nil)
    }

    @Test(
        "what a client accepts decides the form",
        arguments: [
            ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", true),
            ("application/json", false),
            ("application/json;as=APIGroupDiscoveryList; v=v2 ;g=apidiscovery.k8s.io", true),
            ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", false),
        ])
    func accept(header: String, isAggregated: Bool) {
        #expect(SchemaCatalog.asksForAggregation(accept: header) == isAggregated)
    }

    @Test("each group version has an OpenAPI document whose references all resolve")
    func openAPI() throws {
        let documents = OpenAPIDocuments(catalog)
        let paths = try #require(documents.index()["paths"]?.object)
        #expect(
            paths["apis/apps/v1"]?["serverRelativeURL"]?.string?.hasPrefix("/openapi/v3/apis/apps/v1?hash=") == true)
        for path in ["api/v1", "apis/apps/v1", "apis/gateway.networking.k8s.io/v1", "apis/apiextensions.k8s.io/v1"] {
            let parts = path.split(separator: "/").map(String.init)
            let bytes = try #require(
                documents.document(group: parts.count == 3 ? parts[1] : "", version: parts[parts.count - 1]))
            let document = try JSON(parsing: bytes)
            let schemas = try #require(document["components"]?["schemas"]?.object)
            var references: Set<String> = []
            func collect(_ value: JSON) {
                switch value {
                case .object(let members):
                    for member in members {
                        if member.key == "$ref", let text = member.value.string {
                            references.insert(text)
                        } else {
                            collect(member.value)
                        }
                    }
                case .array(let elements): elements.forEach(collect)
                default: break
                }
            }
            collect(document)
            let known = Set(schemas.keys.map { "#/components/schemas/\($0)" })
            #expect(references.subtracting(known) == [], "\(path)")
        }
        #expect(documents.document(group: "apps", version: "v9") == nil)
    }

    @Test("the PATCH operation of a kind names what kubectl looks for")
    func patch() throws {
        let documents = OpenAPIDocuments(catalog)
        let document = try JSON(parsing: try #require(documents.document(group: "apps", version: "v1")))
        let patch = try #require(
            document["paths"]?["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]?["patch"])
        #expect(patch["x-kubernetes-group-version-kind"] == ["group": "apps", "version": "v1", "kind": "Deployment"])
        let parameters = patch["parameters"]?.array?.compactMap { $0["name"]?.string } ?? []
        #expect(Set(parameters).isSuperset(of: ["dryRun", "fieldManager", "fieldValidation", "force"]))
        #expect(patch["requestBody"]?["content"]?["application/strategic-merge-patch+json"] != nil)
        let containers = document["components"]?["schemas"]?["io.k8s.api.core.v1.PodSpec"]?["properties"]?["containers"]
        #expect(containers?["x-kubernetes-patch-merge-key"] == "name")
        let custom = try JSON(parsing: try #require(documents.document(group: "networking.istio.io", version: "v1")))
        let own = custom["paths"]?["/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices/{name}"]?[
            "patch"]
        #expect(
            own?["requestBody"]?["content"]?["application/strategic-merge-patch+json"] == nil
                && own?["requestBody"]?["content"]?["application/merge-patch+json"] != nil)
        #expect(
            custom["components"]?["schemas"]?["io.istio.networking.v1.VirtualService"]?["properties"]?["spec"] != nil)
    }

    @Test("a CRD's kinds join the catalog and go through the same machinery")
    func customResource() throws {
        let crd = KubeObject(
            try Manifest.json(
                """
                apiVersion: apiextensions.k8s.io/v1
                kind: CustomResourceDefinition
                metadata: {name: pets.example.com}
                spec:
                  group: example.com
                  scope: Namespaced
                  names: {plural: pets, kind: Pet, shortNames: [pt]}
                  versions:
                  - name: v1
                    served: true
                    storage: true
                    subresources: {status: {}}
                    additionalPrinterColumns: [{name: Legs, type: integer, jsonPath: .spec.legs}]
                    schema:
                      openAPIV3Schema:
                        type: object
                        properties:
                          spec:
                            type: object
                            required: [name]
                            properties:
                              name: {type: string, pattern: '^[a-z]+$'}
                              legs: {type: integer, default: 4, maximum: 8}
                """))
        let catalog = catalog.adding(CustomDefinition(crd).definitions())
        let pets = try #require(catalog.definition(named: "pt"))
        var pet = try pets.decode(
            [
                "apiVersion": "example.com/v1", "kind": "Pet", "metadata": ["name": "a", "namespace": "d"],
                "spec": ["name": "Rex", "wings": 2],
            ], fieldValidation: .warn)
        #expect(pet.warnings == ["unknown field \"spec.wings\""])
        pets.default(&pet.object)
        #expect(pet.object.spec == ["name": "Rex", "legs": 4])
        #expect(
            pets.faults(pet.object).map(\.description) == [
                "spec.name: Invalid value: \"Rex\": spec.name in body should match '^[a-z]+$'"
            ]
        )
        #expect(pets.cells(pet.object, Timestamp(seconds: 0)) == ["a", 4])
        #expect(OpenAPIDocuments(catalog).document(group: "example.com", version: "v1") != nil)
        #expect(pets.hasStatus)
    }
}
