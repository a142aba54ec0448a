package import KubeTypes

/// A write on its way to the store, as admission sees it.
package struct AdmissionRequest: Sendable {
    package enum Operation: String, Sendable {
        case create = "CREATE", update = "UPDATE", delete = "DELETE", connect = "CONNECT"
    }
    package var operation: Operation
    package var type: ResourceType
    package var subresource: String?
    package var namespace: String
    /// Empty while a generated name is not chosen yet.
    package var name: String
    /// The object as it would be stored; for a deletion, the one to be deleted.
    package var object: KubeObject
    package var oldObject: KubeObject?
    package var user: User
    package var isDryRun: Bool

    package init(
        operation: Operation, type: ResourceType, subresource: String?, namespace: String, name: String,
        object: KubeObject,
        oldObject: KubeObject?, user: User, isDryRun: Bool
    ) {
        self.operation = operation
        self.type = type
        self.subresource = subresource
        self.namespace = namespace
        self.name = name
        self.object = object
        self.oldObject = oldObject
        self.user = user
        self.isDryRun = isDryRun
    }
}

/// Changes objects before they are validated and stored: sidecar injection is one.
package protocol MutatingAdmission: Sendable {
    /// - Returns: the changed object, or `nil` to leave it as it is.
    func admit(_ request: AdmissionRequest) async throws(APIFailure) -> KubeObject?
}

/// Refuses objects, or lets them pass with warnings.
package protocol ValidatingAdmission: Sendable {
    /// - Returns: a text for each `Warning` header.
    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String]
}

/// All admission of one server, in order.
struct AdmissionChain: Sendable {
    var mutating: [any MutatingAdmission]
    var validating: [any ValidatingAdmission]

    func mutate(_ request: AdmissionRequest) async throws(APIFailure) -> KubeObject {
        var request = request
        for step in mutating {
            if let changed = try await step.admit(request) { request.object = changed }
        }
        return request.object
    }

    func validate(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        var warnings: [String] = []
        for step in validating { warnings += try await step.check(request) }
        return warnings
    }
}
