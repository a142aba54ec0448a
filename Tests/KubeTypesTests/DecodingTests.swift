import KubeTypes
import Testing
import Wire

@Suite("Decoding and defaults")
struct DecodingTests {
    private func decode(_ yaml: String, _ validation: FieldValidation = .strict) throws -> (
        object: KubeObject, warnings: [String]
    ) {
        let json = try Manifest.json(yaml)
        return try Manifest.definition(json).decode(
            json.bytes, contentType: "application/json", fieldValidation: validation)
    }

    @Test("an unknown field is refused by name, warned of, or dropped")
    func unknown() throws {
        let text = Manifest.deployment.replacing("replicas: 2", with: "replicaz: 2\n  template2: {}")
        let failure = #expect(throws: APIFailure.self) { try decode(text) }
        #expect(failure?.code == 400 && failure?.reason == "BadRequest")
        #expect(
            failure?.message
                == "Deployment \"web\" in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.replicaz\", unknown field \"spec.template2\""
        )
        let warned = try decode(text, .warn)
        #expect(warned.warnings == ["unknown field \"spec.replicaz\"", "unknown field \"spec.template2\""])
        #expect(warned.object.spec["replicaz"] == nil && warned.object.spec["selector"] != nil)
        #expect(try decode(text, .ignore).warnings.isEmpty)
    }

    @Test("unknown fields are named where they stand, in lists too")
    func deepUnknown() throws {
        let failure = #expect(throws: APIFailure.self) {
            try decode(Manifest.deployment.replacing("image: web:1", with: "imagee: web:1"))
        }
        #expect(failure?.message.hasSuffix("unknown field \"spec.template.spec.containers[0].imagee\"") == true)
    }

    @Test("a duplicate field is refused")
    func duplicate() throws {
        let body = Array(
            #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}"#.utf8)
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .configMaps))
        let failure = #expect(throws: APIFailure.self) {
            try definition.decode(body, contentType: "application/json; charset=utf-8", fieldValidation: .strict)
        }
        #expect(failure?.message.contains("strict decoding error: duplicate field \"data.a\"") == true)
    }

    @Test(
        "a value of the wrong type names field, type and value",
        arguments: [
            ("replicas: 2", "replicas: two", "spec.replicas: expected an integer, found the string \"two\""),
            ("replicas: 2", "replicas: 2.5", "spec.replicas: expected an integer, found the number 2.5"),
            ("replicas: 2", "replicas: 3000000000", "spec.replicas: must fit in 32 bits"),
            (
                "value: blue", "value: 5",
                "spec.template.spec.containers[0].env[0].value: expected a string, found the number 5"
            ),
            ("labels: {app: web}\nspec", "labels: [app]\nspec", "metadata.labels: expected an object, found a list"),
            (
                "cpu: 500m", "cpu: [1]",
                "spec.template.spec.containers[0].resources.limits.cpu: expected a quantity such as 100m or 1Gi, found a list"
            ),
        ])
    func wrongType(old: String, new: String, message: String) throws {
        let failure = #expect(throws: APIFailure.self) { try decode(Manifest.deployment.replacing(old, with: new)) }
        #expect(failure?.code == 400)
        #expect(failure?.message.hasSuffix(": " + message) == true, "\(failure?.message ?? "")")
    }

    @Test("a wrong type in a custom kind is an Invalid with a cause")
    func customWrongType() throws {
        let failure = #expect(throws: APIFailure.self) {
            try decode(Manifest.httpRoute.replacing("weight: 90", with: "weight: many"))
        }
        #expect(failure?.code == 422)
        #expect(failure?.details?["causes"]?[0]?["field"] == "spec.rules[0].backendRefs[0].weight")
        #expect(failure?.message.hasPrefix("HTTPRoute.gateway.networking.k8s.io \"catalog\" is invalid: ") == true)
    }

    @Test("the wrong kind, no JSON, no object and other formats are told apart")
    func wrongBody() throws {
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .configMaps))
        func failure(_ text: String, _ type: String = "application/json") -> APIFailure? {
            #expect(throws: APIFailure.self) { try definition.decode(Array(text.utf8), contentType: type) }
        }
        #expect(
            failure(#"{"apiVersion":"v1","kind":"Secret"}"#)?.message
                == "the kind in the data (Secret) does not match the expected kind (ConfigMap)")
        #expect(failure("{")?.code == 400)
        #expect(failure("[]")?.code == 400)
        #expect(failure("a: b", "application/yaml")?.code == 415)
        #expect(failure("", "application/vnd.kubernetes.protobuf")?.code == 400)
        #expect(
            try definition.decode(Array(#"{"data":{"a":null}}"#.utf8), contentType: "").object.json["data"]?["a"] == "")
    }

    @Test("a deployment gets the defaults Kubernetes gives it")
    func deployment() throws {
        let object = try Manifest.object(Manifest.deployment)
        let spec = object.spec
        #expect(
            spec["strategy"] == [
                "type": "RollingUpdate", "rollingUpdate": ["maxUnavailable": "25%", "maxSurge": "25%"],
            ])
        #expect(spec["revisionHistoryLimit"] == 10 && spec["progressDeadlineSeconds"] == 600)
        let pod = try #require(spec["template"]?["spec"])
        #expect(
            pod["restartPolicy"] == "Always" && pod["dnsPolicy"] == "ClusterFirst"
                && pod["terminationGracePeriodSeconds"] == 30)
        #expect(pod["schedulerName"] == "default-scheduler" && pod["securityContext"] == [:])
        #expect(pod["volumes"]?[0] == ["name": "data", "emptyDir": [:]])
        let container = try #require(pod["containers"]?[0])
        #expect(
            container["imagePullPolicy"] == "IfNotPresent"
                && container["terminationMessagePath"] == "/dev/termination-log")
        #expect(container["ports"]?[0]?["protocol"] == "TCP")
        #expect(
            container["readinessProbe"]
                == [
                    "httpGet": ["port": "http", "path": "/", "scheme": "HTTP"], "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3,
                ])
        #expect(container["resources"]?["requests"] == nil, "only a Pod takes its requests from its limits")
    }

    @Test("defaults are stable: a second pass changes nothing")
    func idempotent() throws {
        for yaml in [Manifest.deployment, Manifest.service, Manifest.httpRoute, Manifest.virtualService] {
            let once = try Manifest.object(yaml)
            var twice = once
            try Manifest.definition(once.json).default(&twice)
            #expect(once == twice)
            #expect(once.json.text == twice.json.text)
        }
    }

    @Test("pods, services, secrets and routes get theirs")
    func others() throws {
        let pod = try Manifest.object(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: a}
            spec:
              containers:
              - {name: a, image: "registry:5000/a", resources: {limits: {cpu: "1"}}}
            """)
        #expect(pod[Pod.containers]?[0]["resources"]?["requests"] == ["cpu": "1"])
        #expect(pod[Pod.containers]?[0][Container.imagePullPolicy] == "Always")
        #expect(pod[Pod.enableServiceLinks] == true)
        let service = try Manifest.object(Manifest.service)
        #expect(service[Service.type] == "ClusterIP" && service[Service.internalTrafficPolicy] == "Cluster")
        #expect(service[Service.ports]?[0] == ["port": 80, "targetPort": "http", "protocol": "TCP"])
        let secret = try Manifest.object("{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {user: me}}")
        #expect(
            secret.json["data"] == ["user": "bWU="] && secret.json["stringData"] == nil
                && secret.json["type"] == "Opaque")
        let route = try Manifest.object(Manifest.httpRoute)
        #expect(route.spec["rules"]?[0]?["backendRefs"]?[0]?["kind"] == "Service")
        #expect(route.spec["rules"]?[0]?["matches"] == [["path": ["type": "PathPrefix", "value": "/"]]])
        let namespace = try Manifest.object("{apiVersion: v1, kind: Namespace, metadata: {name: demo}}")
        #expect(namespace.labels["kubernetes.io/metadata.name"] == "demo")
    }

    @Test("one stored object serves all versions of its kind")
    func versions() throws {
        let object = try Manifest.object(Manifest.virtualService)
        let old = try Manifest.definition(object.json)
        let stored = old.stored(object)
        #expect(stored.apiVersion == "networking.istio.io/v1")
        #expect(old.presented(stored) == object)
    }

    @Test("generation grows with the spec, not with status or metadata")
    func generation() throws {
        let old = try Manifest.object(Manifest.deployment)
        let definition = try Manifest.definition(old.json)
        var new = old
        new.labels["x"] = "y"
        new.status["replicas"] = 1
        #expect(!definition.asksForChange(from: old, to: new))
        new[Deployment.replicas] = 5
        #expect(definition.asksForChange(from: old, to: new))
    }
}
