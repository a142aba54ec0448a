import KubeTypes
import Testing
import Wire

@Suite("objects of custom kinds")
struct CustomValidationTests {
    @Test("every rule of the built-in custom kinds compiles")
    func builtIn() {
        var count = 0
        for definition in SchemaCatalog.builtIn.definitions where definition.isCustom {
            guard let rules = definition.schemaLink.rules else { continue }
            count += 1
            #expect(rules.compilationFaults == [], "\(definition.type)")
        }
        #expect(count > 10)
    }

    @Test("the CRDs of the Gateway API and Istio are accepted, and what their rules may cost is within bounds")
    func realDefinitions() throws {
        for definition in SchemaCatalog.builtIn.definitions where definition.isCustom {
            guard definition.type == definition.storageType else { continue }
            let type = definition.type
            var schema = try #require(definition.schemaLink.document)
            schema[path: ["properties", "metadata"]] = ["type": "object"]
            var crd = KubeObject(
                apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", name: type.qualifiedName)
            crd.annotations = ["api-approved.kubernetes.io": "https://approved.test"]
            crd.json["spec"] = [
                "group": .string(type.group), "scope": type.isNamespaced ? "Namespaced" : "Cluster",
                "names": ["plural": .string(type.resource), "kind": .string(type.kind)],
                "versions": [
                    [
                        "name": .string(type.version), "served": true, "storage": true,
                        "subresources": ["status": [:]], "schema": ["openAPIV3Schema": schema],
                    ]
                ],
            ]
            let faults = try CustomManifest.faults(crd)
            #expect(faults == [], "\(type): \(faults)")
        }
    }

    @Test("rules of the Gateway API say what they say elsewhere")
    func gateway() throws {
        let faults = try Manifest.faults(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: a, namespace: demo}
            spec:
              rules:
              - filters:
                - type: RequestRedirect
                  requestRedirect: {statusCode: 301}
                backendRefs: [{name: web, port: 80}]
            """)
        #expect(
            faults.contains { $0.contains("RequestRedirect filter must not be used together with backendRefs") },
            "\(faults)")
    }

    struct Case: Sendable, CustomStringConvertible {
        var schema: String
        var value: String
        var faults: [String]
        init(_ schema: String, _ value: String, _ faults: [String]) {
            self.schema = schema
            self.value = value
            self.faults = faults
        }
        var description: String { "\(schema) \(value)" }
    }

    static let cases = [
        Case(
            "{type: string, minLength: 2}", "a",
            ["spec.a: Invalid value: \"a\": spec.a in body should be at least 2 chars long"]),
        Case("{type: string, maxLength: 2}", "abc", ["spec.a: Too long: may not be more than 2 bytes"]),
        Case(
            "{type: string, pattern: '^x'}", "abc", ["spec.a: Invalid value: \"abc\": spec.a in body should match '^x'"]
        ),
        Case(
            "{type: string, enum: [x, y]}", "abc",
            ["spec.a: Unsupported value: \"abc\": supported values: \"x\", \"y\""]),
        Case(
            "{type: integer, minimum: 3}", "2",
            ["spec.a: Invalid value: 2: spec.a in body should be greater than or equal to 3"]),
        Case(
            "{type: integer, minimum: 3, exclusiveMinimum: true}", "3",
            ["spec.a: Invalid value: 3: spec.a in body should be greater than 3"]),
        Case(
            "{type: integer, multipleOf: 5}", "7",
            ["spec.a: Invalid value: 7: spec.a in body should be a multiple of 5"]),
        Case(
            "{type: array, maxItems: 1, items: {type: string}}", "[a, b]",
            ["spec.a: Too many: 2: must have at most 1 items"]),
        Case(
            "{type: array, x-kubernetes-list-type: set, items: {type: string}}", "[a, a]",
            ["spec.a[1]: Duplicate value: \"a\""]),
        Case(
            "{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, required: [k], properties: {k: {type: string}}}}",
            "[{k: a}, {k: a}]", ["spec.a[1]: Duplicate value: {\"k\":\"a\"}"]),
        Case(
            "{type: object, additionalProperties: {type: integer, maximum: 3}}", "{x.y: 4}",
            ["spec.a[x.y]: Invalid value: 4: spec.a[x.y] in body should be less than or equal to 3"]),
        Case("{type: object, properties: {b: {type: string}}, required: [b]}", "{}", ["spec.a.b: Required value"]),
        Case(
            "{type: string, format: ipv4}", "1.2.3",
            ["spec.a: Invalid value: \"1.2.3\": spec.a in body must be of type ipv4: \"1.2.3\""]),
        Case(
            "{type: string, format: date-time}", "noon",
            ["spec.a: Invalid value: \"noon\": spec.a in body must be of type date-time: \"noon\""]),
        Case("{type: string, format: uuid}", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", []),
        Case(
            "{type: object, properties: {b: {type: string}, c: {type: string}}, oneOf: [{required: [b]}, {required: [c]}]}",
            "{b: x, c: y}",
            [
                "spec.a: Invalid value: {\"b\":\"x\",\"c\":\"y\"}: \"spec.a\" must validate one and only one schema (oneOf). Found 2 valid alternatives: 'b', 'c'"
            ]),
        Case(
            "{type: object, properties: {b: {type: string}}, not: {required: [b]}}", "{b: x}",
            ["spec.a: Invalid value: {\"b\":\"x\"}: \"spec.a\" must not validate the schema (not): 'b'"]),
        Case("{x-kubernetes-int-or-string: true}", "50%", []),
        Case(
            "{type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}",
            "{x: 1}",
            ["spec.a.apiVersion: Required value: must not be empty", "spec.a.kind: Required value: must not be empty"]),
        // Rules.
        Case(
            "{type: integer, x-kubernetes-validations: [{rule: 'self % 2 == 0'}]}", "3",
            ["spec.a: Invalid value: \"integer\": failed rule: self % 2 == 0"]),
        Case(
            "{type: integer, x-kubernetes-validations: [{rule: 'self % 2 == 0', message: must be even}]}", "3",
            ["spec.a: Invalid value: \"integer\": must be even"]),
        Case(
            "{type: integer, x-kubernetes-validations: [{rule: 'self % 2 == 0', messageExpression: '\"odd: \" + string(self)'}]}",
            "3", ["spec.a: Invalid value: \"integer\": odd: 3"]),
        Case(
            "{type: integer, x-kubernetes-validations: [{rule: 'self % 2 == 0', reason: FieldValueForbidden, message: no}]}",
            "3", ["spec.a: Forbidden: no"]),
        Case(
            "{type: object, properties: {b: {type: integer}}, x-kubernetes-validations: [{rule: 'self.b < 3', fieldPath: .b, message: small}]}",
            "{b: 4}", ["spec.a.b: Invalid value: \"object\": small"]),
        Case(
            "{type: object, properties: {b: {type: integer}}, x-kubernetes-validations: [{rule: 'self.b < 3'}]}", "{}",
            ["spec.a: Invalid value: \"object\": no such key: b evaluating rule: self.b < 3"]),
        Case(
            "{type: string, format: duration, x-kubernetes-validations: [{rule: \"self <= duration('1h')\"}]}", "2h",
            ["spec.a: Invalid value: \"string\": failed rule: self <= duration('1h')"]),
        Case(
            "{type: array, x-kubernetes-list-type: set, items: {type: string}, x-kubernetes-validations: [{rule: \"self == ['b', 'a']\"}]}",
            "[a, b]", []),
        Case(
            "{type: object, properties: {a-b: {type: string}, namespace: {type: string}}, x-kubernetes-validations: [{rule: \"self.a__dash__b == self.__namespace__\"}]}",
            "{a-b: x, namespace: x}", []),
        Case(
            "{type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true, x-kubernetes-validations: [{rule: \"self.metadata.name == 'x' && self.kind == 'K'\"}]}",
            "{apiVersion: v1, kind: K, metadata: {name: x}}", []),
        Case(
            "{type: string, maxLength: 1, x-kubernetes-validations: [{rule: 'false'}]}", "abc",
            [
                "spec.a: Too long: may not be more than 1 bytes",
                "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ]),
    ]

    @Test("values and what is said of them", arguments: cases)
    func values(_ example: Case) throws {
        let schema = "{type: object, properties: {spec: {type: object, properties: {a: \(example.schema)}}}}"
        let kind = try CustomManifest.kind(schema)
        #expect(try CustomManifest.faults(kind, "{spec: {a: \(example.value)}}") == example.faults)
    }

    @Test("values of the wrong type are refused by name")
    func types() throws {
        let kind = try CustomManifest.kind(
            "{type: object, properties: {spec: {type: object, properties: {a: {type: integer}}}}}")
        do throws(APIFailure) {
            _ = try kind.decode(["spec": ["a": "x"], "metadata": ["name": "w"]])
            Issue.record("it was taken")
        } catch {
            #expect(
                error.message
                    == "Widget.example.com \"w\" is invalid: spec.a: Invalid value: \"string\": spec.a in body must be of type"
                    + " integer: \"string\"")
        }
    }

    @Test("transition rules compare with the old value where there is one")
    func transitions() throws {
        let kind = try CustomManifest.kind(
            """
            type: object
            properties:
              spec:
                type: object
                properties:
                  size: {type: integer, x-kubernetes-validations: [{rule: 'self >= oldSelf', message: may not shrink}]}
                  first: {type: string, x-kubernetes-validations: [{rule: 'oldSelf.hasValue() || self == "a"', optionalOldSelf: true}]}
                  parts:
                    type: array
                    x-kubernetes-list-type: map
                    x-kubernetes-list-map-keys: [k]
                    items:
                      type: object
                      required: [k]
                      properties:
                        k: {type: string}
                        v: {type: integer, x-kubernetes-validations: [{rule: self == oldSelf}]}
            """)
        #expect(try CustomManifest.faults(kind, "{spec: {size: 1}}") == [])
        #expect(
            try CustomManifest.faults(kind, "{spec: {size: 1}}", old: "{spec: {size: 2}}")
                == ["spec.size: Invalid value: \"integer\": may not shrink"])
        #expect(try CustomManifest.faults(kind, "{spec: {first: b}}").count == 1)
        #expect(try CustomManifest.faults(kind, "{spec: {first: b}}", old: "{spec: {first: a}}") == [])
        #expect(
            try CustomManifest.faults(
                kind, "{spec: {parts: [{k: y, v: 9}, {k: x, v: 2}]}}", old: "{spec: {parts: [{k: x, v: 1}]}}")
                == ["spec.parts[1].v: Invalid value: \"integer\": failed rule: self == oldSelf"])
    }

    @Test("what an update leaves as it was passes, whatever the schema says now")
    func ratcheting() throws {
        let kind = try CustomManifest.kind(
            """
            type: object
            properties:
              spec:
                type: object
                properties:
                  a: {type: string, maxLength: 2}
                  b: {type: string, x-kubernetes-validations: [{rule: 'self != "bad"'}]}
                  c: {type: string}
            """)
        let old = "{spec: {a: long, b: bad, c: x}}"
        #expect(try CustomManifest.faults(kind, "{spec: {a: long, b: bad, c: y}}", old: old) == [])
        #expect(try CustomManifest.faults(kind, "{spec: {a: longer, b: bad, c: y}}", old: old).count == 2)
    }

    @Test("pruning and defaulting: what is unknown goes, what is left out comes")
    func shape() throws {
        let kind = try CustomManifest.kind(
            """
            type: object
            properties:
              spec:
                type: object
                default: {}
                properties:
                  replicas: {type: integer, default: 1}
                  free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {n: {type: object, properties: {x: {type: string}}}}}
                  note: {type: string, nullable: true}
                  plain: {type: string, default: d}
                  pod: {type: object, x-kubernetes-embedded-resource: true, properties: {spec: {type: object, properties: {a: {type: string}}}}}
            """)
        var (object, warnings) = try kind.decode(
            try CustomManifest.object(
                """
                spec:
                  gone: 1
                  free: {any: [1], n: {x: a, y: b}}
                  note: null
                  plain: null
                  pod: {apiVersion: v1, kind: Pod, metadata: {name: p, labels: {a: b}}, spec: {a: x, b: y}}
                """
            ).json, fieldValidation: .warn)
        kind.default(&object)
        #expect(
            object.spec == [
                "free": ["any": [1], "n": ["x": "a"]], "note": .null, "plain": "d", "replicas": 1,
                "pod": [
                    "apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p", "labels": ["a": "b"]],
                    "spec": ["a": "x"],
                ],
            ])
        #expect(
            warnings.sorted() == [
                "unknown field \"spec.free.n.y\"", "unknown field \"spec.gone\"", "unknown field \"spec.pod.spec.b\"",
            ])
        var empty = try CustomManifest.object("{}")
        kind.default(&empty)
        #expect(empty.spec == ["replicas": 1, "plain": "d"])
    }

    @Test("one object's rules share one budget")
    func budget() throws {
        let kind = try CustomManifest.kind(
            """
            type: object
            properties:
              spec:
                type: object
                properties:
                  a:
                    type: array
                    maxItems: 700
                    items: {type: string, maxLength: 4}
                    x-kubernetes-validations: [{rule: 'self.all(x, self.exists_one(y, x == y))'}]
            """)
        let elements = (0..<700).map { "v\($0)" }.joined(separator: ", ")
        let faults = try CustomManifest.faults(kind, "{spec: {a: [\(elements)]}}")
        #expect(faults.count == 1 && faults[0].contains("no further validation rules will be run"), "\(faults)")
    }

    @Test("an object is chosen by a field its CRD names")
    func selectors() throws {
        let kind = try CustomManifest.kind(
            "{type: object, properties: {spec: {type: object, properties: {color: {type: string}}}}}",
            more: "selectableFields: [{jsonPath: .spec.color}]")
        let fields = try #require(kind.custom?.selectableFields)
        let selector = try FieldSelector(parsing: "spec.color=blue", for: kind.type, fields: fields)
        #expect(selector.matches(try CustomManifest.object("{spec: {color: blue}}")))
        #expect(!selector.matches(try CustomManifest.object("{spec: {}}")))
        #expect(throws: SelectorFault.self) {
            try FieldSelector(parsing: "spec.size=1", for: kind.type, fields: fields)
        }
    }
}
