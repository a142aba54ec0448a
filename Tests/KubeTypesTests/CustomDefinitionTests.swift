import KubeTypes
import Testing
import Wire

@Suite("custom resource definitions")
struct CustomDefinitionTests {
    struct Case: Sendable, CustomStringConvertible {
        var schema: String
        var fault: String
        init(_ schema: String, _ fault: String) {
            self.schema = schema
            self.fault = fault
        }
        var description: String { fault }
    }

    private static let root = "spec.validation.openAPIV3Schema"

    static let cases = [
        Case(
            "{type: object, properties: {a: {}}}",
            "\(root).properties[a].type: Required value: must not be empty for specified object fields"),
        Case(
            "{type: array, items: {type: string}}", "\(root).type: Invalid value: \"array\": must be object at the root"
        ),
        Case(
            "{type: object, additionalProperties: {type: string}}",
            "\(root).additionalProperties: Forbidden: must not be used at the root"),
        Case(
            "{type: object, properties: {a: {type: array}}}",
            "\(root).properties[a].items: Required value: must be specified"),
        Case(
            "{type: object, properties: {a: {type: array, items: {}}}}",
            "\(root).properties[a].items.type: Required value: must not be empty for specified array items"),
        Case(
            "{type: object, properties: {a: {type: text}}}",
            "\(root).properties[a].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\""
        ),
        Case("{type: object, nullable: true}", "\(root).nullable: Forbidden: nullable cannot be true at the root"),
        Case(
            "{type: object, properties: {a: {type: object, properties: {b: {type: string}}, additionalProperties: {type: string}}}}",
            "\(root).properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
        ),
        Case(
            "{type: object, properties: {a: {type: array, uniqueItems: true, items: {type: string}}}}",
            "\(root).properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        ),
        Case(
            "{type: object, properties: {a: {type: string, x-kubernetes-preserve-unknown-fields: false}}}",
            "\(root).properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"
        ),
        Case(
            "{type: object, properties: {a: {type: array, x-kubernetes-list-type: map, items: {type: object, properties: {k: {type: string}}}}}}",
            "\(root).properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"
        ),
        Case(
            "{type: object, properties: {a: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, properties: {k: {type: string}}}}}}",
            "\(root).properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
        ),
        Case(
            "{type: object, properties: {a: {type: array, x-kubernetes-list-type: bag, items: {type: string}}}}",
            "\(root).properties[a].x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"map\", \"set\""
        ),
        Case(
            "{type: object, properties: {a: {type: string, anyOf: [{type: string}]}}}",
            "\(root).properties[a].anyOf[0].type: Forbidden: must be empty to be structural"),
        Case(
            "{type: object, properties: {a: {type: object, properties: {b: {type: string}}, oneOf: [{properties: {c: {minLength: 1}}}]}}}",
            "\(root).properties[a].properties[c]: Required value: because it is defined in \(root).properties[a].oneOf[0].properties[c]"
        ),
        Case(
            "{type: object, properties: {metadata: {type: object, properties: {labels: {type: object}}}}}",
            "\(root).properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"
        ),
        Case(
            "{type: object, properties: {a: {type: integer, default: much}}}",
            "\(root).properties[a].default: Invalid value: \"string\": default in body must be of type integer: \"string\""
        ),
        Case(
            "{type: object, properties: {a: {type: object, default: {b: 1}, properties: {c: {type: string}}}}}",
            "\(root).properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields"),
        Case(
            "{type: object, properties: {a: {type: integer, maximum: 3, default: 4}}}",
            "\(root).properties[a].default: Invalid value: 4: default in body should be less than or equal to 3"),
        Case(
            "{type: object, properties: {a: {x-kubernetes-int-or-string: true, x-kubernetes-preserve-unknown-fields: true}}}",
            "\(root).properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true"
        ),
        Case(
            "{type: object, properties: {a: {type: object, x-kubernetes-embedded-resource: true}}}",
            "\(root).properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        ),
        Case("{type: object, properties: {a: {type: string, pattern: '(['}}}", "must be a valid regular expression"),
        Case(
            "{type: object, definitions: {a: {type: string}}}",
            "\(root).definitions: Forbidden: definitions is not supported"),
        // Rules.
        Case(
            "{type: object, x-kubernetes-validations: [{rule: ''}]}",
            "\(root).x-kubernetes-validations[0].rule: Required value: rule is not specified"),
        Case(
            "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: 'self > 3'}]}}}",
            "\(root).properties[a].x-kubernetes-validations[0].rule: Invalid value: \"self > 3\": compilation failed: ERROR: <input>:1:6: found no matching overload for '_>_' applied to '(string, int)'"
        ),
        Case(
            "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: 'self.size()'}]}}}",
            "compilation failed"),
        Case(
            "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: 'self.size() > 1', messageExpression: '1'}]}}}",
            "\(root).properties[a].x-kubernetes-validations[0].messageExpression: Invalid value: \"1\": messageExpression compilation failed"
        ),
        Case(
            "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: 'self.size() > 1', reason: Odd}]}}}",
            "\(root).properties[a].x-kubernetes-validations[0].reason: Unsupported value: \"Odd\""),
        Case(
            "{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: 'self.size() > 1', optionalOldSelf: true}]}}}",
            "\(root).properties[a].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        ),
        Case(
            "{type: object, properties: {a: {type: array, items: {type: string, x-kubernetes-validations: [{rule: 'self == oldSelf'}]}}}}",
            "\(root).properties[a].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within \(root).properties[a]"
        ),
        Case(
            "{type: object, x-kubernetes-validations: [{rule: 'true', fieldPath: .b}], properties: {a: {type: string}}}",
            "\(root).x-kubernetes-validations[0].fieldPath: Invalid value: \".b\": fieldPath must be a valid path"),
        Case(
            "{type: object, properties: {a: {type: array, items: {type: string}, x-kubernetes-validations: [{rule: 'self.all(x, self.all(y, x == y))'}]}}}",
            "\(root).properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"
        ),
        Case(
            "{type: object, properties: {a: {type: string, maxLength: 9223372036854775807, x-kubernetes-validations: [{rule: 'self == self'}]}}}",
            "\(root).properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"
        ),
        Case(
            "{type: object, properties: {a: {type: array, items: {type: string}, x-kubernetes-validations: [{rule: 'self.all(x, self.all(y, x == y))'}]}}}",
            "\(root): Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x"
        ),
    ]

    @Test("a schema the server cannot work with is refused with the field's path", arguments: cases)
    func schemas(_ example: Case) throws {
        let faults = try CustomManifest.faults(try CustomManifest.crd(example.schema))
        #expect(faults.contains { $0.contains(example.fault) }, "\(faults)")
    }

    @Test(
        "schemas of every kind of part are accepted",
        arguments: [
            "{type: object, x-kubernetes-preserve-unknown-fields: true}",
            "{type: object, properties: {port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}}}",
            "{type: object, properties: {a: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}}}",
            "{type: object, properties: {a: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, required: [k], properties: {k: {type: string, maxLength: 10}, v: {type: string, maxLength: 10, x-kubernetes-validations: [{rule: 'self == oldSelf'}]}}}}}}",
            "{type: object, properties: {a: {type: object, additionalProperties: {type: string, default: x}}}}",
            "{type: object, properties: {spec: {type: object, properties: {a: {type: string}, b: {type: string}}, oneOf: [{required: [a]}, {required: [b]}]}}}",
            "{type: object, properties: {metadata: {type: object, properties: {name: {type: string, maxLength: 5}}}}}",
        ])
    func accepted(_ schema: String) throws {
        #expect(try CustomManifest.faults(try CustomManifest.crd(schema)) == [])
    }

    @Test("names, versions, columns, subresources and conversion are checked")
    func specification() throws {
        let plain =
            "{type: object, properties: {spec: {type: object, properties: {n: {type: integer}, o: {type: object}}}}}"
        func faults(_ change: (inout KubeObject) -> Void, more: String = "") throws -> [String] {
            var crd = try CustomManifest.crd(plain, more: more)
            change(&crd)
            return try CustomManifest.faults(crd)
        }
        #expect(try faults { _ in } == [])
        #expect(
            try faults { $0.json[path: ["spec", "group"]] = "example" }.contains(
                "spec.group: Invalid value: \"example\": should be a domain with at least one dot"))
        #expect(
            try faults { $0.name = "gadgets.example.com" } == [
                "metadata.name: Invalid value: \"gadgets.example.com\": must be spec.names.plural+\".\"+spec.group"
            ])
        #expect(
            try faults { $0.json[path: ["spec", "names", "listKind"]] = "Widget" } == [
                "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same"
            ])
        #expect(
            try faults { $0.json[path: ["spec", "scope"]] = "Global" } == [
                "spec.scope: Unsupported value: \"Global\": supported values: \"Cluster\", \"Namespaced\""
            ])
        let two = try faults { crd in
            var second = crd.spec["versions"]?[0] ?? [:]
            second["name"] = "v2"
            crd.json[path: ["spec", "versions"]] = .array((crd.spec["versions"]?.array ?? []) + [second])
        }
        #expect(
            two == [
                "spec.versions: Invalid value: [\"v1\",\"v2\"]: must have exactly one version marked as storage version"
            ])
        #expect(
            try faults({ _ in }, more: "additionalPrinterColumns: [{name: N, type: much, jsonPath: .spec.n}]") == [
                "spec.additionalPrinterColumns[0].type: Invalid value: \"much\": must be one of"
                    + " boolean,date,integer,number,string"
            ])
        #expect(
            try faults(
                { _ in }, more: "subresources: {scale: {specReplicasPath: .status.n, statusReplicasPath: .status.n}}")
                == [
                    "spec.subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec"
                ])
        #expect(
            try faults(
                { _ in }, more: "selectableFields: [{jsonPath: .spec.o}, {jsonPath: .spec.none}, {jsonPath: .spec.n}]")
                == [
                    "spec.selectableFields[0].jsonPath: Invalid value: \".spec.o\": must point to a field of type string,"
                        + " boolean or integer. Enum string fields and strings with formats are allowed.",
                    "spec.selectableFields[1].jsonPath: Invalid value: \".spec.none\": is an invalid path: does not refer"
                        + " to a valid field",
                ])
        #expect(
            try faults { $0.json[path: ["spec", "conversion"]] = ["strategy": "Webhook"] } == [
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook"
            ])
        #expect(
            try faults {
                $0.json[path: ["spec", "conversion"]] = [
                    "strategy": "Webhook",
                    "webhook": ["clientConfig": ["url": "http://a.test/"], "conversionReviewVersions": ["v9"]],
                ]
            } == [
                "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme;"
                    + " desired format: https://host[/path]",
                "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
            ])
        #expect(
            try faults({ $0.json[path: ["spec", "group"]] = "x.k8s.io" }).contains {
                $0.hasPrefix("metadata.annotations[api-approved.kubernetes.io]: Required value")
            })
    }

    @Test("what an update may not change, and versions that objects are stored in")
    func updates() throws {
        let old = try CustomManifest.crd("{type: object}")
        var established = old
        established.json["status"] = [
            "conditions": [["type": "Established", "status": "True"]], "storedVersions": ["v0", "v1"],
        ]
        var fresh = established
        fresh.json[path: ["spec", "scope"]] = "Cluster"
        #expect(
            try CustomManifest.faults(fresh, old: established).contains(
                "spec.scope: Invalid value: \"Cluster\": field is immutable"))
        #expect(
            try CustomManifest.faults(fresh, old: established).contains {
                $0.hasPrefix("status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions")
            })
    }

    @Test("defaults: names that follow from the kind, the strategy, the version to store")
    func defaults() throws {
        var crd = try CustomManifest.crd("{type: object}")
        try CustomManifest.definition.default(&crd)
        #expect(crd.spec["names"]?["singular"] == "widget" && crd.spec["names"]?["listKind"] == "WidgetList")
        #expect(crd.spec["conversion"] == ["strategy": "None"])
        #expect(crd.status["storedVersions"] == ["v1"])
    }

    @Test("a name that another kind of the group has is refused, and the kind waits")
    func names() throws {
        var taken = AcceptedNames.Taken()
        taken.add(try CustomManifest.kind("{type: object}"))
        var crd = CustomDefinition(try CustomManifest.crd("{type: object}"))
        crd.object.json[path: ["spec", "names"]] = [
            "plural": "gadgets", "singular": "gadget", "kind": "Widget", "listKind": "GadgetList", "shortNames": ["g"],
        ]
        let accepted = AcceptedNames(crd.names, before: [:], taken: taken)
        crd.apply(accepted, now: Timestamp(seconds: 0))
        let conditions = crd.object.status["conditions"]?.array ?? []
        #expect(
            conditions.map { $0["type"]?.string ?? "" } == ["NamesAccepted", "Established"]
                && conditions.allSatisfy { $0["status"] == "False" })
        #expect(conditions.first?["reason"] == "KindConflict")
        #expect(
            conditions.first?["message"] == "\"Widget\" is already in use by widgets.example.com")
        let free = AcceptedNames(crd.names, before: [:], taken: .init())
        crd.apply(free, now: Timestamp(seconds: 5))
        #expect(crd.isEstablished && crd.object.status["acceptedNames"]?["plural"] == "gadgets")
    }
}
