/// A resource the API serves in one version, and everything known of its kind.
package struct ResourceDefinition: Sendable {
    package let type: ResourceType
    package let singular: String
    package let shortNames: [String]
    package let categories: [String]
    package let verbs: [String]
    package let subresources: [Subresource]
    /// True for kinds that came as a CRD: no strategic merge, and unknown fields are pruned by schema.
    package let isCustom: Bool
    /// The version objects are stored in; the same for all versions of a kind.
    package let storageVersion: String
    /// Best first.
    package let servedVersions: [String]
    package let columns: [PrinterColumn]
    package let schemaLink: SchemaLink
    /// What only kinds of a user's CRD have.
    package var custom: CustomTraits? = nil

    package var schema: Schema { schemaLink.schema }
    package var listKind: String { custom?.listKind ?? type.kind + "List" }
    package var isStored: Bool { verbs.contains("get") || verbs.contains("list") }
    package var hasStatus: Bool { subresources.contains { $0.name == "status" } }

    package func subresource(_ name: String) -> Subresource? { subresources.first { $0.name == name } }

    /// Where objects of this kind are kept: the same resource in its storage version.
    package var storageType: ResourceType {
        ResourceType(
            group: type.group, version: storageVersion, resource: type.resource, kind: type.kind,
            isNamespaced: type.isNamespaced)
    }
}

/// A path under an object with verbs of its own: `deployments/scale`.
package struct Subresource: Sendable, Hashable {
    package let name: String
    package let kind: String
    /// Differ from the resource's own where the kind is of another group: Scale, Eviction.
    package let group: String
    package let version: String
    package let verbs: [String]
}

/// A column of `kubectl get`.
package struct PrinterColumn: Sendable, Hashable {
    package let name: String
    package let type: String
    package let format: String
    package let description: String
    /// Above 0: only with `-o wide`.
    package let priority: Int
    /// For custom kinds, where the value stands.
    package let jsonPath: String?
}
