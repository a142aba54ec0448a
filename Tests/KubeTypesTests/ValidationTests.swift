import KubeTypes
import Testing
import Wire

@Suite("Validation")
struct ValidationTests {
    @Test(
        "what is right has no faults",
        arguments: [Manifest.deployment, Manifest.service, Manifest.httpRoute, Manifest.virtualService])
    func valid(yaml: String) throws { #expect(try Manifest.faults(yaml) == []) }

    @Test(
        "a deployment's mistakes are named",
        arguments: [
            (
                "name: web\n  labels", "name: Web_1\n  labels",
                "metadata.name: Invalid value: \"Web_1\": must be lower-case letters"
            ),
            (
                "    metadata:\n      labels: {app: web}", "    metadata:\n      labels: {app: api}",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"api\"}: `selector` does not match template `labels`"
            ),
            ("image: web:1", "image: \"\"", "spec.template.spec.containers[0].image: Required value"),
            (
                "name: data, mountPath", "name: date, mountPath",
                "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"date\""
            ),
            (
                "containerPort: 8080", "containerPort: 80800",
                "spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 80800: must be between 1 and 65535, inclusive"
            ),
            (
                "cpu: 500m", "cpu: half",
                "spec.template.spec.containers[0].resources.limits[cpu]: Invalid value: \"half\": must be a quantity"
            ),
            ("replicas: 2", "replicas: -1", "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
            (
                "httpGet: {port: http}", "initialDelaySeconds: 1",
                "spec.template.spec.containers[0].readinessProbe: Required value: must specify a handler type"
            ),
            (
                "value: blue", "valueFrom: {secretKeyRef: {name: a}}",
                "spec.template.spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"
            ),
            (
                "      containers:", "      restartPolicy: Never\n      containers:",
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""
            ),
            (
                "  selector:\n    matchLabels: {app: web}", "  selector: {}",
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
            ),
            (
                "labels: {app: web}\nspec", "labels: {app: \"not a label\"}\nspec",
                "metadata.labels[app]: Invalid value: \"not a label\": must be letters"
            ),
            (
                "image: web:1", "image: web:1\n        imagePullPolicy: Sometimes",
                "spec.template.spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
            ),
            (
                "replicas: 2", "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}",
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            ),
        ])
    func deployment(old: String, new: String, message: String) throws {
        let text = Manifest.deployment.replacing(old, with: new)
        #expect(text != Manifest.deployment, "the test's own text must be found")
        let faults = try Manifest.faults(text)
        #expect(faults.contains { $0.hasPrefix(message) }, "\(faults)")
    }

    @Test("two containers of one name, and a sidecar's probe on a plain init container")
    func containers() throws {
        let text = Manifest.deployment.replacing(
            "      containers:",
            with:
                "      initContainers:\n      - {name: web, image: a, startupProbe: {tcpSocket: {port: 1}}}\n      containers:"
        )
        let faults = try Manifest.faults(text)
        #expect(faults.contains("spec.template.spec.containers[0].name: Duplicate value: \"web\""))
        #expect(faults.contains { $0.hasPrefix("spec.template.spec.initContainers[0].startupProbe: Forbidden") })
        let sidecar = text.replacing("{name: web, image: a,", with: "{name: side, image: a, restartPolicy: Always,")
        #expect(try Manifest.faults(sidecar) == [])
    }

    @Test("a failure says kind, name, and a cause for each field")
    func failure() throws {
        var object = try Manifest.object(Manifest.deployment)
        object.json[path: ["spec", "selector"]] = nil
        object[Deployment.replicas] = -1
        let definition = try Manifest.definition(object.json)
        let failure = #expect(throws: APIFailure.self) { try definition.validate(object, old: nil) }
        #expect(
            failure?.message
                == "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.selector: Required value]"
        )
        #expect(
            failure?.details?["causes"]?[1] == [
                "reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector",
            ])
        #expect(failure?.code == 422 && failure?.reason == "Invalid")
    }

    @Test("what may not change is said to be immutable")
    func immutable() throws {
        let faults = try Manifest.faults(
            Manifest.deployment.replacing("matchLabels: {app: web}", with: "matchLabels: {app: web, tier: a}")
                .replacing(
                    "    metadata:\n      labels: {app: web}", with: "    metadata:\n      labels: {app: web, tier: a}"),
            old: Manifest.deployment)
        #expect(
            faults == [
                "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"tier\":\"a\"}}: field is immutable"
            ])
        let service = Manifest.service.replacing("  selector:", with: "  clusterIP: 10.96.0.20\n  selector:")
        let moved = Manifest.service.replacing("  selector:", with: "  clusterIP: 10.96.0.21\n  selector:")
        #expect(
            try Manifest.faults(moved, old: service) == [
                "spec.clusterIP: Invalid value: \"10.96.0.21\": field is immutable"
            ])
        #expect(try Manifest.faults(service, old: Manifest.service) == [])
    }

    @Test("a running pod's image may change, its command may not")
    func podUpdate() throws {
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: a}]}}"
        #expect(try Manifest.faults(pod.replacing("image: a", with: "image: b"), old: pod) == [])
        let faults = try Manifest.faults(pod.replacing("image: a", with: "image: a, command: [sh]"), old: pod)
        #expect(
            faults.count == 1 && faults[0].hasPrefix("spec: Forbidden: pod updates may not change fields other than"))
        #expect(faults[0].hasSuffix("changed here: spec.containers"))
        let bound = try Manifest.faults(pod.replacing("spec: {", with: "spec: {nodeName: node-1, "), old: pod)
        #expect(bound.first?.hasSuffix("changed here: spec.nodeName") == true, "that is for a binding")
    }

    @Test(
        "a service's mistakes are named",
        arguments: [
            ("port: 80\n", "port: 0\n", "spec.ports[0].port: Invalid value: 0"),
            ("targetPort: http", "targetPort: HTTP", "spec.ports[0].targetPort: Invalid value: \"HTTP\""),
            ("  - port: 80", "  - port: 81\n  - port: 80", "spec.ports[0].name: Required value"),
            ("name: web", "name: 1web", "metadata.name: Invalid value: \"1web\": must start with a letter"),
            ("  selector:", "  clusterIP: nowhere\n  selector:", "spec.clusterIP: Invalid value: \"nowhere\""),
            ("  selector:", "  type: ExternalName\n  selector:", "spec.externalName: Required value"),
            ("  selector:", "  type: Magic\n  selector:", "spec.type: Unsupported value: \"Magic\""),
            (
                "  selector:", "  externalTrafficPolicy: Local\n  selector:",
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"
            ),
            (
                "  selector:", "  type: NodePort\n  externalTrafficPolicy: Near\n  selector:",
                "spec.externalTrafficPolicy: Unsupported value: \"Near\""
            ),
            (
                "  selector:", "  type: NodePort\n  healthCheckNodePort: 30000\n  selector:",
                "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer'"
            ),
            (
                "  selector:",
                "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 70000\n  selector:",
                "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535"
            ),
        ])
    func service(old: String, new: String, message: String) throws {
        let faults = try Manifest.faults(Manifest.service.replacing(old, with: new))
        #expect(faults.contains { $0.hasPrefix(message) }, "\(faults)")
    }

    @Test(
        "a route's mistakes are named",
        arguments: [
            (
                Manifest.httpRoute, "port: 80, weight: 90", "weight: 90",
                "spec.rules[0].backendRefs[0].port: Required value"
            ),
            (
                Manifest.httpRoute, "weight: 90", "weight: -1",
                "spec.rules[0].backendRefs[0].weight: Invalid value: -1: spec.rules[0].backendRefs[0].weight in body"
            ),
            (
                Manifest.httpRoute, "  - backendRefs", "  - matches: [{path: {value: api}}]\n    backendRefs",
                "spec.rules[0].matches[0].path.value: Invalid value: \"api\": must be an absolute path"
            ),
            (
                Manifest.httpRoute, "  - backendRefs", "  - filters: [{type: URLRewrite}]\n    backendRefs",
                "spec.rules[0].filters[0].urlRewrite: Required value"
            ),
            (
                Manifest.httpRoute, "  - backendRefs",
                "  - timeouts: {request: 1s, backendRequest: 2s}\n    backendRefs",
                "spec.rules[0].timeouts.backendRequest: Invalid value: \"2s\": cannot be longer"
            ),
            (
                Manifest.httpRoute, "  rules:", "  hostnames: [\"Bad Host\"]\n  rules:",
                "spec.hostnames[0]: Invalid value: \"Bad Host\": spec.hostnames[0] in body should match"
            ),
            (Manifest.virtualService, "weight: 90", "weight: 0", ""),
            (
                Manifest.virtualService, "timeout: 5s", "timeout: soon",
                "spec.http[0].timeout: Invalid value: \"soon\": must be a duration"
            ),
            (
                Manifest.virtualService, "hosts: [catalog]", "hosts: []",
                "spec.hosts: Required value: must have at least one host"
            ),
            (
                Manifest.virtualService, "{host: catalog, subset: v1}", "{subset: v1}",
                "spec.http[0].route[0].destination.host: Required value"
            ),
        ])
    func routes(yaml: String, old: String, new: String, message: String) throws {
        let faults = try Manifest.faults(yaml.replacing(old, with: new))
        if message.isEmpty {
            #expect(faults == [])
        } else {
            #expect(faults.contains { $0.hasPrefix(message) }, "\(faults)")
        }
    }

    @Test("filters of a route: twice, against each other, or without what they need")
    func filters() throws {
        func faults(_ filters: String, matches: String = "[]") throws -> [String] {
            try Manifest.faults(
                Manifest.httpRoute.replacing(
                    "  - backendRefs", with: "  - filters: [\(filters)]\n    matches: \(matches)\n    backendRefs"))
        }
        let set = "{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: b}]}}"
        #expect(try faults(set) == [])
        #expect(
            try faults("\(set), \(set)") == [
                "spec.rules[0].filters[1].type: Duplicate value: \"RequestHeaderModifier\""
            ])
        let rewrite = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}"
        #expect(
            try faults(rewrite).contains {
                $0.hasPrefix("spec.rules[0].filters[0].urlRewrite.path.type: Invalid value")
            })
        #expect(try faults(rewrite, matches: "[{path: {type: PathPrefix, value: /a}}]") == [])
        let mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: m}}}"
        #expect(
            try faults(mirror).contains {
                $0.hasPrefix("spec.rules[0].filters[0].requestMirror.backendRef.port: Required value")
            })
        let twice = Manifest.httpRoute.replacing(
            "  rules:", with: "  - {kind: Service, group: \"\", name: catalog, port: 80}\n  rules:")
        #expect(try Manifest.faults(twice).contains { $0.hasPrefix("spec.parentRefs[1]: Duplicate value") })
    }

    @Test("destinations whose weights add up to nothing")
    func zeroWeights() throws {
        let text = Manifest.virtualService.replacing("weight: 90", with: "weight: 0").replacing(
            "weight: 10", with: "weight: 0")
        #expect(try Manifest.faults(text).contains { $0.contains("the weights of 2 destinations add up to 0") })
    }

    @Test("a secret's data must be base64, its keys plain")
    func secret() throws {
        let faults = try Manifest.faults(
            "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {\"a/b\": \"?\", c: aGk=}}")
        #expect(faults.contains { $0.hasPrefix("data[a/b]: Invalid value: \"a/b\"") })
        #expect(
            faults.contains { $0 == "data[a/b]: Invalid value: \"?\": must be base64" } == false,
            "one word on each field")
        #expect(
            try Manifest.faults("{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {b: \"?\"}}") == [
                "data.b: Invalid value: \"?\": must be base64"
            ])
    }

    @Test("a CRD must be consistent")
    func customResourceDefinition() throws {
        let text = """
            apiVersion: apiextensions.k8s.io/v1
            kind: CustomResourceDefinition
            metadata: {name: pets.example.com}
            spec:
              group: example.com
              scope: Namespaced
              names: {plural: pets, kind: Pet}
              versions:
              - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
            """
        #expect(try Manifest.faults(text) == [])
        let schema = "storage: true, schema: {openAPIV3Schema: {type: object}}"
        let bad = text.replacing("pets.example.com", with: "pet.example.com").replacing(schema, with: "storage: false")
        let paths = try Manifest.faults(bad).map { $0.prefix { $0 != ":" } }
        #expect(paths == ["metadata.name", "spec.versions[0].schema.openAPIV3Schema", "spec.versions"])
    }

    @Test(
        "addresses",
        arguments: [
            ("10.0.0.1", true), ("10.0.0.256", false), ("010.0.0.1", false), ("::1", true), ("fe80::1:2", true),
            ("1::2::3", false),
            ("::ffff:1.2.3.4", true), ("1:2:3:4:5:6:7:8", true), ("1:2:3:4:5:6:7", false), ("", false),
            ("a.b.c.d", false), (":::", false), ("::", true),
        ])
    func addresses(text: String, isRight: Bool) { #expect(Names.isAddress(text) == isRight) }
}
