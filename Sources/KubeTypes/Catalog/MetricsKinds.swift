import Wire

/// `metrics.k8s.io`: what nodes and pods use now. Nothing of it is stored; kubectl top reads it.
enum MetricsKinds {
    static let group = "metrics.k8s.io"

    static func definitions() -> [ResourceDefinition] {
        [
            definition("nodes", "NodeMetrics", isNamespaced: false, ["usage": usage]),
            definition(
                "pods", "PodMetrics", isNamespaced: true,
                [
                    "containers": [
                        "type": "array",
                        "items": ["type": "object", "properties": ["name": ["type": "string"], "usage": usage]],
                    ]
                ]),
        ]
    }

    /// Quantities by name: `cpu`, `memory`.
    private static let usage: JSON = [
        "type": "object",
        "additionalProperties": [
            "anyOf": [["type": "integer"], ["type": "string"]], "x-kubernetes-int-or-string": true,
        ],
    ]

    private static func definition(
        _ resource: String, _ kind: String, isNamespaced: Bool, _ own: JSON
    ) -> ResourceDefinition {
        var properties: JSON = [
            "apiVersion": ["type": "string"], "kind": ["type": "string"], "metadata": ["type": "object"],
            "timestamp": ["type": "string", "format": "date-time"], "window": ["type": "string"],
        ]
        for member in own.object ?? JSONObject() { properties[member.key] = member.value }
        let columns = [
            PrinterColumn(name: "Name", type: "string", format: "name", description: "", priority: 0, jsonPath: nil),
            PrinterColumn(
                name: "Window", type: "string", format: "", description: "", priority: 0, jsonPath: ".window"),
        ]
        return ResourceDefinition(
            type: ResourceType(
                group: group, version: "v1beta1", resource: resource, kind: kind, isNamespaced: isNamespaced),
            singular: "", shortNames: [], categories: [], verbs: ["get", "list"], subresources: [], isCustom: true,
            storageVersion: "v1beta1", servedVersions: ["v1beta1"], columns: columns,
            schemaLink: SchemaLink(custom: CustomSchema(["type": "object", "properties": properties])))
    }
}
