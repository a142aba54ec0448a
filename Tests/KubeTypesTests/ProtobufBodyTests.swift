import KubeTypes
import Testing
import Wire

/// Bodies that kubectl 1.37 sent: `create namespace demo`, `create configmap settings --from-literal=a=1`,
/// `create deployment web --image=nginx:1 --replicas=0 --port=80`, `create token bob --duration=10m`, `auth can-i create pods`,
/// `create role r --verb=get --resource=pods`, `create rolebinding rb --role=r --serviceaccount=demo:bob`, `create job j --image=a`.
private enum Captured {
    static let namespace = bytes(
        "6b3873000a0f0a02763112094e616d657370616365121c0a140a0464656d6f12001a0022002a0032003800420012001a020a"
            + "001a002200")
    static let configMap = bytes(
        "6b3873000a0f0a0276311209436f6e6669674d617012260a1c0a0873657474696e677312001a0464656d6f22002a00320038"
            + "00420012060a01611201311a002200")
    static let deployment = bytes(
        "6b3873000a150a07617070732f7631120a4465706c6f796d656e7412be010a230a0377656212001a0464656d6f22002a0032"
            + "00380042005a0a0a0361707012037765621288010800120c0a0a0a0361707012037765621a6e0a1c0a0012001a0022002a00"
            + "3200380042005a0a0a036170701203776562124e12300a056e67696e7812076e67696e783a312a00320a0a00100018502200"
            + "2a0042006a007200800100880100900100a201001a00320042004a0052005800600068008201008a01009a0100c201002202"
            + "0a00280038001a0c0800100018002000280038001a002200")
    static let token = bytes(
        "6b3873000a280a1861757468656e7469636174696f6e2e6b38732e696f2f7631120c546f6b656e52657175657374121d0a10"
            + "0a0012001a0022002a00320038004200120320d8041a040a0012001a002200")
    static let access = bytes(
        "6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a656374416363657373"
            + "526576696577123f0a100a0012001a0022002a0032003800420012210a1f0a0764656661756c7412066372656174651a0022"
            + "002a04706f647332003a001a08080012001a0020001a002200")
    static let role = bytes(
        "6b3873000a240a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f76311204526f6c6512260a150a017212"
            + "001a0464656d6f22002a00320038004200120d0a0367657412001a04706f64731a002200")
    static let binding = bytes(
        "6b3873000a2b0a1c726261632e617574686f72697a6174696f6e2e6b38732e696f2f7631120b526f6c6542696e64696e6712"
            + "5d0a160a02726212001a0464656d6f22002a00320038004200121d0a0e536572766963654163636f756e7412001a03626f62"
            + "220464656d6f1a240a19726261632e617574686f72697a6174696f6e2e6b38732e696f1204526f6c651a01721a002200")
    static let job = bytes(
        "6b3873000a0f0a0862617463682f763112034a6f6212760a150a016a12001a0464656d6f22002a0032003800420012533251"
            + "0a100a0012001a0022002a00320038004200123d121a0a016a1201612a0042006a007200800100880100900100a201001a05"
            + "4e65766572320042004a0052005800600068008201008a01009a0100c201001a082000280030003a001a002200")

    static func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.utf8.map { $0 < 0x3A ? $0 - 0x30 : $0 - 0x57 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}

@Suite("Protobuf bodies")
struct ProtobufBodyTests {
    private func decode(_ bytes: [UInt8]) throws -> JSON { try KubeProtobuf.builtIn.decode(bytes) }

    @Test("what kubectl sends becomes the JSON it means, without unset fields")
    func captured() throws {
        #expect(
            try decode(Captured.namespace) == [
                "kind": "Namespace", "apiVersion": "v1", "metadata": ["name": "demo"], "spec": [:], "status": [:],
            ])
        #expect(try decode(Captured.configMap)["data"] == ["a": "1"])
        let deployment = try decode(Captured.deployment)
        #expect(deployment["metadata"] == ["name": "web", "namespace": "demo", "labels": ["app": "web"]])
        #expect(deployment["spec"]?["replicas"] == 0, "a pointer to 0 is not unset")
        #expect(deployment["spec"]?["selector"] == ["matchLabels": ["app": "web"]])
        #expect(
            deployment[path: ["spec", "template", "spec", "containers"]] == [
                ["name": "nginx", "image": "nginx:1", "ports": [["containerPort": 80]], "resources": [:]]
            ])
        #expect(try decode(Captured.token)["spec"]?["expirationSeconds"] == 600)
        #expect(
            try decode(Captured.access)["spec"]?["resourceAttributes"] == [
                "namespace": "default", "verb": "create", "resource": "pods",
            ])
        #expect(try decode(Captured.role)["rules"] == [["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]]])
        #expect(
            try decode(Captured.binding)["roleRef"] == [
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r",
            ])
        #expect(try decode(Captured.job)[path: ["spec", "template", "spec", "restartPolicy"]] == "Never")
    }

    @Test("such a body goes through decoding, defaults and validation like any other")
    func whole() throws {
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .deployments))
        var object = try definition.decode(
            Captured.deployment, contentType: "application/vnd.kubernetes.protobuf", fieldValidation: .strict
        ).object
        definition.default(&object)
        #expect(definition.faults(object).map(\.description) == [])
        #expect(object[Deployment.strategyType] == "RollingUpdate")
    }

    static let objects = [
        Manifest.deployment, Manifest.service,
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: a, namespace: d, creationTimestamp: "2026-01-01T00:00:00Z", annotations: {x: "y"}, managedFields: [{manager: m, operation: Apply, fieldsV1: {"f:spec": {}}}]}
        spec:
          containers:
          - name: a
            image: a
            livenessProbe: {tcpSocket: {port: 80}}
            env: [{name: X, valueFrom: {secretKeyRef: {name: s, key: k}}}]
            envFrom: [{configMapRef: {name: c, optional: false}}]
          volumes: [{name: v, configMap: {name: c, items: [{key: k, path: p}]}}, {name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}]
          tolerations: [{key: a, operator: Exists, tolerationSeconds: 0}]
        status: {phase: Running, startTime: "2026-01-01T00:00:00Z", containerStatuses: [{name: a, ready: false, restartCount: 0, image: a, imageID: "", state: {running: {startedAt: "2026-01-01T00:00:00Z"}}}]}
        """,
        """
        apiVersion: coordination.k8s.io/v1
        kind: Lease
        metadata: {name: n, namespace: d}
        spec: {holderIdentity: n, leaseDurationSeconds: 40, renewTime: "2026-01-01T00:00:00.000042Z"}
        """,
        "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: d}, type: Opaque, data: {k: aGVsbG8=}}",
        "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {capacity: {cpu: '2', memory: 4Gi}}}",
        """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: a.b.c}
        spec:
          group: b.c
          scope: Cluster
          names: {plural: a, kind: A}
          versions:
          - {name: v1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, properties: {x: {type: string, enum: [a], default: a}, y: {type: object, additionalProperties: {type: string}}, z: {type: array, items: {type: string}}}}}}
        """,
    ]

    @Test("what is encoded is decoded to the same object", arguments: objects)
    func roundTrip(yaml: String) throws {
        let object = try Manifest.object(yaml)
        let bytes = try #require(KubeProtobuf.builtIn.encode(object.json))
        #expect(try decode(bytes) == object.json)
    }

    @Test("kinds without a protobuf form are not encoded, and refused by name")
    func unknownKinds() throws {
        #expect(try KubeProtobuf.builtIn.encode(Manifest.json(Manifest.httpRoute)) == nil)
        let envelope =
            KubeProtobuf.magic + [0x0A, 0x08, 0x0A, 0x02] + Array("v9".utf8) + [0x12, 0x02] + Array("No".utf8)
        let fault = #expect(throws: KubeProtobufFault.self) { try decode(envelope) }
        #expect(fault?.message == "no protobuf message is known for kind \"No\" of \"v9\"; send JSON")
    }

    @Test("a body cut short anywhere is refused or read in part, never a crash")
    func truncated() {
        for body in [Captured.deployment, Captured.job, Captured.access] {
            for count in 0..<body.count { _ = try? decode(Array(body[..<count])) }
        }
    }

    @Test("no flipped byte makes the decoder trap")
    func fuzz() {
        var random = SystemRandomNumberGenerator()
        for body in [Captured.deployment, Captured.job, Captured.binding, Captured.token] {
            for _ in 0..<1500 {
                var bytes = body
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: 4..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                _ = try? decode(bytes)
            }
        }
    }

    @Test("a fault says in which field")
    func place() throws {
        var bytes = Captured.deployment
        let image = try #require(bytes.firstRange(of: Array("nginx:1".utf8)))
        bytes[image.lowerBound] = 0xFF
        let fault = #expect(throws: KubeProtobufFault.self) { try decode(bytes) }
        #expect(
            fault?.message.contains("field spec.template.spec.containers[0].image: string is not valid UTF-8") == true)
    }
}
