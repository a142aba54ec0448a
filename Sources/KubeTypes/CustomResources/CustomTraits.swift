package import Wire

/// What a CRD says of one version of its kind beyond what every kind has.
package struct CustomTraits: Sendable {
    /// The CRD's name: `widgets.example.com`.
    package let definitionName: String
    package let listKind: String
    /// `nil`: versions differ by their `apiVersion` only.
    package let conversion: WebhookConversion?
    package let scale: ScalePaths?
    package let selectableFields: [SelectableField]
    /// Told to everybody who uses a deprecated version.
    package let deprecationWarning: String?
    /// The CRD is being deleted: nothing new may be made.
    package let isTerminating: Bool
}

/// How objects get from one version to another: by asking a webhook.
package struct WebhookConversion: Sendable, Hashable {
    /// `url` or `service`, and `caBundle`.
    package let client: JSON
    /// Versions of `ConversionReview` the webhook knows, in its order.
    package let reviewVersions: [String]
}

/// Where a custom kind keeps what the scale subresource shows.
package struct ScalePaths: Sendable, Hashable {
    package let specReplicas: [String]
    package let statusReplicas: [String]
    package let labelSelector: [String]?

    init?(_ json: JSON?) {
        guard let json else { return nil }
        func steps(_ name: String) -> [String]? { json[name]?.string.flatMap { FieldSteps($0)?.steps } }
        guard let spec = steps("specReplicasPath"), let status = steps("statusReplicasPath") else { return nil }
        specReplicas = spec
        statusReplicas = status
        labelSelector = steps("labelSelectorPath")
    }
}

/// A field that objects of a custom kind can be chosen by.
package struct SelectableField: Sendable, Hashable {
    /// As selectors write it: `spec.color`.
    package let name: String
    package let path: [String]

    init?(_ jsonPath: String) {
        guard let steps = FieldSteps(jsonPath)?.steps, !steps.isEmpty else { return nil }
        path = steps
        name = jsonPath.hasPrefix(".") ? String(jsonPath.dropFirst()) : jsonPath
    }

    /// What a selector compares with; a field that is not there is empty.
    package func value(_ object: KubeObject) -> String {
        switch object.json[path: path] {
        case .string(let text)?: text
        case .bool(let flag)?: flag ? "true" : "false"
        case .int(let number)?: String(number)
        default: ""
        }
    }
}
