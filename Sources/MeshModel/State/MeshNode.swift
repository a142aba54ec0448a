package import KubeTypes
import ProxyResources

/// A node as the mesh sees it: where it is.
package struct MeshNode: Sendable, Hashable {
    package var name: String
    package var locality: String  // `region/zone/subzone`

    package init(_ object: KubeObject) {
        name = object.name
        locality =
            Locality(
                region: object.labels["topology.kubernetes.io/region"] ?? "",
                zone: object.labels["topology.kubernetes.io/zone"] ?? "",
                subzone: object.labels["topology.istio.io/subzone"] ?? ""
            ).description
    }
}
