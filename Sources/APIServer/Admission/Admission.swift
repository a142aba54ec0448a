package import KubeTypes
import Wire

/// Changes objects before they are validated and stored: sidecar injection is one.
package protocol MutatingAdmission: Sendable {
    /// Whether what it changes has only known fields, with their defaults: such a change is not looked through again.
    var keepsForm: Bool { get }
    /// Changes the request's object in place: only the request holds it, so that nothing of it is copied.
    ///
    /// - Returns: whether it did.
    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool
}

extension MutatingAdmission {
    package var keepsForm: Bool { false }
}

/// Refuses objects, or lets them pass with warnings.
package protocol ValidatingAdmission: Sendable {
    /// - Returns: a text for each `Warning` header.
    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String]
}

/// What mutating admission made of an object.
struct MutationOutcome: Sendable {
    var isChanged = false
    /// A step that knows nothing of the kind's schema has changed it.
    var needsFitting = false
}

/// All admission of one server, in order.
struct AdmissionChain: Sendable {
    /// Kubernetes' own steps, which see the object again after others have changed it.
    var builtIn: [any MutatingAdmission] = []
    /// Parts of this program that change objects as webhooks would.
    var mutating: [any MutatingAdmission] = []
    var policies: MutatingPolicyAdmission?
    var webhooks: WebhookAdmission?
    var validating: [any ValidatingAdmission] = []
    /// Whether somebody outside of this program looks at objects: they see the whole, managers too.
    var isObserved: @Sendable () async throws(APIFailure) -> Bool = { () async throws(APIFailure) -> Bool in false }
    /// Last, since what it takes must not be refused afterwards.
    var quota: ResourceQuotaAdmission?
    /// How long its steps take, once it is complete.
    var metrics: StepMetrics?

    func mutate(_ request: inout AdmissionRequest) async throws(APIFailure) -> MutationOutcome {
        var timer = metrics?.timer(request.operation)
        do throws(APIFailure) {
            let outcome = try await mutate(&request, &timer)
            timer?.end(.admit)
            return outcome
        } catch {
            timer?.end(.admit, isRejected: true)
            throw error
        }
    }

    private func mutate(
        _ request: inout AdmissionRequest, _ timer: inout StepMetrics.Timer?
    ) async throws(APIFailure) -> MutationOutcome {
        var outcome = MutationOutcome()
        _ = try await run(builtIn, from: 0, &request, &outcome, &timer)
        var isTouched = try await run(mutating, from: builtIn.count, &request, &outcome, &timer)
        var rounds = MutationRounds()
        if try await change(&request, &outcome, &rounds, &timer) { isTouched = true }
        if isTouched, request.operation != .delete {
            request.isSecondRound = true
            _ = try await run(builtIn, from: 0, &request, &outcome, &timer)
            if rounds.asksForAnother { _ = try await change(&request, &outcome, &rounds, &timer) }
        }
        return outcome
    }

    /// - Parameter first: the place of the first step.
    /// - Returns: whether a step changed the object.
    private func run(
        _ steps: [any MutatingAdmission], from first: Int, _ request: inout AdmissionRequest,
        _ outcome: inout MutationOutcome, _ timer: inout StepMetrics.Timer?
    ) async throws(APIFailure) -> Bool {
        var isTouched = false
        for (index, step) in steps.enumerated() {
            let isChanged: Bool
            do throws(APIFailure) { isChanged = try await step.admit(&request) } catch {
                timer?.lap(first + index, isRejected: true)
                throw error
            }
            timer?.lap(first + index)
            if !isChanged { continue }
            isTouched = true
            outcome.isChanged = true
            if !step.keepsForm { outcome.needsFitting = true }
        }
        return isTouched
    }

    /// Policies and webhooks.
    private func change(
        _ request: inout AdmissionRequest, _ outcome: inout MutationOutcome, _ rounds: inout MutationRounds,
        _ timer: inout StepMetrics.Timer?
    ) async throws(APIFailure) -> Bool {
        if policies == nil, webhooks == nil { return false }
        rounds.begin(with: request.object, isSecond: request.isSecondRound)
        var isTouched = false
        var place = metrics?.places.policies ?? 0
        do throws(APIFailure) {
            if let policies, try await policies.admit(&request, &rounds) { isTouched = true }
            timer?.lap(place)
            place += 1
            if let webhooks, try await webhooks.mutate(&request, &rounds) { isTouched = true }
            timer?.lap(place)
        } catch {
            timer?.lap(place, isRejected: true)
            throw error
        }
        if isTouched {
            outcome.isChanged = true
            outcome.needsFitting = true
        }
        return isTouched
    }

    /// - Returns: what the request takes of a quota, to be settled when the write has ended.
    func validate(_ request: AdmissionRequest) async throws(APIFailure) -> QuotaCharge? {
        var timer = metrics?.timer(request.operation)
        var place = metrics?.places.validating ?? 0
        do throws(APIFailure) {
            for step in validating {
                for warning in try await step.check(request) { request.warn(warning) }
                timer?.lap(place)
                place += 1
            }
            let charge = try await quota?.charge(request)
            timer?.lap(place)
            timer?.end(.validate)
            return charge
        } catch {
            timer?.lap(place, isRejected: true)
            timer?.end(.validate, isRejected: true)
            throw error
        }
    }
}

/// What webhooks and mutating policies remember between the rounds of one request.
struct MutationRounds: Sendable {
    /// Those that were asked and are to be asked again when somebody changes the object after them.
    private(set) var asked: [String] = []
    private(set) var due: Set<String> = []
    private var lastObject: KubeObject?

    var asksForAnother: Bool { !asked.isEmpty }

    /// Notes that a step which may be asked again has seen the object.
    mutating func note(_ id: String) {
        due.remove(id)
        if !asked.contains(id) { asked.append(id) }
    }

    /// Notes a change, after which all that were asked before are due again.
    mutating func changed(by id: String, to object: KubeObject) {
        due.formUnion(asked.filter { $0 != id })
        lastObject = object
    }

    /// At the start of a round: whether others have changed the object since the last.
    mutating func begin(with object: KubeObject, isSecond: Bool) {
        if isSecond, object != lastObject { due.formUnion(asked) }
        lastObject = object
    }
}

extension APIFailure {
    /// 403, in the form of Kubernetes' admission: `pods "web" is forbidden: …`.
    static func forbidden(_ request: AdmissionRequest, _ why: String) -> APIFailure {
        let type = request.type
        return APIFailure(
            code: 403, reason: "Forbidden",
            message: "\(type.qualifiedName) \"\(request.shownName)\" is forbidden: \(why)",
            details: [
                "name": .string(request.shownName), "group": .string(type.group), "kind": .string(type.resource),
            ])
    }
}

extension AdmissionRequest {
    /// The name errors use; of an object without one, what it begins with.
    var shownName: String {
        if !name.isEmpty { return name }
        return object.name.isEmpty ? object.metadata["generateName"]?.string ?? "" : object.name
    }

    /// Whether this is a write of whole objects of a kind.
    func isWrite(of type: ResourceType, _ operations: Operation...) -> Bool {
        subresource == nil && self.type.resource == type.resource && self.type.group == type.group
            && operations.contains(operation)
    }
}
