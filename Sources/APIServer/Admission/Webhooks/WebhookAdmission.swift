import CEL
import KubeClient
import KubeTypes
import Wire

/// Asks the webhooks of the cluster's configurations: those that change objects one after the other, those that refuse them all at once.
struct WebhookAdmission: ValidatingAdmission {
    let objects: AdmissionObjects
    let caller: WebhookCaller
    let resolver: ServiceResolver
    let authorizer: AdmissionAuthorizer
    let metrics: WebhookMetrics
    let mutating: KindIndex<[AdmissionWebhook]>
    let validating: KindIndex<[AdmissionWebhook]>

    init(
        objects: AdmissionObjects, caller: WebhookCaller, authorizer: AdmissionAuthorizer, metrics: WebhookMetrics
    ) {
        self.objects = objects
        self.metrics = metrics
        self.caller = caller
        self.authorizer = authorizer
        resolver = ServiceResolver(registry: objects.registry)
        mutating = KindIndex(objects.registry, AdmissionKind.mutatingWebhooks) {
            AdmissionWebhook.all($0, isMutating: true)
        }
        validating = KindIndex(objects.registry, AdmissionKind.validatingWebhooks) {
            AdmissionWebhook.all($0, isMutating: false)
        }
    }

    // MARK: Mutating

    /// - Returns: whether the object was changed.
    func mutate(_ request: inout AdmissionRequest, _ rounds: inout MutationRounds) async throws(APIFailure) -> Bool {
        let webhooks = try await mutating.current()
        if webhooks.isEmpty || request.isOfAdmissionItself { return false }
        var isChanged = false
        for (place, webhook) in webhooks.enumerated() {
            if request.isSecondRound, !(webhook.mayBeAskedAgain && rounds.due.contains(webhook.id)) { continue }
            guard let type = try await selected(webhook, request) else { continue }
            let round = request.isSecondRound ? 1 : 0
            if webhook.mayBeAskedAgain { rounds.note(webhook.id) }
            guard let patch = try await ask(webhook, request, as: type), request.operation != .delete else {
                request.annotate(Self.mutationKey(round, place), Self.mutation(webhook, isMutated: false))
                continue
            }
            let fresh = try apply(patch, to: request, as: type, webhook)
            request.annotate(
                Self.mutationKey(round, place), Self.mutation(webhook, isMutated: fresh != request.object))
            if fresh == request.object { continue }
            request.object = fresh
            rounds.changed(by: webhook.id, to: fresh)
            isChanged = true
        }
        return isChanged
    }

    private static func mutationKey(_ round: Int, _ place: Int) -> String {
        "mutation.webhook.admission.k8s.io/round_\(round)_index_\(place)"
    }

    private static func mutation(_ webhook: AdmissionWebhook, isMutated: Bool) -> String {
        let parts = webhook.id.split(separator: "/")
        let configuration = parts.count > 1 ? String(parts[1]) : ""
        let json: JSON = [
            "configuration": .string(configuration), "webhook": .string(webhook.name), "mutated": .bool(isMutated),
        ]
        return json.text
    }

    private func apply(
        _ patch: JSONPatch, to request: AdmissionRequest, as type: ResourceType, _ webhook: AdmissionWebhook
    ) throws(APIFailure) -> KubeObject {
        let shown = shown(request.object, of: request, as: type)
        let changed: JSON
        do throws(PatchFault) {
            changed = try patch.applied(to: shown.json)
        } catch {
            throw .internalError(
                "Internal error occurred: admission webhook \"\(webhook.name)\": its patch cannot be applied: \(error)")
        }
        var object = KubeObject(changed)
        guard object.json.object != nil else {
            throw .internalError(
                "Internal error occurred: admission webhook \"\(webhook.name)\": its patch leaves no object")
        }
        guard request.kind == ObjectKind(request.type), let definition = try? objects.registry.definition(of: type)
        else { return object }
        // The next one sees the object with its defaults.
        _ = try definition.fit(&object, fieldValidation: .ignore)
        definition.default(&object)
        return self.shown(object, of: request, as: request.type)
    }

    // MARK: Validating

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        let webhooks = try await validating.current()
        if webhooks.isEmpty || request.isOfAdmissionItself { return [] }
        var asked: [(webhook: AdmissionWebhook, type: ResourceType)] = []
        for webhook in webhooks {
            if let type = try await selected(webhook, request) { asked.append((webhook, type)) }
        }
        if asked.isEmpty { return [] }
        if asked.count == 1 {
            _ = try await ask(asked[0].webhook, request, as: asked[0].type)
            return []
        }
        let failures = await withTaskGroup(of: (Int, APIFailure?).self) { group in
            for (place, one) in asked.enumerated() {
                group.addTask { (place, await failure(one.webhook, request, one.type)) }
            }
            var found: [Int: APIFailure] = [:]
            for await (place, failure) in group { found[place] = failure }
            return found
        }
        if let first = failures.min(by: { $0.key < $1.key }) { throw first.value }
        return []
    }

    private func failure(
        _ webhook: AdmissionWebhook, _ request: AdmissionRequest, _ type: ResourceType
    ) async -> APIFailure? {
        do throws(APIFailure) {
            _ = try await ask(webhook, request, as: type)
            return nil
        } catch {
            return error
        }
    }

    // MARK: One webhook

    /// - Returns: the version in which to show the object; `nil` when the webhook is not to be asked.
    private func selected(
        _ webhook: AdmissionWebhook, _ request: AdmissionRequest
    ) async throws(APIFailure) -> ResourceType? {
        guard let type = webhook.match.version(of: request, among: versions(request)) else { return nil }
        guard webhook.match.selectsObject(request), try await webhook.match.selectsNamespace(request, objects) else {
            return nil
        }
        if webhook.conditions.isEmpty { return type }
        let inputs = AdmissionInputs(
            request, as: type, object: request.newObject.map { shown($0, of: request, as: type) },
            old: request.oldObject.map { shown($0, of: request, as: type) }, namespace: nil, authorizer: authorizer)
        let verdict = webhook.conditions.verdict(inputs.values)
        metrics.note(verdict, webhook.call(request), isPolicy: false)
        switch verdict {
        case .holds: return type
        case .fails: return nil
        case .error(let why):
            if webhook.failurePolicy == .ignore { return nil }
            throw .forbidden(request, why)
        }
    }

    private func versions(_ request: AdmissionRequest) -> [ResourceType] {
        request.versions(in: objects.registry.catalog)
    }

    private func shown(_ object: KubeObject, of request: AdmissionRequest, as type: ResourceType) -> KubeObject {
        request.shown(object, as: type, in: objects.registry.catalog)
    }

    /// - Returns: the patch of a mutating webhook that changes something.
    private func ask(
        _ webhook: AdmissionWebhook, _ request: AdmissionRequest, as type: ResourceType
    ) async throws(APIFailure) -> JSONPatch? {
        if request.isDryRun, !webhook.allowsDryRun {
            throw .badRequest("admission webhook \"\(webhook.name)\" does not support dry run")
        }
        let answer: AdmissionReview.Answer
        let began = ContinuousClock.now
        func note(_ failure: WebhookMetrics.Failure, refused code: Int?) {
            metrics.ended(webhook.call(request), took: .now - began, failure: failure, code: code)
        }
        do throws(WebhookFault) {
            answer = try await call(webhook, request, as: type)
        } catch {
            let text = "failed calling webhook \"\(webhook.name)\": \(error)"
            note(.call, refused: webhook.failurePolicy == .ignore ? nil : 500)
            if webhook.failurePolicy == .ignore {
                let kind = webhook.isMutating ? "mutation" : "validation"
                request.annotate("failed-open.\(kind).webhook.admission.k8s.io/\(webhook.id)", text)
                return nil
            }
            throw .internalError("Internal error occurred: \(text)")
        }
        for warning in answer.warnings { request.warn(Self.shortened(warning)) }
        for (key, value) in answer.annotations { request.annotate("\(webhook.name)/\(key)", value) }
        guard answer.isAllowed else {
            let refusal = AdmissionReview.refusal(webhook.name, answer.status)
            note(.none, refused: refusal.code)
            throw refusal
        }
        note(.none, refused: nil)
        return answer.patch
    }

    private func call(
        _ webhook: AdmissionWebhook, _ request: AdmissionRequest, as type: ResourceType
    ) async throws(WebhookFault) -> AdmissionReview.Answer {
        guard webhook.speaksV1 else {
            throw WebhookFault("it understands none of the review versions this server has: v1")
        }
        let uid = ObjectIdentity.newUID()
        let question = AdmissionReview.question(
            request, uid: uid, as: type, object: request.newObject.map { shown($0, of: request, as: type) },
            old: request.oldObject.map { shown($0, of: request, as: type) })
        var endpoint = try resolver.endpoint(webhook.client)
        let seconds = Int(webhook.limit.components.seconds)
        endpoint.target += (endpoint.target.contains("?") ? "&" : "?") + "timeout=\(seconds)s"
        let url = "\(endpoint.url)?timeout=\(seconds)s"
        let answer: WebhookAnswer
        do throws(WebhookFault) {
            answer = try await caller.post(endpoint, question.bytes, within: webhook.limit)
        } catch {
            throw WebhookFault("failed to call webhook: Post \"\(url)\": \(error)")
        }
        guard answer.status == 200 else {
            throw WebhookFault("failed to call webhook: the server answered \(answer.status) to Post \"\(url)\"")
        }
        return try AdmissionReview.answer(answer.body, uid: uid, isMutating: webhook.isMutating)
    }

    /// A header must stay of a size that clients take.
    private static func shortened(_ warning: String) -> String {
        warning.utf8.count <= 4096 ? warning : String(warning.prefix(4096))
    }
}
