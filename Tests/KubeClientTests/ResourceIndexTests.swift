import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("Resources by the names people use")
struct ResourceIndexTests {
    private let index: ResourceIndex = {
        var index = ResourceIndex()
        index.add([
            "items": [
                [
                    "metadata": [:],
                    "versions": [
                        [
                            "version": "v1",
                            "resources": [
                                [
                                    "resource": "pods", "responseKind": ["kind": "Pod"], "scope": "Namespaced",
                                    "singularResource": "pod", "shortNames": ["po"],
                                ],
                                [
                                    "resource": "nodes", "responseKind": ["kind": "Node"], "scope": "Cluster",
                                    "singularResource": "node",
                                ],
                            ],
                        ]
                    ],
                ],
                [
                    "metadata": ["name": "networking.istio.io"],
                    "versions": [
                        [
                            "version": "v1",
                            "resources": [
                                ["resource": "gateways", "responseKind": ["kind": "Gateway"], "scope": "Namespaced"]
                            ],
                        ],
                        [
                            "version": "v1beta1",
                            "resources": [
                                ["resource": "gateways", "responseKind": ["kind": "Gateway"], "scope": "Namespaced"]
                            ],
                        ],
                    ],
                ],
            ]
        ])
        return index
    }()

    @Test("by plural, singular, short name and kind, in any case", arguments: ["pods", "pod", "po", "Pod", "PODS"])
    func names(word: String) {
        #expect(index.type(named: word) == ResourceType.pods)
    }

    @Test("with the group, and the preferred version first")
    func groups() {
        #expect(index.type(named: "gateways.networking.istio.io")?.version == "v1")
        #expect(index.type(apiVersion: "networking.istio.io/v1beta1", kind: "Gateway")?.version == "v1beta1")
        #expect(index.type(named: "gateways.gateway.networking.k8s.io") == nil)
    }

    @Test("scope comes from discovery")
    func scope() {
        #expect(index.type(named: "nodes")?.isNamespaced == false)
    }

    @Test("a typing error gets the nearest name, a wrong group where the kind is")
    func hints() {
        #expect(index.hint(forResource: "pdos").contains("\"pods\""))
        #expect(!index.hint(forResource: "wholly-other").contains("did you mean"))
        #expect(index.hint(forKind: "gateway").contains("networking.istio.io/v1"))
    }
}
