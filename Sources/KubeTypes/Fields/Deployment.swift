package import Wire

/// Fields of a Deployment.
package enum Deployment {
    package static let replicas = Field<Int>("spec", "replicas")
    package static let selector = Field<JSON>("spec", "selector")
    package static let template = Field<JSON>("spec", "template")
    package static let templateLabels = Field<[String: String]>("spec", "template", "metadata", "labels")
    package static let paused = Field<Bool>("spec", "paused")
    package static let minReadySeconds = Field<Int>("spec", "minReadySeconds")
    package static let revisionHistoryLimit = Field<Int>("spec", "revisionHistoryLimit")
    package static let progressDeadlineSeconds = Field<Int>("spec", "progressDeadlineSeconds")
    package static let strategyType = Field<String>("spec", "strategy", "type")
    /// This and the next: a number or a percentage.
    package static let maxSurge = Field<JSON>("spec", "strategy", "rollingUpdate", "maxSurge")
    package static let maxUnavailable = Field<JSON>("spec", "strategy", "rollingUpdate", "maxUnavailable")
    package static let observedGeneration = Field<Int>("status", "observedGeneration")
    package static let currentReplicas = Field<Int>("status", "replicas")
    package static let updatedReplicas = Field<Int>("status", "updatedReplicas")
    package static let readyReplicas = Field<Int>("status", "readyReplicas")
    package static let availableReplicas = Field<Int>("status", "availableReplicas")
    package static let unavailableReplicas = Field<Int>("status", "unavailableReplicas")
    package static let terminatingReplicas = Field<Int>("status", "terminatingReplicas")
    package static let collisionCount = Field<Int>("status", "collisionCount")
    package static let conditions = Field<[JSON]>("status", "conditions")
}

/// Fields of a ReplicaSet.
package enum ReplicaSet {
    package static let replicas = Field<Int>("spec", "replicas")
    package static let selector = Field<JSON>("spec", "selector")
    package static let template = Field<JSON>("spec", "template")
    package static let templateLabels = Field<[String: String]>("spec", "template", "metadata", "labels")
    package static let minReadySeconds = Field<Int>("spec", "minReadySeconds")
    package static let observedGeneration = Field<Int>("status", "observedGeneration")
    package static let currentReplicas = Field<Int>("status", "replicas")
    package static let fullyLabeledReplicas = Field<Int>("status", "fullyLabeledReplicas")
    package static let readyReplicas = Field<Int>("status", "readyReplicas")
    package static let availableReplicas = Field<Int>("status", "availableReplicas")
    package static let terminatingReplicas = Field<Int>("status", "terminatingReplicas")
    package static let conditions = Field<[JSON]>("status", "conditions")
}
