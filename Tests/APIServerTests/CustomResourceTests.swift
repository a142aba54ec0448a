import APIServer
import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

/// A kind in the style of a certificate operator's.
private let certificates = """
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: certificates.pki.example.com}
    spec:
      group: pki.example.com
      scope: Namespaced
      names:
        plural: certificates
        singular: certificate
        kind: Certificate
        listKind: CertificateList
        shortNames: [cert]
        categories: [pki]
      versions:
      - name: v1
        served: true
        storage: true
        subresources: {status: {}}
        additionalPrinterColumns:
        - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
        - {name: Secret, type: string, jsonPath: .spec.secretName}
        - {name: Issuer, type: string, jsonPath: .spec.issuerRef.name, priority: 1}
        - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
        schema:
          openAPIV3Schema:
            type: object
            required: [spec]
            properties:
              spec:
                description: What is wanted of the certificate.
                type: object
                required: [secretName, issuerRef]
                properties:
                  secretName: {type: string, description: Where the key is put., minLength: 1}
                  duration: {type: string, format: duration, default: 2160h}
                  dnsNames: {type: array, x-kubernetes-list-type: set, maxItems: 20, items: {type: string, maxLength: 253}}
                  usages:
                    type: array
                    items: {type: string, enum: [signing, server auth, client auth]}
                  issuerRef:
                    type: object
                    required: [name]
                    properties:
                      name: {type: string}
                      kind: {type: string, default: Issuer}
                  privateKey:
                    type: object
                    properties:
                      algorithm: {type: string, enum: [RSA, ECDSA]}
                      size: {type: integer}
                    x-kubernetes-validations:
                    - rule: "!has(self.size) || self.algorithm != 'ECDSA' || self.size in [256, 384, 521]"
                      message: an ECDSA key has 256, 384 or 521 bits
                x-kubernetes-validations:
                - rule: self.secretName == oldSelf.secretName
                  message: secretName may not change
              status:
                type: object
                properties:
                  conditions:
                    type: array
                    x-kubernetes-list-type: map
                    x-kubernetes-list-map-keys: [type]
                    items:
                      type: object
                      required: [type, status]
                      properties: {type: {type: string}, status: {type: string}}

    """

/// A kind that scales, can be chosen by a field, and holds whole objects.
private let widgets = """
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: widgets.example.com}
    spec:
      group: example.com
      scope: Namespaced
      names: {plural: widgets, kind: Widget}
      versions:
      - name: v1
        served: true
        storage: true
        subresources:
          status: {}
          scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}
        selectableFields: [{jsonPath: .spec.color}]
        schema:
          openAPIV3Schema:
            type: object
            properties:
              spec:
                type: object
                properties:
                  size: {type: integer, minimum: 0}
                  color: {type: string, default: blue}
                  free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              status:
                type: object
                properties: {size: {type: integer}, selector: {type: string}}
      - name: v1alpha1
        served: true
        storage: false
        deprecated: true
        schema:
          openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}

    """

private func widget(_ name: String, _ spec: String, version: String = "v1") -> String {
    "{apiVersion: example.com/\(version), kind: Widget, metadata: {name: \(name)}, spec: \(spec)}"
}

@Suite("custom resources, by kubectl")
struct CustomResourceTests {
    private func apply(_ crd: String, _ name: String, _ kubectl: Kubectl) async throws {
        _ = try await kubectl.ok("apply", "-f", "-", input: crd)
        _ = try await kubectl.ok("wait", "--for=condition=Established", "crd/\(name)", "--timeout=120s")
    }

    @Test("a CRD is applied, and its kind is there: columns, explain, rules, defaults")
    func operatorStyle() async throws {
        try await withKubectl { kubectl, api in
            try await apply(certificates, "certificates.pki.example.com", kubectl)
            let names = try await kubectl.ok(
                "get", "crd", "certificates.pki.example.com", "-o",
                "jsonpath={.status.acceptedNames.listKind} {.status.storedVersions} {.status.conditions[*].type}")
            #expect(names == "CertificateList [\"v1\"] NamesAccepted Established")
            let good = """
                apiVersion: pki.example.com/v1
                kind: Certificate
                metadata: {name: web}
                spec: {secretName: web-tls, issuerRef: {name: ca}, dnsNames: [a.test], privateKey: {algorithm: ECDSA, size: 256}}
                """
            #expect(
                try await kubectl.ok("apply", "-f", "-", input: good) == "certificate.pki.example.com/web created\n")
            #expect(
                try await kubectl.ok("apply", "-f", "-", input: good) == "certificate.pki.example.com/web unchanged\n")
            let spec = try await kubectl.ok(
                "get", "cert", "web", "-o", "jsonpath={.spec.duration} {.spec.issuerRef.kind} {.metadata.generation}")
            #expect(spec == "2160h Issuer 1")
            _ = try await kubectl.ok(
                "patch", "cert", "web", "--subresource=status", "--type=merge", "-p",
                "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}")
            let table = try await kubectl.ok("get", "pki")
            #expect(table.contains("NAME   READY   SECRET    AGE") && table.contains("web    True    web-tls"))
            #expect(try await kubectl.ok("get", "cert", "-o", "wide").contains("ISSUER"))
            #expect(try await kubectl.ok("wait", "--for=condition=Ready", "cert/web", "--timeout=120s").contains("met"))
            let words = try await kubectl.ok("explain", "certificate.spec")
            #expect(words.contains("Where the key is put.") && words.contains("issuerRef"))
            #expect(try await kubectl.ok("api-resources", "--api-group=pki.example.com").contains("certificates"))
            // What is wrong is named.
            let short = try await kubectl("apply", "-f", "-", input: good.replacing("size: 256", with: "size: 8"))
            #expect(
                short.errors.contains(
                    "spec.privateKey: Invalid value: \"object\": an ECDSA key has 256, 384 or 521 bits"),
                "\(short.errors)")
            let renamed = try await kubectl("apply", "-f", "-", input: good.replacing("web-tls", with: "other"))
            #expect(renamed.errors.contains("secretName may not change"), "\(renamed.errors)")
            let unknown = try await kubectl("apply", "-f", "-", input: good.replacing("dnsNames", with: "hosts"))
            #expect(unknown.errors.contains("unknown field \"spec.hosts\""), "\(unknown.errors)")
            let missing = try await kubectl(
                "create", "--validate=false", "-f", "-",
                input: "{apiVersion: pki.example.com/v1, kind: Certificate, metadata: {name: b}, spec: {}}")
            #expect(missing.errors.contains("spec.issuerRef: Required value"), "\(missing.errors)")
            let applied = try await kubectl.ok(
                "apply", "--server-side", "--force-conflicts", "-f", "-",
                input: good.replacing("a.test", with: "b.test"))
            #expect(applied == "certificate.pki.example.com/web serverside-applied\n")
        }
    }

    @Test("scale, field selectors, a second version, deprecation; deleting the CRD deletes its objects")
    func features() async throws {
        try await withKubectl { kubectl, api in
            try await apply(widgets, "widgets.example.com", kubectl)
            _ = try await kubectl.ok("apply", "-f", "-", input: widget("one", "{size: 1, free: {a: [1]}}"))
            _ = try await kubectl.ok("apply", "-f", "-", input: widget("two", "{size: 2, color: red}"))
            _ = try await kubectl.ok("scale", "widget/one", "--replicas=5")
            #expect(try await kubectl.ok("get", "widget", "one", "-o", "jsonpath={.spec.size}") == "5")
            let scale = try await kubectl.ok(
                "get", "--raw", "/apis/example.com/v1/namespaces/default/widgets/one/scale")
            #expect(try JSON(parsing: scale)["spec"]?["replicas"] == 5)
            #expect(
                try await kubectl.ok("get", "widgets", "--field-selector=spec.color=red", "-o", "name")
                    == "widget.example.com/two\n")
            let other = try await kubectl("get", "widgets", "--field-selector=spec.size=5")
            #expect(other.errors.contains("field label not supported: \"spec.size\""), "\(other.errors)")
            let old = try await kubectl("get", "widgets.v1alpha1.example.com", "one", "-o", "yaml")
            #expect(old.output.contains("apiVersion: example.com/v1alpha1"))
            #expect(old.errors.contains("Warning: example.com/v1alpha1 Widget is deprecated"), "\(old.errors)")
            _ = try await kubectl.ok("apply", "-f", "-", input: widget("three", "{odd: 1}", version: "v1alpha1"))
            let pruned = try await kubectl.ok("get", "widget", "three", "-o", "jsonpath={.spec}")
            #expect(pruned == "{\"color\":\"blue\"}")
            #expect(try await kubectl.ok("delete", "crd", "widgets.example.com").contains("deleted"))
            #expect(try await kubectl("get", "widgets").code == 1)
            try await apply(widgets, "widgets.example.com", kubectl)
            #expect(try await kubectl.ok("get", "widgets", "-o", "name").isEmpty)
        }
    }

    @Test("a changed schema is served at once: new fields, new defaults for what is stored")
    func changes() async throws {
        try await withKubectl { kubectl, api in
            try await apply(widgets, "widgets.example.com", kubectl)
            _ = try await kubectl.ok("apply", "-f", "-", input: widget("one", "{size: 1}"))
            let grown = widgets.replacing(
                "free: {type: object", with: "shape: {type: string, default: round}\n              free: {type: object")
            _ = try await kubectl.ok("apply", "-f", "-", input: grown)
            let shape = try await soon { () async throws -> String? in
                let text = try await kubectl.ok("get", "widget", "one", "-o", "jsonpath={.spec.shape}")
                return text.isEmpty ? nil : text
            }
            #expect(shape == "round")
            #expect(try await kubectl.ok("explain", "widget.spec.shape").contains("<string>"))
            let bad = try await kubectl(
                "apply", "-f", "-", input: grown.replacing("type: string, default: round", with: "default: round"))
            #expect(bad.errors.contains("properties[shape].type: Required value"), "\(bad.errors)")
        }
    }

    @Test("two CRDs of one group do not get the same names; the second waits for the first to go")
    func conflict() async throws {
        try await withKubectl { kubectl, api in
            try await apply(widgets, "widgets.example.com", kubectl)
            let second = widgets.replacing("name: widgets.example.com", with: "name: gadgets.example.com")
                .replacing("plural: widgets", with: "plural: gadgets")
            _ = try await kubectl.ok("apply", "-f", "-", input: second)
            _ = try await kubectl.ok(
                "wait", "--for=condition=NamesAccepted=False", "crd/gadgets.example.com", "--timeout=120s")
            let reason = try await kubectl.ok(
                "get", "crd", "gadgets.example.com", "-o",
                "jsonpath={.status.conditions[?(@.type==\"NamesAccepted\")].reason}")
            #expect(reason.hasSuffix("Conflict"), "\(reason)")
            _ = try await kubectl.ok("delete", "crd", "widgets.example.com")
            _ = try await kubectl.ok("wait", "--for=condition=Established", "crd/gadgets.example.com", "--timeout=120s")
        }
    }

    @Test("objects with finalizers hold the CRD, and nothing new is made meanwhile")
    func held() async throws {
        try await withKubectl { kubectl, api in
            try await apply(widgets, "widgets.example.com", kubectl)
            let held = widget("one", "{size: 1}").replacing(
                "name: one", with: "name: one, finalizers: [example.com/hold]")
            _ = try await kubectl.ok("apply", "-f", "-", input: held)
            _ = try await kubectl.ok("delete", "crd", "widgets.example.com", "--wait=false")
            let isGoing = try await soon { () async throws -> Bool? in
                try await kubectl.ok(
                    "get", "widget", "one", "-o", "jsonpath={.metadata.deletionTimestamp}"
                ).isEmpty ? nil : true
            }
            #expect(isGoing == true)
            let late = try await kubectl("create", "-f", "-", input: widget("late", "{}"))
            #expect(late.code == 1 && late.errors.contains("MethodNotAllowed"), "\(late.errors)")
            _ = try await kubectl.ok(
                "patch", "widget", "one", "--type=json", "-p", "[{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}]"
            )
            _ = try await kubectl.ok("wait", "--for=delete", "crd/widgets.example.com", "--timeout=120s")
        }
    }

    @Test("the Python client's dynamic interface finds the kind, and creates, lists, patches, watches")
    func dynamicClient() async throws {
        try await withKubectl { kubectl, api in
            try await apply(widgets, "widgets.example.com", kubectl)
            let peer = PeerProgram("dynamic_client.py", kubectl.kubeconfig, "example.com/v1", "Widget")
            defer { peer.end() }
            #expect(
                await peer.lines() == [
                    "found widgets True", "created fromdynamic blue", "listed 1 WidgetList",
                    "watched MODIFIED 4, DELETED 4",
                ])
        }
    }

    @Test("kinds and their objects are there after a restart")
    func restart() async throws {
        let directory = try temporaryDirectory("weft-crd")
        defer { removeTree(directory) }
        let definition = try parsed(widgets)
        let kind = ResourceType(group: "example.com", version: "v1", resource: "widgets", kind: "Widget")
        var object = KubeObject(apiVersion: "example.com/v1", kind: "Widget", namespace: "default", name: "one")
        object.json["spec"] = ["size": 1]
        for round in 0..<2 {
            let server = try await APIServer.start(APIServerConfiguration(stateDirectory: directory, listeners: []))
            let api = server.api(as: .administrator)
            if round == 0 {
                _ = try await api.create(.customResourceDefinitions, definition)
                let made = try await soon { () async throws -> KubeObject? in
                    try? await api.create(kind, object)
                }
                #expect(made != nil)
            } else {
                let found = try await api.get(kind, object.key)
                #expect(found.spec == ["size": 1, "color": "blue"])
            }
            await server.stop()
        }
    }

    private func parsed(_ yaml: String) throws -> KubeObject {
        KubeObject(try #require(try yamlDocuments(yaml).first).json)
    }
}
