import KubeTypes
import Testing
import Wire

@Suite("Empty maps and lists")
struct EmptyMembersTests {
    /// A kind, an object of it, and what is left: the same when nothing is.
    static let cases: [(String, String, String, String)] = [
        (
            "v1", "ConfigMap", #"{"metadata":{"name":"a","labels":{},"annotations":{}},"data":{}}"#,
            #"{"metadata":{"name":"a"}}"#
        ),
        (
            "v1", "ConfigMap", #"{"metadata":{"finalizers":[],"ownerReferences":[],"labels":{"a":""}}}"#,
            #"{"metadata":{"labels":{"a":""}}}"#
        ),
        // Who empties the record of managers asks for something.
        ("v1", "ConfigMap", #"{"metadata":{"managedFields":[]}}"#, #"{"metadata":{"managedFields":[]}}"#),
        (
            "v1", "ConfigMap", #"{"metadata":{"managedFields":[{"fieldsV1":{"f:data":{}}}]}}"#,
            #"{"metadata":{"managedFields":[{"fieldsV1":{"f:data":{}}}]}}"#
        ),
        // Structures say something by being there, and so does what a map holds.
        (
            "v1", "Pod",
            #"{"spec":{"securityContext":{},"nodeSelector":{},"tolerations":[],"volumes":[{"name":"a","emptyDir":{}}]}}"#,
            #"{"spec":{"securityContext":{},"volumes":[{"name":"a","emptyDir":{}}]}}"#
        ),
        (
            "v1", "Pod",
            #"{"spec":{"containers":[{"name":"a","resources":{"limits":{},"requests":{"cpu":1}},"env":[]}]}}"#,
            #"{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":1}}}]}}"#
        ),
        ("v1", "Pod", #"{"spec":{"containers":[]}}"#, #"{"spec":{"containers":[]}}"#),
        (
            "networking.k8s.io/v1", "NetworkPolicy", #"{"spec":{"podSelector":{"matchLabels":{}},"ingress":[{}]}}"#,
            #"{"spec":{"podSelector":{},"ingress":[{}]}}"#
        ),
        ("rbac.authorization.k8s.io/v1", "Role", #"{"rules":[]}"#, #"{"rules":[]}"#),
        (
            "apps/v1", "Deployment", #"{"spec":{"template":{"metadata":{"labels":{}}}},"status":{}}"#,
            #"{"spec":{"template":{"metadata":{}}},"status":{}}"#
        ),
        // Values of users' own stay as they are.
        (
            "apiextensions.k8s.io/v1", "CustomResourceDefinition",
            #"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"default":{},"properties":{"a":{"default":[],"items":{}}}}},"subresources":{"status":{}}}]}}"#,
            #"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"default":{},"properties":{"a":{"default":[],"items":{}}}}},"subresources":{"status":{}}}]}}"#
        ),
        (
            "gateway.networking.k8s.io/v1", "Gateway",
            #"{"metadata":{"labels":{}},"spec":{"listeners":[],"addresses":[]}}"#,
            #"{"metadata":{},"spec":{"listeners":[],"addresses":[]}}"#
        ),
    ]

    @Test("are left out as Kubernetes does", arguments: cases)
    func leftOut(apiVersion: String, kind: String, given: String, left: String) throws {
        let definition = try #require(SchemaCatalog.builtIn.definition(apiVersion: apiVersion, kind: kind))
        var object = KubeObject(try JSON(parsing: given))
        definition.dropEmptyMembers(&object)
        #expect(object.json.text == left)
    }

    @Test("stay where they are stored, but in the metadata")
    func stored() throws {
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .pods))
        let json = #"{"metadata":{"labels":{}},"spec":{"nodeSelector":{},"tolerations":[]}}"#
        var object = KubeObject(try JSON(parsing: json))
        let old = KubeObject(try JSON(parsing: #"{"metadata":{"labels":{}},"spec":{"nodeSelector":{}}}"#))
        definition.dropEmptyMembers(&object, old: old)
        #expect(object.json.text == #"{"metadata":{},"spec":{"nodeSelector":{}}}"#)
    }
}
