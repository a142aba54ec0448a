/// A resource the API serves in one version, and everything known of its kind.
package final class ResourceDefinition: Sendable {
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
    package let custom: CustomTraits?

    package let isStored: Bool
    package let hasStatus: Bool
    /// Where objects of this kind are kept: the same resource in its storage version.
    package let storageType: ResourceType
    /// Where Kubernetes serves one kind in two groups, how the member names of this one differ from the stored ones.
    let aliases: MemberAliases?
    /// How the stored bytes of an object begin, and how they begin when this version shows them.
    package let storedHead: [UInt8]
    package let shownHead: [UInt8]

    package init(
        type: ResourceType, singular: String, shortNames: [String], categories: [String], verbs: [String],
        subresources: [Subresource], isCustom: Bool, storageVersion: String, servedVersions: [String],
        columns: [PrinterColumn], schemaLink: SchemaLink, custom: CustomTraits? = nil
    ) {
        self.type = type
        self.singular = singular
        self.shortNames = shortNames
        self.categories = categories
        self.verbs = verbs
        self.subresources = subresources
        self.isCustom = isCustom
        self.storageVersion = storageVersion
        self.servedVersions = servedVersions
        self.columns = columns
        self.schemaLink = schemaLink
        self.custom = custom
        isStored = verbs.contains("get") || verbs.contains("list")
        hasStatus = subresources.contains { $0.name == "status" }
        aliases = MemberAliases.of(type)
        storageType =
            aliases?.storageType
            ?? ResourceType(
                group: type.group, version: storageVersion, resource: type.resource, kind: type.kind,
                isNamespaced: type.isNamespaced)
        storedHead = Self.head(storageType)
        shownHead = Self.head(type)
    }

    private static func head(_ type: ResourceType) -> [UInt8] {
        Array("{\"kind\":\"\(type.kind)\",\"apiVersion\":\"\(type.apiVersion)\",\"metadata\":{".utf8)
    }

    package var schema: Schema { schemaLink.schema }
    package var listKind: String { custom?.listKind ?? type.kind + "List" }

    package func subresource(_ name: String) -> Subresource? { subresources.first { $0.name == name } }
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
