package import Wire

/// Fields of one container of a pod: `container[Container.image]`.
package enum Container {
    package static let name = Field<String>("name")
    package static let image = Field<String>("image")
    package static let imagePullPolicy = Field<String>("imagePullPolicy")
    package static let command = Field<[String]>("command")
    package static let args = Field<[String]>("args")
    package static let workingDir = Field<String>("workingDir")
    package static let env = Field<[JSON]>("env")
    package static let envFrom = Field<[JSON]>("envFrom")
    package static let ports = Field<[JSON]>("ports")
    package static let volumeMounts = Field<[JSON]>("volumeMounts")
    package static let requests = Field<JSON>("resources", "requests")
    package static let limits = Field<JSON>("resources", "limits")
    package static let startupProbe = Field<JSON>("startupProbe")
    package static let livenessProbe = Field<JSON>("livenessProbe")
    package static let readinessProbe = Field<JSON>("readinessProbe")
    package static let lifecycle = Field<JSON>("lifecycle")
    package static let restartPolicy = Field<String>("restartPolicy")
    package static let securityContext = Field<JSON>("securityContext")
    package static let stdin = Field<Bool>("stdin")
    package static let stdinOnce = Field<Bool>("stdinOnce")
    package static let tty = Field<Bool>("tty")
    package static let terminationMessagePath = Field<String>("terminationMessagePath")
    package static let terminationMessagePolicy = Field<String>("terminationMessagePolicy")
}

/// Fields of one entry of `status.containerStatuses`.
package enum ContainerStatusFields {
    package static let name = Field<String>("name")
    package static let image = Field<String>("image")
    package static let imageID = Field<String>("imageID")
    package static let containerID = Field<String>("containerID")
    package static let ready = Field<Bool>("ready")
    package static let started = Field<Bool>("started")
    package static let restartCount = Field<Int>("restartCount")
    package static let state = Field<JSON>("state")
    package static let lastState = Field<JSON>("lastState")
    package static let waitingReason = Field<String>("state", "waiting", "reason")
    package static let running = Field<JSON>("state", "running")
    package static let terminated = Field<JSON>("state", "terminated")
    package static let exitCode = Field<Int>("state", "terminated", "exitCode")
    package static let finishedAt = Field<Timestamp>("state", "terminated", "finishedAt")
}

/// Fields of one entry of `status.conditions`, of whatever kind.
package enum Condition {
    package static let type = Field<String>("type")
    package static let status = Field<String>("status")  // True, False or Unknown
    package static let reason = Field<String>("reason")
    package static let message = Field<String>("message")
    package static let lastTransitionTime = Field<Timestamp>("lastTransitionTime")
    package static let lastUpdateTime = Field<Timestamp>("lastUpdateTime")
    package static let lastProbeTime = Field<Timestamp>("lastProbeTime")
    package static let observedGeneration = Field<Int>("observedGeneration")
}
