import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@testable import APIServer

private func object(_ kind: String, _ name: String, _ spec: JSON) -> KubeObject {
    var object = KubeObject(apiVersion: "admissionregistration.k8s.io/v1", kind: kind, name: name)
    object.json["spec"] = spec
    return object
}

private func constraints(_ resource: String, group: String = "") -> JSON {
    [
        "resourceRules": [
            [
                "apiGroups": [.string(group)], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": [.string(resource)],
            ]
        ]
    ]
}

private func deployment(_ name: String, replicas: Int) -> KubeObject {
    var made = KubeObject(apiVersion: "apps/v1", kind: "Deployment", namespace: "default", name: name)
    made.json["spec"] = [
        "replicas": .int(Int64(replicas)), "selector": ["matchLabels": ["app": "web"]],
        "template": [
            "metadata": ["labels": ["app": "web"]],
            "spec": ["containers": [["name": "a", "image": "example.test/a:1"]]],
        ],
    ]
    return made
}

@Suite("Admission policies")
struct PolicyAdmissionTests {
    private func refusal(_ api: InProcessAPI, _ type: ResourceType, _ object: KubeObject) async -> APIFailure? {
        await failure { () throws(APIFailure) in _ = try await api.create(type, object) }
    }

    @Test("a policy refuses what its expression forbids, once it is bound")
    func denied() async throws {
        try await withKubectl { kubectl, api in
            let policy = object(
                "ValidatingAdmissionPolicy", "replicas",
                [
                    "matchConstraints": constraints("deployments", group: "apps"),
                    "validations": [["expression": "object.spec.replicas <= 5"]],
                ])
            _ = try await api.create(AdmissionKind.validatingPolicies, policy)
            _ = try await api.create(.deployments, deployment("unbound", replicas: 9))
            _ = try await api.create(
                AdmissionKind.validatingBindings,
                object(
                    "ValidatingAdmissionPolicyBinding", "everywhere",
                    ["policyName": "replicas", "validationActions": ["Deny"]]))
            let refused = await refusal(api, .deployments, deployment("many", replicas: 6))
            #expect(refused?.code == 422 && refused?.reason == "Invalid")
            #expect(
                refused?.message
                    == "deployments.apps \"many\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'everywhere'"
                    + " denied request: failed expression: object.spec.replicas <= 5")
            let shown = try await kubectl("create", "deployment", "many", "--image=example.test/a:1", "--replicas=6")
            #expect(shown.code == 1 && shown.errors.contains("denied request: failed expression"))
            _ = try await api.create(.deployments, deployment("few", replicas: 5))
            let told = try await eventually {
                let live = try await api.get(AdmissionKind.validatingPolicies, ObjectKey(name: "replicas"))
                return live.status["observedGeneration"]?.int == live.generation
            }
            #expect(told)
        }
    }

    @Test("variables, parameters, reasons and made messages")
    func parameters() async throws {
        try await withServer { _, api in
            _ = try await api.create(
                AdmissionKind.validatingPolicies,
                object(
                    "ValidatingAdmissionPolicy", "limit",
                    [
                        "matchConstraints": constraints("deployments", group: "apps"),
                        "paramKind": ["apiVersion": "v1", "kind": "ConfigMap"],
                        "variables": [
                            ["name": "most", "expression": "int(params.data.most)"],
                            ["name": "isOver", "expression": "object.spec.replicas > variables.most"],
                        ],
                        "validations": [
                            [
                                "expression": "!variables.isOver", "reason": "Forbidden",
                                "messageExpression":
                                    "'at most ' + string(variables.most) + ' in ' + namespaceObject.metadata.name",
                            ]
                        ],
                    ]))
            _ = try await api.create(
                AdmissionKind.validatingBindings,
                object(
                    "ValidatingAdmissionPolicyBinding", "limit",
                    [
                        "policyName": "limit", "validationActions": ["Deny"],
                        "paramRef": ["name": "limits", "parameterNotFoundAction": "Deny"],
                    ]))
            let without = await refusal(api, .deployments, deployment("early", replicas: 1))
            #expect(without?.message.contains("no params found for policy binding with `Deny`") == true)
            _ = try await api.create(.configMaps, configMap("limits", ["most": "2"]))
            let refused = await refusal(api, .deployments, deployment("many", replicas: 3))
            #expect(refused?.code == 403 && refused?.reason == "Forbidden")
            #expect(
                refused?.message.hasSuffix("denied request: at most 2 in default") == true, "\(refused?.message ?? "")")
            _ = try await api.create(.deployments, deployment("few", replicas: 2))
            var limits = try await api.get(.configMaps, ObjectKey(namespace: "default", name: "limits"))
            limits.json["data"] = ["most": "4"]
            _ = try await api.update(.configMaps, limits)
            _ = try await api.create(.deployments, deployment("some", replicas: 3))
        }
    }

    @Test("warnings reach kubectl; conditions and failure policies are kept")
    func warn() async throws {
        try await withKubectl { kubectl, api in
            for (name, spec) in [
                ("named", ["validations": [["expression": "object.metadata.name != 'odd'", "message": "odd name"]]]),
                // It fails for every object without the label.
                (
                    "lenient",
                    [
                        "failurePolicy": "Ignore",
                        "validations": [["expression": "object.metadata.labels['team'] == 'a'"]],
                    ]
                ),
                (
                    "conditional",
                    [
                        "matchConditions": [["name": "only", "expression": "object.metadata.name == 'special'"]],
                        "validations": [["expression": "false", "message": "never special"]],
                    ]
                ),
            ] as [(String, JSON)] {
                var spec = spec
                spec["matchConstraints"] = constraints("configmaps")
                _ = try await api.create(
                    AdmissionKind.validatingPolicies, object("ValidatingAdmissionPolicy", name, spec))
                _ = try await api.create(
                    AdmissionKind.validatingBindings,
                    object(
                        "ValidatingAdmissionPolicyBinding", name,
                        ["policyName": .string(name), "validationActions": [name == "named" ? "Warn" : "Deny"]]))
            }
            let warned = try await kubectl("create", "configmap", "odd")
            #expect(
                warned.code == 0
                    && warned.errors.contains(
                        "Warning: Validation failed for ValidatingAdmissionPolicy 'named' with binding 'named': odd name"
                    ),
                "\(warned.errors)")
            let refused = try await kubectl("create", "configmap", "special")
            #expect(refused.code == 1 && refused.errors.contains("never special"))
        }
    }

    @Test("a selector finds several parameters; a binding narrows by namespace")
    func selectors() async throws {
        try await withServer { _, api in
            _ = try await api.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: "other"))
            _ = try await api.create(
                AdmissionKind.validatingPolicies,
                object(
                    "ValidatingAdmissionPolicy", "banned",
                    [
                        "matchConstraints": constraints("secrets"),
                        "paramKind": ["apiVersion": "v1", "kind": "ConfigMap"],
                        "validations": [["expression": "object.metadata.name != params.data.name"]],
                    ]))
            _ = try await api.create(
                AdmissionKind.validatingBindings,
                object(
                    "ValidatingAdmissionPolicyBinding", "banned",
                    [
                        "policyName": "banned", "validationActions": ["Deny"],
                        "paramRef": [
                            "selector": ["matchLabels": ["ban": "yes"]], "namespace": "default",
                            "parameterNotFoundAction": "Allow",
                        ],
                        "matchResources": [
                            "namespaceSelector": ["matchLabels": ["kubernetes.io/metadata.name": "default"]]
                        ],
                    ]))
            for name in ["one", "two"] {
                var map = configMap("ban-\(name)", ["name": name])
                map.labels = ["ban": "yes"]
                _ = try await api.create(.configMaps, map)
            }
            func secret(_ name: String, _ namespace: String = "default") -> KubeObject {
                KubeObject(apiVersion: "v1", kind: "Secret", namespace: namespace, name: name)
            }
            #expect(await refusal(api, .secrets, secret("one")) != nil)
            #expect(await refusal(api, .secrets, secret("two")) != nil)
            #expect(await refusal(api, .secrets, secret("three")) == nil)
            #expect(await refusal(api, .secrets, secret("one", "other")) == nil)
        }
    }

    @Test("policies that cannot work are refused, with the place of the fault")
    func checks() async throws {
        try await withServer { _, api in
            let bad = object(
                "ValidatingAdmissionPolicy", "bad",
                [
                    "matchConstraints": constraints("configmaps"),
                    "validations": [["expression": "object.metadata.name =="], ["expression": "params.a == 1"]],
                ])
            let refused = await refusal(api, AdmissionKind.validatingPolicies, bad)
            #expect(refused?.code == 422)
            #expect(refused?.message.contains("spec.validations[0].expression: Invalid value") == true)
            #expect(refused?.message.contains("undeclared reference to 'params'") == true, "\(refused?.message ?? "")")
            let both = object(
                "ValidatingAdmissionPolicyBinding", "both",
                ["policyName": "bad", "validationActions": ["Deny", "Warn"]])
            let second = await refusal(api, AdmissionKind.validatingBindings, both)
            #expect(second?.message.contains("must not contain both Deny and Warn") == true)
        }
    }

    @Test("a misspelt field is told in the policy's status")
    func typeChecking() async throws {
        try await withServer { _, api in
            let policy = object(
                "ValidatingAdmissionPolicy", "misspelt",
                [
                    "matchConstraints": constraints("deployments", group: "apps"),
                    "validations": [
                        ["expression": "object.spec.replica <= 5"], ["expression": "object.spec.replicas > 0"],
                    ],
                ])
            _ = try await api.create(AdmissionKind.validatingPolicies, policy)
            var checking: JSON?
            let isThere = try await eventually {
                let live = try await api.get(AdmissionKind.validatingPolicies, policy.key)
                checking = live.status["typeChecking"]
                return checking != nil
            }
            #expect(isThere)
            let warnings = checking?["expressionWarnings"]?.array ?? []
            #expect(warnings.count == 1 && warnings.first?["fieldRef"] == "spec.validations[0].expression")
            let text = warnings.first?["warning"]?.string ?? ""
            #expect(text.contains("apps/v1, Kind=Deployment") && text.contains("undefined field 'replica'"), "\(text)")
        }
    }

    @Test("a mutating policy applies a configuration, and patches")
    func mutation() async throws {
        try await withServer { _, api in
            _ = try await api.create(
                .serviceAccounts,
                KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "default"))
            _ = try await api.create(
                AdmissionKind.mutatingPolicies,
                object(
                    "MutatingAdmissionPolicy", "side",
                    [
                        "matchConstraints": constraints("pods"), "reinvocationPolicy": "Never",
                        "matchConditions": [
                            [
                                "name": "once",
                                "expression": "!object.spec.containers.exists(c, c.name == 'side')",
                            ]
                        ],
                        "mutations": [
                            [
                                "patchType": "ApplyConfiguration",
                                "applyConfiguration": [
                                    "expression": """
                                    Object{
                                      metadata: Object.metadata{labels: {"meshed": "yes"}},
                                      spec: Object.spec{
                                        containers: [Object.spec.containers{name: "side", image: "example.test/side:1"}]
                                      }
                                    }
                                    """
                                ],
                            ],
                            [
                                "patchType": "JSONPatch",
                                "jsonPatch": [
                                    "expression": """
                                    [JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"),
                                      value: object.metadata.labels.meshed}]
                                    """
                                ],
                            ],
                        ],
                    ]))
            _ = try await api.create(
                AdmissionKind.mutatingBindings,
                object("MutatingAdmissionPolicyBinding", "side", ["policyName": "side"]))
            let made = try await api.create(.pods, pod("web"))
            #expect(made.labels == ["meshed": "yes", "a/b": "yes"])
            let names = made.spec["containers"]?.array?.compactMap { $0["name"]?.string }
            #expect(names?.sorted() == ["app", "side"])
            let side = made.spec["containers"]?.array?.first { $0["name"] == "side" }
            #expect(side?["imagePullPolicy"] == "IfNotPresent")
        }
    }
}
