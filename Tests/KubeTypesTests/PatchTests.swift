import KubeTypes
import Testing
import Wire

@Suite("Patches")
struct PatchTests {
    /// The examples of RFC 6902, appendix A, and of its pointer rules; no result means an error.
    static let jsonCases: [(String, String, String?)] = [
        (#"{"foo":"bar"}"#, #"[{"op":"add","path":"/baz","value":"qux"}]"#, #"{"baz":"qux","foo":"bar"}"#),
        (#"{"foo":["bar","baz"]}"#, #"[{"op":"add","path":"/foo/1","value":"qux"}]"#, #"{"foo":["bar","qux","baz"]}"#),
        (#"{"baz":"qux","foo":"bar"}"#, #"[{"op":"remove","path":"/baz"}]"#, #"{"foo":"bar"}"#),
        (#"{"foo":["bar","qux","baz"]}"#, #"[{"op":"remove","path":"/foo/1"}]"#, #"{"foo":["bar","baz"]}"#),
        (
            #"{"baz":"qux","foo":"bar"}"#, #"[{"op":"replace","path":"/baz","value":"boo"}]"#,
            #"{"baz":"boo","foo":"bar"}"#
        ),
        (
            #"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            #"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
            #"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#
        ),
        (
            #"{"foo":["all","grass","cows","eat"]}"#, #"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
            #"{"foo":["all","cows","eat","grass"]}"#
        ),
        (
            #"{"baz":"qux","foo":["a",2,"c"]}"#,
            #"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
            #"{"baz":"qux","foo":["a",2,"c"]}"#
        ),
        (#"{"baz":"qux"}"#, #"[{"op":"test","path":"/baz","value":"bar"}]"#, nil),
        (
            #"{"foo":"bar"}"#, #"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
            #"{"foo":"bar","child":{"grandchild":{}}}"#
        ),
        (#"{"foo":"bar"}"#, #"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#, #"{"foo":"bar","baz":"qux"}"#),
        (#"{"foo":"bar"}"#, #"[{"op":"add","path":"/baz/bat","value":"qux"}]"#, nil),
        (#"{"/":9,"~1":10}"#, #"[{"op":"test","path":"/~01","value":10}]"#, #"{"/":9,"~1":10}"#),
        (#"{"/":9,"~1":10}"#, #"[{"op":"test","path":"/~01","value":"10"}]"#, nil),
        (
            #"{"foo":["bar"]}"#, #"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
            #"{"foo":["bar",["abc","def"]]}"#
        ),
        (#"{"foo":1}"#, #"[{"op":"copy","from":"/foo","path":"/bar"}]"#, #"{"foo":1,"bar":1}"#),
        (#"{"foo":1}"#, #"[{"op":"test","path":"/foo","value":1.0}]"#, #"{"foo":1}"#),
        (#"{"foo":{}}"#, #"[{"op":"move","from":"/foo","path":"/foo/bar"}]"#, nil),
        (#"{"foo":[1]}"#, #"[{"op":"replace","path":"/foo/01","value":2}]"#, nil),
        (#"{"foo":[1]}"#, #"[{"op":"remove","path":"/foo/-"}]"#, nil),
        (#"{"foo":1}"#, #"[{"op":"add","path":"","value":{"a":1}}]"#, #"{"a":1}"#),
        (#"{"foo":1}"#, #"[{"op":"jump","path":"/foo"}]"#, nil),
        (#"{"foo":1}"#, #"[{"op":"add","path":"foo","value":1}]"#, nil),
        (#"{"foo":1}"#, #"{"op":"add"}"#, nil),
    ]

    @Test("JSON Patch, RFC 6902", arguments: jsonCases)
    func jsonPatch(document: String, patch: String, expected: String?) throws {
        let (document, operations) = (try JSON(parsing: document), try JSON(parsing: patch))
        guard let expected else {
            #expect(throws: PatchFault.self) { try JSONPatch(operations).applied(to: document) }
            return
        }
        #expect(try JSONPatch(operations).applied(to: document) == JSON(parsing: expected))
    }

    @Test(
        "JSON Merge Patch, RFC 7386 appendix A",
        arguments: [
            (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
            (#"{"a":"b"}"#, #"{"a":null}"#, #"{}"#),
            (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#), (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
            (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
            (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
            (#"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#, #"{"a":[1]}"#),
            (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#), (#"{"a":"b"}"#, #"["c"]"#, #"["c"]"#),
            (#"{"a":"foo"}"#, "null", "null"), (#"{"a":"foo"}"#, #""bar""#, #""bar""#),
            (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#), ("[1,2]", #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
            ("{}", #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
        ])
    func mergePatch(target: String, patch: String, expected: String) throws {
        #expect(try MergePatch.applied(JSON(parsing: patch), to: JSON(parsing: target)) == JSON(parsing: expected))
    }

    private func strategic(_ patch: String) throws -> KubeObject {
        var object = try Manifest.object(Manifest.deployment)
        let body = try Manifest.json(patch).bytes
        try Manifest.definition(object.json).patch(
            &object, contentType: "application/strategic-merge-patch+json", body: body, fieldValidation: .strict)
        return object
    }
    private func pod(_ object: KubeObject) throws -> JSON { try #require(object.spec["template"]?["spec"]) }

    @Test("lists with a merge key are merged by it")
    func byKey() throws {
        let object = try strategic(
            "{spec: {template: {spec: {containers: [{name: web, image: 'web:2'}, {name: log, image: 'log:1'}]}}}}")
        let containers = try pod(object).self["containers"]?.array ?? []
        #expect(containers.map { $0["image"] } == ["web:2", "log:1"])
        #expect(containers[0]["env"] == [["name": "COLOR", "value": "blue"]], "what the patch does not name stays")
    }

    @Test("elements are deleted by key, and lists and objects replaced on demand")
    func directives() throws {
        let deleted = try strategic(
            "{spec: {template: {spec: {containers: [{name: web, env: [{name: COLOR, $patch: delete}, {name: SIZE, value: L}]}]}}}}"
        )
        #expect(try pod(deleted)["containers"]?[0]?["env"] == [["name": "SIZE", "value": "L"]])
        let replaced = try strategic(
            "{spec: {template: {spec: {containers: [{name: new, image: a}, {$patch: replace}]}}}}")
        #expect(try pod(replaced)["containers"] == [["name": "new", "image": "a"]])
        let object = try strategic("{metadata: {labels: {$patch: replace, x: y}}}")
        #expect(object.labels == ["x": "y"])
        let gone = try strategic("{metadata: {labels: {app: null}}}")
        #expect(gone.labels == [:])
        let atomic = try strategic("{spec: {template: {spec: {containers: [{name: web, command: [a, b]}]}}}}")
        #expect(try pod(atomic)["containers"]?[0]?["command"] == ["a", "b"])
    }

    @Test("retainKeys drops what is not named: a strategy of another type")
    func retainKeys() throws {
        let object = try strategic("{spec: {strategy: {$retainKeys: [type], type: Recreate}}}")
        #expect(object.spec["strategy"] == ["type": "Recreate"])
        let volume = try strategic(
            "{spec: {template: {spec: {volumes: [{name: data, $retainKeys: [name, hostPath], hostPath: {path: /x}}]}}}}"
        )
        #expect(try pod(volume)["volumes"] == [["name": "data", "hostPath": ["path": "/x"]]])
    }

    @Test("setElementOrder orders merged lists, deleteFromPrimitiveList takes plain values out")
    func order() throws {
        let object = try strategic(
            "{spec: {template: {spec: {$setElementOrder/containers: [{name: log}, {name: web}], containers: [{name: log, image: a}]}}}}"
        )
        #expect(try pod(object)["containers"]?.array?.map { $0["name"] } == ["log", "web"])
        var with = try Manifest.object(Manifest.deployment)
        with.finalizers = ["a/x", "a/y", "a/z"]
        let patch = try Manifest.json("{metadata: {$deleteFromPrimitiveList/finalizers: [a/y], finalizers: [a/n]}}")
        try Manifest.definition(with.json).patch(
            &with, contentType: "application/strategic-merge-patch+json", body: patch.bytes)
        #expect(with.finalizers == ["a/x", "a/z", "a/n"])
    }

    @Test("bad patches: what, where and which status")
    func bad() throws {
        func failure(_ body: String, _ type: String, _ yaml: String = Manifest.deployment) throws -> APIFailure? {
            var object = try Manifest.object(yaml)
            let before = object
            let definition = try Manifest.definition(object.json)
            let failure = #expect(throws: APIFailure.self) {
                try definition.patch(&object, contentType: type, body: Array(body.utf8), fieldValidation: .strict)
            }
            #expect(object == before, "a refused patch changes nothing")
            return failure
        }
        #expect(try failure("{}", "application/strategic-merge-patch+json", Manifest.httpRoute)?.code == 415)
        #expect(try failure("{}", "text/plain")?.code == 415)
        #expect(try failure("{", "application/merge-patch+json")?.code == 400)
        #expect(try failure("[]", "application/merge-patch+json")?.code == 400)
        #expect(try failure(#"{"kind":"Pod"}"#, "application/merge-patch+json")?.code == 400)
        #expect(
            try failure(#"[{"op":"remove","path":"/spec/nothing"}]"#, "application/json-patch+json")?.message
                == "the patch does not fit Deployment \"web\": operation 0: /spec/nothing does not exist")
        #expect(
            try failure(#"{"spec":{"replicaz":1}}"#, "application/merge-patch+json")?.message.contains(
                "unknown field \"spec.replicaz\"") == true)
        #expect(try failure(#"{"spec":{"replicas":"x"}}"#, "application/merge-patch+json")?.code == 400)
        #expect(
            try failure(
                #"{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}"#,
                "application/strategic-merge-patch+json")?.message.contains("has no \"name\"") == true)
    }
}
