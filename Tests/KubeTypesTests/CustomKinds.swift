import KubeTypes
import Testing
import Wire

/// CRDs of the tests, from the schema of their one version.
enum CustomManifest {
    static func crd(_ schema: String, more: String = "") throws -> KubeObject {
        var json = try Manifest.json(
            """
            apiVersion: apiextensions.k8s.io/v1
            kind: CustomResourceDefinition
            metadata: {name: widgets.example.com}
            spec:
              group: example.com
              scope: Namespaced
              names: {plural: widgets, kind: Widget}
            """)
        var version: JSON = ["name": "v1", "served": true, "storage": true]
        version["schema"] = ["openAPIV3Schema": try Manifest.json(schema)]
        if !more.isEmpty {
            for member in try Manifest.json(more).object ?? JSONObject() { version[member.key] = member.value }
        }
        json[path: ["spec", "versions"]] = [version]
        return KubeObject(json)
    }

    static var definition: ResourceDefinition {
        get throws { try #require(SchemaCatalog.builtIn.definition(of: .customResourceDefinitions)) }
    }

    /// What is wrong with the CRD, one line a fault.
    static func faults(_ object: KubeObject, old: KubeObject? = nil) throws -> [String] {
        let kind = try definition
        var (object, _) = try kind.decode(object.json, fieldValidation: .strict)
        kind.default(&object)
        var before = old
        if var old = before {
            kind.default(&old)
            before = old
        }
        return kind.faults(object, old: before).map(\.description)
    }

    static func kind(_ schema: String, more: String = "") throws -> ResourceDefinition {
        let crd = try crd(schema, more: more)
        #expect(try faults(crd) == [])
        return try #require(CustomDefinition(crd).definitions().first)
    }

    static func object(_ text: String) throws -> KubeObject {
        var json = try Manifest.json(text)
        json["apiVersion"] = "example.com/v1"
        json["kind"] = "Widget"
        json["metadata"] = ["name": "a", "namespace": "demo"]
        return KubeObject(json)
    }

    /// What is wrong with an object of the kind.
    static func faults(_ kind: ResourceDefinition, _ text: String, old: String? = nil) throws -> [String] {
        var (object, _) = try kind.decode(try object(text).json, fieldValidation: .ignore)
        kind.default(&object)
        var before: KubeObject?
        if let old {
            before = try kind.decode(try self.object(old).json, fieldValidation: .ignore).object
            if var filled = before {
                kind.default(&filled)
                before = filled
            }
        }
        return kind.faults(object, old: before).map(\.description)
    }
}
