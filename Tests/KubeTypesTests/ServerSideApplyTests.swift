import KubeTypes
import Testing
import Wire

@Suite("Server-side apply")
struct ServerSideApplyTests {
    let now = Timestamp(seconds: 1_000_000)

    private func apply(_ yaml: String, to live: KubeObject?, by manager: String = "me", force: Bool = false) throws
        -> KubeObject
    {
        let json = try Manifest.json(yaml)
        return try Manifest.definition(json).apply(KubeObject(json), to: live, manager: manager, force: force, now: now)
    }
    private func owned(_ object: KubeObject, by manager: String) -> [String] {
        let entry = object.metadata["managedFields"]?.array?.first { $0["manager"]?.string == manager }
        return FieldSet(entry?["fieldsV1"] ?? [".": [:]]).paths.map(FieldSet.text)
    }

    @Test("a first apply creates the object and owns what it says")
    func create() throws {
        let object = try apply(Manifest.service, to: nil)
        #expect(object.spec["selector"] == ["app": "web"])
        let entry = try #require(object.metadata["managedFields"]?[0])
        #expect(
            entry["manager"] == "me" && entry["operation"] == "Apply" && entry["apiVersion"] == "v1"
                && entry["fieldsType"] == "FieldsV1")
        #expect(entry["time"] == "1970-01-12T13:46:40Z")
        #expect(
            entry["fieldsV1"]
                == [
                    "f:spec": [
                        "f:selector": [:],
                        "f:ports": [
                            #"k:{"port":80,"protocol":"TCP"}"#: [".": [:], "f:port": [:], "f:targetPort": [:]]
                        ],
                    ]
                ])
    }

    @Test("what is no longer applied goes away, and only that")
    func removal() throws {
        var live = try apply(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {x: '1'}}, data: {a: '1', b: '2'}}", to: nil)
        live.json[path: ["data", "c"]] = "theirs"
        let object = try apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: '3'}}", to: live)
        #expect(object.json["data"] == ["a": "3", "c": "theirs"])
        #expect(object.labels == [:])
        #expect(owned(object, by: "me") == [".data.a"])
    }

    @Test("an empty map that gets entries keeps them")
    func fromEmpty() throws {
        let live = try apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {}}", to: nil)
        let object = try apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: '1'}}", to: live)
        #expect(object.json["data"] == ["a": "1"])
        let empty = try apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {}}", to: object)
        #expect(empty.json["data"] == [:])
    }

    @Test("list elements are merged by key and removed as a whole")
    func lists() throws {
        let two = Manifest.deployment.replacing(
            "      volumes:", with: "      - {name: log, image: \"log:1\"}\n      volumes:")
        let live = try apply(two, to: nil)
        #expect(live.spec[path: ["template", "spec", "containers"]]?.array?.count == 2)
        let object = try apply(Manifest.deployment, to: live)
        #expect(object.spec[path: ["template", "spec", "containers"]]?.array?.map { $0["name"] } == ["web"])
        #expect(try apply(Manifest.deployment, to: object) == object, "the same again changes nothing")
    }

    @Test("another manager's field is a conflict, unless it has that value or is forced")
    func conflict() throws {
        let live = try apply(Manifest.deployment, to: nil)
        let mine = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 5}}"
        let failure = #expect(throws: APIFailure.self) { try apply(mine, to: live, by: "you") }
        #expect(failure?.code == 409)
        #expect(failure?.message == "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas")
        #expect(
            failure?.details?["causes"]?[0] == [
                "reason": "FieldManagerConflict", "message": "conflict with \"me\"",
                "field": ".spec.replicas",
            ])
        let shared = try apply(mine.replacing("5", with: "2"), to: live, by: "you")
        #expect(owned(shared, by: "me").contains(".spec.replicas") && owned(shared, by: "you") == [".spec.replicas"])
        let forced = try apply(mine, to: live, by: "you", force: true)
        #expect(forced[Deployment.replicas] == 5)
        #expect(!owned(forced, by: "me").contains(".spec.replicas"))
        let container =
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: web, image: 'web:9'}]}}}}"
        let inner = #expect(throws: APIFailure.self) { try apply(container, to: live, by: "you") }
        #expect(
            inner?.message
                == "Apply failed with 1 conflict: conflict with \"me\": .spec.template.spec.containers[name=\"web\"].image"
        )
    }

    @Test("a plain update takes over what it changes")
    func update() throws {
        let live = try apply(Manifest.deployment, to: nil)
        var changed = live
        changed[Deployment.replicas] = 7
        changed.labels["new"] = "x"
        try Manifest.definition(live.json).trackUpdate(from: live, to: &changed, manager: "kubectl-scale", now: now)
        #expect(owned(changed, by: "kubectl-scale") == [".metadata.labels.new", ".spec.replicas"])
        #expect(!owned(changed, by: "me").contains(".spec.replicas"))
        let failure = #expect(throws: APIFailure.self) { try apply(Manifest.deployment, to: changed) }
        #expect(failure?.message.contains("conflict with \"kubectl-scale\" using apps/v1: .spec.replicas") == true)
        var same = live
        try Manifest.definition(live.json).trackUpdate(from: live, to: &same, manager: "x", now: now)
        #expect(same == live)
    }

    @Test("custom kinds are merged by their schema too")
    func custom() throws {
        let live = try apply(Manifest.httpRoute, to: nil)
        #expect(owned(live, by: "me").contains(".spec.parentRefs"), "an atomic list is owned whole")
        let object = try apply(Manifest.httpRoute.replacing("weight: 90", with: "weight: 50"), to: live)
        #expect(object.spec["rules"]?[0]?["backendRefs"]?[0]?["weight"] == 50)
    }

    @Test("an object to apply may not bring its own record")
    func ownRecord() {
        #expect(throws: APIFailure.self) {
            try apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, managedFields: []}}", to: nil)
        }
    }
}
