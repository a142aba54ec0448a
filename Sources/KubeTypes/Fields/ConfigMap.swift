package import Wire

/// Fields of a ConfigMap.
package enum ConfigMap {
    package static let data = Field<[String: String]>("data")
    package static let binaryData = Field<[String: String]>("binaryData")  // base64
    package static let immutable = Field<Bool>("immutable")
}

/// Fields of a Secret.
package enum Secret {
    package static let data = Field<[String: String]>("data")  // base64
    package static let stringData = Field<[String: String]>("stringData")  // write only: merged into data
    package static let type = Field<String>("type")
    package static let immutable = Field<Bool>("immutable")
}

/// Fields of a ServiceAccount.
package enum ServiceAccount {
    package static let secrets = Field<[JSON]>("secrets")
    package static let imagePullSecrets = Field<[JSON]>("imagePullSecrets")
    package static let automountServiceAccountToken = Field<Bool>("automountServiceAccountToken")
}
