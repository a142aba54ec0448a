import KubeTypes
import Synchronization
import Wire

/// What is gathered of one request for its audit events.
final class AuditRecord: Sendable {
    private struct State {
        var impersonated: User?
        var requestObject: JSON?
        var responseObject: JSON?
        var annotations: [String: String] = [:]
    }

    let id: String
    let verdict: AuditPolicy.Verdict
    private let attempt: Attempt
    private let target: String
    private let userAgent: String
    private let sources: [String]
    private let received = Timestamp.now()
    private let state = Mutex(State())

    init(
        id: String, verdict: AuditPolicy.Verdict, attempt: Attempt, target: String, userAgent: String,
        sources: [String]
    ) {
        self.id = id
        self.verdict = verdict
        self.attempt = attempt
        self.target = target
        self.userAgent = userAgent
        self.sources = sources
    }

    var wantsRequest: Bool { verdict.level >= .request }
    var wantsResponse: Bool { verdict.level >= .requestResponse }

    func impersonate(_ user: User) { state.withLock { $0.impersonated = user } }
    func request(_ json: JSON) {
        if wantsRequest { state.withLock { $0.requestObject = trimmed(json) } }
    }
    func response(_ json: JSON) {
        if wantsResponse { state.withLock { $0.responseObject = trimmed(json) } }
    }
    func annotate(_ key: String, _ value: String) { state.withLock { $0.annotations[key] = value } }

    private func trimmed(_ json: JSON) -> JSON {
        guard verdict.omitsManagedFields else { return json }
        var json = json
        if json["metadata"]?["managedFields"] != nil { json[path: ["metadata", "managedFields"]] = nil }
        if let items = json["items"]?.array { json["items"] = .array(items.map(trimmed)) }
        return json
    }

    /// The event of a stage; `nil` when the policy leaves it out. `status`: what was answered, 0 before.
    func event(_ stage: AuditStage, status: Int, failure: APIFailure?) -> JSON? {
        if verdict.omitsStages.contains(stage) { return nil }
        let state = state.withLock { $0 }
        let now = Timestamp.now()
        var event: JSON = [
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": .string(verdict.level.rawValue),
            "auditID": .string(id), "stage": .string(stage.rawValue), "requestURI": .string(target),
            "verb": .string(attempt.verb), "user": attempt.user.json,
        ]
        event["impersonatedUser"] = state.impersonated?.json
        if !sources.isEmpty { event["sourceIPs"] = .array(sources.map(JSON.string)) }
        if !userAgent.isEmpty { event["userAgent"] = .string(userAgent) }
        event["objectRef"] = reference
        if stage != .received {
            var answer: JSON = ["metadata": [:]]
            if let failure {
                answer["status"] = "Failure"
                answer["message"] = .string(failure.message)
                answer["reason"] = .string(failure.reason)
                answer["details"] = failure.details
            }
            answer["code"] = .int(Int64(status))
            event["responseStatus"] = answer
            event["requestObject"] = state.requestObject
            if stage == .complete { event["responseObject"] = failure?.status ?? state.responseObject }
            if !wantsResponse { event["responseObject"] = nil }
        }
        event["requestReceivedTimestamp"] = .string(received.microText)
        event["stageTimestamp"] = .string(now.microText)
        if !state.annotations.isEmpty { event["annotations"] = JSON(state.annotations) }
        return event
    }

    private var reference: JSON? {
        guard
            case .resource(let group, let version, let resource, let subresource, let namespace, let name) =
                attempt.target
        else { return nil }
        var json: JSON = ["resource": .string(resource)]
        func put(_ key: String, _ value: String) { if !value.isEmpty { json[key] = .string(value) } }
        put("namespace", namespace)
        put("name", name)
        put("apiGroup", group)
        put("apiVersion", version)
        put("subresource", subresource)
        return json
    }
}
