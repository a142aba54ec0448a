import KubeTypes
import Testing
import Wire

@Suite("schemas as the walks see them")
struct SchemaNodeTests {
    @Test("each of a schema's names is found, and no other")
    func names() throws {
        var count = 0
        var wrong: [String] = []
        for name in SchemaLibrary.builtIn.names {
            let table = SchemaLibrary.builtIn.schema(name).properties
            let links = table.values
            if table[""] != nil { wrong.append("\(name).") }
            for (place, member) in table.keys.enumerated() {
                count += 1
                if table[member] !== links[place] { wrong.append("\(name).\(member)") }
                for other in [member + "x", String(member.dropLast())] where table[other] === links[place] {
                    wrong.append("\(name).\(other)")
                }
            }
        }
        #expect(wrong == [])
        #expect(count > 2000)
    }

    @Test("a member that is required but that the schema does not describe is missed")
    func requiredAndUnnamed() throws {
        let kind = try CustomManifest.kind(
            """
            type: object
            properties:
              spec:
                type: object
                x-kubernetes-preserve-unknown-fields: true
                required: [size]
            """)
        #expect(try CustomManifest.faults(kind, "spec: {size: 3, color: red}") == [])
        #expect(try CustomManifest.faults(kind, "spec: {color: red}") == ["spec.size: Required value"])
    }

    @Test("a schema that holds itself is followed as deep as the object goes")
    func recursive() throws {
        var schema = "{type: integer}"
        for _ in 0..<20 { schema = "{type: object, properties: {a: \(schema)}}" }
        #expect(try CustomManifest.faults(CustomManifest.crd("{type: object, properties: {spec: \(schema)}}")) == [])
        let wrong = schema.replacing("integer", with: "7")
        #expect(throws: APIFailure.self) {
            try CustomManifest.faults(CustomManifest.crd("{type: object, properties: {spec: \(wrong)}}"))
        }
    }

    @Test("many at once see the same schema, also the first time")
    func atOnce() async throws {
        let definition = try #require(SchemaCatalog.builtIn.definition(group: "batch", version: "v1", resource: "jobs"))
        let job: JSON = ["spec": ["template": ["spec": ["containers": [["name": "a", "image": "b"]]]]]]
        let made = await withTaskGroup(of: KubeObject.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var object = KubeObject(job)
                    definition.default(&object)
                    return object
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(made).count == 1)
        #expect(made[0].json[path: ["spec", "template", "spec", "dnsPolicy"]] == "ClusterFirst")
    }
}
