import KubeTypes
import NodeAgent
import Testing
import Wire

@Suite struct EnvironmentTests {
    private func sources() -> Environment.Sources {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web")
        pod.labels = ["app": "web"]
        pod.json["spec"] = ["nodeName": "node-1"]
        return Environment.Sources(
            fields: PodFields(
                pod, address: "10.244.1.5", nodeAddress: "10.245.0.11",
                machine: MachineSize(processors: 4, memoryBytes: 1 << 30)))
    }

    private func values(_ container: JSON, _ sources: Environment.Sources) throws -> [String: String] {
        let variables = try Environment.variables(of: container, sources)
        return Dictionary(uniqueKeysWithValues: variables.map { ($0.name, $0.value) })
    }

    @Test(
        "references are replaced by what is known so far",
        arguments: [
            ("$(A)-$(B)", "1-2"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("a$b$", "a$b$"), ("$(A", "$(A"),
            ("$$$(A)", "$1"),
        ])
    func expansion(text: String, result: String) {
        #expect(Environment.expand(text, with: ["A": "1", "B": "2"]) == result)
    }

    @Test("variables come in order and may use those before them")
    func order() throws {
        let container: JSON = [
            "env": [
                ["name": "HOST", "value": "db"], ["name": "URL", "value": "pg://$(HOST):5432/$(LATER)"],
                ["name": "LATER", "value": "x"],
            ]
        ]
        #expect(try values(container, sources())["URL"] == "pg://db:5432/$(LATER)")
    }

    @Test("fields and resources of the pod are told")
    func downward() throws {
        let container: JSON = [
            "resources": ["limits": ["cpu": "250m"], "requests": ["memory": "64Mi"]],
            "env": [
                ["name": "IP", "valueFrom": ["fieldRef": ["fieldPath": "status.podIP"]]],
                ["name": "APP", "valueFrom": ["fieldRef": ["fieldPath": "metadata.labels['app']"]]],
                ["name": "CPU", "valueFrom": ["resourceFieldRef": ["resource": "limits.cpu", "divisor": "1m"]]],
                ["name": "CORES", "valueFrom": ["resourceFieldRef": ["resource": "limits.cpu"]]],
                ["name": "MIB", "valueFrom": ["resourceFieldRef": ["resource": "requests.memory", "divisor": "1Mi"]]],
                ["name": "MOST", "valueFrom": ["resourceFieldRef": ["resource": "limits.memory"]]],
            ],
        ]
        let found = try values(container, sources())
        #expect(
            found == ["IP": "10.244.1.5", "APP": "web", "CPU": "250", "CORES": "1", "MIB": "64", "MOST": "1073741824"])
    }

    @Test("envFrom gives whole objects, with a prefix; env wins")
    func envFrom() throws {
        var sources = sources()
        sources.configMaps["settings"] = ["MODE": "fast", "LEVEL": "1"]
        sources.secrets["keys"] = ["TOKEN": Array("s3cret".utf8)]
        let container: JSON = [
            "envFrom": [["configMapRef": ["name": "settings"]], ["prefix": "KEY_", "secretRef": ["name": "keys"]]],
            "env": [["name": "LEVEL", "value": "2"]],
        ]
        #expect(try values(container, sources) == ["MODE": "fast", "LEVEL": "2", "KEY_TOKEN": "s3cret"])
    }

    @Test("what is missing is named; what is optional may be missing")
    func missing() throws {
        var sources = sources()
        sources.configMaps["settings"] = ["MODE": "fast"]
        let key: JSON = ["configMapKeyRef": ["name": "settings", "key": "COLOUR"]]
        #expect(throws: ContainerConfigFault("couldn't find key COLOUR in configmap \"settings\" (env C)")) {
            try values(["env": [["name": "C", "valueFrom": key]]], sources)
        }
        #expect(throws: ContainerConfigFault("secret \"none\" not found (env S)")) {
            try values(["env": [["name": "S", "valueFrom": ["secretKeyRef": ["name": "none", "key": "k"]]]]], sources)
        }
        let optional: JSON = ["configMapKeyRef": ["name": "gone", "key": "k", "optional": true]]
        #expect(try values(["env": [["name": "O", "valueFrom": optional]]], sources) == [:])
    }
}
