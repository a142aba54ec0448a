import CEL
import KubeTypes
import Wire

/// One webhook of a configuration, ready to be asked.
struct AdmissionWebhook: Sendable {
    enum FailurePolicy: Sendable { case fail, ignore }

    /// Of the configuration and the webhook, for what a request remembers.
    let id: String
    let name: String
    let match: RequestMatch
    let conditions: MatchConditions
    let client: WebhookClientConfig
    let failurePolicy: FailurePolicy
    let limit: Duration
    /// Whether it may be asked when nothing shall happen.
    let allowsDryRun: Bool
    let speaksV1: Bool
    let mayBeAskedAgain: Bool
    let isMutating: Bool

    init(_ json: JSON, of configuration: KubeObject, index: Int, isMutating: Bool) {
        let name = json["name"]?.string ?? ""
        self.name = name
        self.isMutating = isMutating
        id = "\(configuration.kind)/\(configuration.name)/\(index)/\(name)"
        match = RequestMatch(json, rules: "rules")
        conditions = MatchConditions(json["matchConditions"]?.array ?? [])
        client = WebhookClientConfig(json["clientConfig"])
        failurePolicy = json["failurePolicy"]?.string == "Ignore" ? .ignore : .fail
        limit = .seconds(min(30, max(1, json["timeoutSeconds"]?.int ?? 10)))
        let effects = json["sideEffects"]?.string ?? ""
        allowsDryRun = effects == "None" || effects == "NoneOnDryRun"
        speaksV1 = json["admissionReviewVersions"]?.array?.contains("v1") ?? false
        mayBeAskedAgain = json["reinvocationPolicy"]?.string == "IfNeeded"
    }

    /// What its metrics are told by.
    func call(_ request: AdmissionRequest) -> WebhookMetrics.Call {
        WebhookMetrics.Call(name: name, operation: request.operation, isMutating: isMutating)
    }

    /// Of all configurations, by their names and then in their order.
    static func all(_ configurations: [KubeObject], isMutating: Bool) -> [AdmissionWebhook] {
        configurations.sorted { $0.name < $1.name }.flatMap { configuration in
            (configuration.json["webhooks"]?.array ?? []).enumerated().map { index, json in
                AdmissionWebhook(json, of: configuration, index: index, isMutating: isMutating)
            }
        }
    }
}

/// `AdmissionReview` of `admission.k8s.io/v1`: what a webhook is asked, and how its answer is read.
enum AdmissionReview {
    static let apiVersion = "admission.k8s.io/v1"

    /// - Parameter shown: the object and the old one in the version the webhook's rules name.
    static func question(
        _ request: AdmissionRequest, uid: String, as type: ResourceType, object: KubeObject?, old: KubeObject?
    ) -> JSON {
        var kind = request.kind
        if kind == ObjectKind(request.type) { kind = ObjectKind(type) }
        func resource(_ type: ResourceType) -> JSON {
            ["group": .string(type.group), "version": .string(type.version), "resource": .string(type.resource)]
        }
        let part = request.subresource.map(JSON.string)
        var inner: JSON = ["uid": .string(uid), "kind": kind.json, "resource": resource(type)]
        inner["subResource"] = part
        inner["requestKind"] = request.kind.json
        inner["requestResource"] = resource(request.type)
        inner["requestSubResource"] = part
        if !request.name.isEmpty { inner["name"] = .string(request.name) }
        if !request.namespace.isEmpty { inner["namespace"] = .string(request.namespace) }
        inner["operation"] = .string(request.operation.rawValue)
        inner["userInfo"] = request.user.json
        inner["object"] = object?.json ?? .null
        inner["oldObject"] = old?.json ?? .null
        inner["dryRun"] = .bool(request.isDryRun)
        inner["options"] = request.options
        return ["kind": "AdmissionReview", "apiVersion": .string(apiVersion), "request": inner]
    }

    struct Answer: Sendable {
        var isAllowed: Bool
        var status: JSON
        var patch: JSONPatch?
        var warnings: [String]
        var annotations: [String: String]
    }

    /// - Throws: what is wrong with the answer, for whoever runs the webhook.
    static func answer(_ bytes: [UInt8], uid: String, isMutating: Bool) throws(WebhookFault) -> Answer {
        let json: JSON
        do throws(JSONFault) { json = try JSON(parsing: bytes) } catch {
            throw WebhookFault("could not get REST response: the answer is not JSON: \(error)")
        }
        guard json["kind"] == "AdmissionReview", json["apiVersion"]?.string == apiVersion else {
            let (version, kind) = (json["apiVersion"]?.string ?? "", json["kind"]?.string ?? "")
            throw WebhookFault(
                "expected webhook response of \(apiVersion), Kind=AdmissionReview, got \(version), Kind=\(kind)")
        }
        guard let response = json["response"], response.object != nil else {
            throw WebhookFault("webhook response was absent")
        }
        guard response["uid"]?.string == uid else {
            throw WebhookFault("expected response.uid \"\(uid)\", got \"\(response["uid"]?.string ?? "")\"")
        }
        var patch: JSONPatch?
        if let text = response["patch"]?.string, !text.isEmpty {
            guard isMutating else {
                throw WebhookFault("webhook returned response.patch, which only mutating webhooks may")
            }
            patch = try Self.patch(text, type: response["patchType"]?.string)
        } else if response["patchType"]?.string?.isEmpty == false, isMutating {
            throw WebhookFault("webhook returned response.patchType but not response.patch")
        }
        return Answer(
            isAllowed: response["allowed"]?.bool ?? false, status: response["status"] ?? [:], patch: patch,
            warnings: response["warnings"]?.array?.compactMap(\.string) ?? [],
            annotations: response["auditAnnotations"]?.stringMap ?? [:])
    }

    private static func patch(_ text: String, type: String?) throws(WebhookFault) -> JSONPatch {
        guard type == "JSONPatch" else {
            throw WebhookFault(
                type == nil || type == ""
                    ? "webhook returned response.patch but not response.patchType"
                    : "webhook returned invalid response.patchType of \"\(type ?? "")\"")
        }
        guard let bytes = Base64.decode(text), let json = try? JSON(parsing: bytes) else {
            throw WebhookFault("response.patch is not JSON in base64")
        }
        do throws(PatchFault) { return try JSONPatch(json) } catch {
            throw WebhookFault("response.patch: \(error)")
        }
    }

    /// The refusal as the client sees it.
    static func refusal(_ webhook: String, _ status: JSON) -> APIFailure {
        let start = "admission webhook \"\(webhook)\" denied the request"
        let message = status["message"]?.string ?? ""
        let reason = status["reason"]?.string ?? ""
        let text =
            !message.isEmpty
            ? "\(start): \(message)" : !reason.isEmpty ? "\(start): \(reason)" : start + " without explanation"
        let code = min(599, max(400, status["code"]?.int ?? 400))
        return APIFailure(code: code, reason: reason, message: text, details: status["details"])
    }
}
