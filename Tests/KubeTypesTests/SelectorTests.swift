import KubeTypes
import Testing
import Wire

@Suite("Selectors")
struct SelectorTests {
    @Test(
        "label selectors of the query choose by labels",
        arguments: [
            ("app=web", true), ("app==web", true), ("app!=web", false), ("app in (web, api)", true),
            ("app notin (web)", false), ("tier", false), ("!tier", true),
            ("app", true), ("app=web,tier!=db", true), ("size>3", true), ("size<3", false), ("", true), ("app=", false),
            (" app = web , size ", true),
            ("example.com/team in (a,b)", true), ("tier in (a)", false), ("tier notin (a)", true),
        ])
    func labels(text: String, isChosen: Bool) throws {
        #expect(
            try LabelSelector(parsing: text).matches(["app": "web", "size": "5", "example.com/team": "a"]) == isChosen)
    }

    @Test(
        "text that is no selector is refused",
        arguments: [
            "=a", "app in", "app in (a", "app=a=b", "a,,b", "app in a", "a b", "size>x", "app=web,", "bad key!",
            "a=b c", "-x=1",
        ])
    func badLabels(text: String) { #expect(throws: SelectorFault.self) { try LabelSelector(parsing: text) } }

    @Test("a selector object, and the text it is printed as")
    func object() throws {
        let selector = try LabelSelector(
            Manifest.json(
                "{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [b, a]}, {key: x, operator: DoesNotExist}]}"
            ))
        #expect(selector.description == "app=web,tier in (a,b),!x")
        #expect(try LabelSelector(parsing: selector.description) == selector)
        #expect(selector.matches(["app": "web", "tier": "a"]) && !selector.matches(["app": "web"]))
        #expect(throws: SelectorFault.self) {
            try LabelSelector(["matchExpressions": [["key": "a", "operator": "Maybe"]]])
        }
        #expect(try LabelSelector([:]).matches(["a": "b"]))
    }

    @Test(
        "what all chosen objects have in a field is read as the selection reads it",
        arguments: [
            ("metadata.name=web", "web"), ("status.phase!=Failed, metadata.name == web", " web"),
            ("metadata.name!=web", nil), (#"status.phase!=x\,metadata.name=web"#, nil),
            (#"metadata.name=a\,b"#, "a,b"), ("metadata.namespace=web", nil), ("", nil), ("metadata.name", nil),
        ] as [(String, String?)])
    func valueOfField(text: String, value: String?) {
        #expect(FieldSelector.value(of: "metadata.name", in: text) == value)
        if let all = try? FieldSelector(parsing: text, for: .pods) { #expect(all.name == value) }
    }

    @Test("field selectors choose by the fields a kind offers")
    func fields() throws {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "web")
        pod[Pod.nodeName] = "node-1"
        pod[Pod.phase] = "Running"
        func chosen(_ text: String) throws -> Bool { try FieldSelector(parsing: text, for: .pods).matches(pod) }
        #expect(try chosen("metadata.name=web,metadata.namespace=demo"))
        #expect(try chosen("spec.nodeName=node-1,status.phase!=Failed"))
        #expect(try !chosen("spec.nodeName=") && chosen("status.podIP=") && chosen("spec.hostNetwork=false"))
        #expect(try FieldSelector(parsing: "metadata.name==web", for: .httpRoutes).name == "web")
        #expect(try FieldSelector(parsing: #"metadata.name=a\,b"#, for: .pods).name == "a,b")
        for text in [#"metadata.name=a\"#, #"metadata.name=a\b"#, "metadata.name=a=b"] {
            #expect(throws: SelectorFault.self, "\(text)") { try FieldSelector(parsing: text, for: .pods) }
        }
        let odd = try FieldSelector(parsing: #"metadata.name!=\,\\\=,metadata.namespace="#, for: .pods)
        #expect(try FieldSelector(parsing: odd.description, for: .pods) == odd)
        #expect(odd.requirements[0].value == #",\="#)
        #expect(throws: SelectorFault.self) { try FieldSelector(parsing: "spec.nodeName=a", for: .services) }
        #expect(throws: SelectorFault.self) { try FieldSelector(parsing: "spec.nodeName", for: .pods) }
    }
}
