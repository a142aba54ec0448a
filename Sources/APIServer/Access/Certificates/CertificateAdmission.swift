package import KubeTypes
import TLS
import Wire

extension ResourceType {
    package static let certificateSigningRequests = ResourceType(
        group: "certificates.k8s.io", version: "v1", resource: "certificatesigningrequests",
        kind: "CertificateSigningRequest", isNamespaced: false)
    /// No stored kind: roles name signers by it.
    static let signers = ResourceType(
        group: "certificates.k8s.io", version: "v1", resource: "signers", kind: "Signer", isNamespaced: false)
}

/// What the server decides of requests for certificates: who asks, what may change where, and when.
struct CertificateFields: MutatingAdmission {
    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.type == .certificateSigningRequests else { return false }
        switch (request.operation, request.subresource) {
        case (.create, nil):
            request.object.json[path: ["spec", "username"]] = .string(request.user.name)
            request.object.json[path: ["spec", "uid"]] = request.user.uid.isEmpty ? nil : .string(request.user.uid)
            request.object.json[path: ["spec", "groups"]] = .array(request.user.groups.map(JSON.string))
            request.object.json[path: ["spec", "extra"]] =
                request.user.extra.isEmpty ? nil : User.json(extra: request.user.extra)
            request.object.json["status"] = nil
        case (.update, nil):
            // All of the request but its metadata stays as it was made.
            request.object.json["spec"] = request.oldObject?.json["spec"]
        case (.update, "approval"), (.update, "status"):
            var conditions = request.object.status["conditions"]?.array ?? []
            if request.subresource == "status" {
                // Approval is given by `approval` only.
                let decided = (request.oldObject?.status["conditions"]?.array ?? []).filter(Self.isDecision)
                conditions = decided + conditions.filter { !Self.isDecision($0) }
            }
            conditions = conditions.map { Self.timed($0, request.oldObject) }
            if !conditions.isEmpty { request.object.json[path: ["status", "conditions"]] = .array(conditions) }
        default: return false
        }
        return true
    }

    static func isDecision(_ condition: JSON) -> Bool {
        condition["type"]?.string == "Approved" || condition["type"]?.string == "Denied"
    }

    private static func timed(_ condition: JSON, _ old: KubeObject?) -> JSON {
        let before = (old?.status["conditions"]?.array ?? []).first { $0["type"] == condition["type"] }
        var condition = condition
        if condition["status"] == nil { condition["status"] = "True" }
        if condition["lastUpdateTime"]?.string == nil { condition["lastUpdateTime"] = Timestamp.now().json }
        if condition["lastTransitionTime"]?.string == nil {
            condition["lastTransitionTime"] = before?["lastTransitionTime"] ?? Timestamp.now().json
        }
        return condition
    }
}

/// Refuses requests that make no sense, approvals by who may not approve for the signer, and certificates by who may not sign.
struct CertificateRules: ValidatingAdmission {
    let authorizer: any Authorizer

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard request.type == .certificateSigningRequests else { return [] }
        let signer = request.object.spec["signerName"]?.string ?? ""
        switch (request.operation, request.subresource) {
        case (.create, nil):
            let faults = Self.faults(request.object)
            if !faults.isEmpty { throw .invalid(request.type, request.name, faults) }
            try refuseMasters(request, signer)
        case (.update, "approval"):
            guard conditions(request.object) != conditions(request.oldObject) else { break }
            try require("approve", signer, request)
            try checkDecision(request)
        case (.update, "status"):
            let fresh = request.object.status["certificate"]
            let isNew = fresh != nil && fresh != request.oldObject?.status["certificate"]
            if isNew || conditions(request.object) != conditions(request.oldObject) {
                try require("sign", signer, request)
            }
        default: break
        }
        return []
    }

    private func conditions(_ object: KubeObject?) -> [JSON] { object?.status["conditions"]?.array ?? [] }

    /// A decision is one, and stays.
    private func checkDecision(_ request: AdmissionRequest) throws(APIFailure) {
        let types = Set(conditions(request.object).compactMap { $0["type"]?.string })
        var fault: FieldFault?
        if types.contains("Approved"), types.contains("Denied") {
            fault = FieldFault(
                .invalid, "status.conditions", value: "Denied", "Approved and Denied conditions are mutually exclusive")
        }
        for old in conditions(request.oldObject) where CertificateFields.isDecision(old) {
            if !types.contains(old["type"]?.string ?? "") {
                fault = FieldFault(
                    .forbidden, "status.conditions",
                    "updates may not remove a condition of type \"\(old["type"]?.string ?? "")\"")
            }
        }
        if let fault { throw .invalid(request.type, request.name, [fault]) }
    }

    static func faults(_ object: KubeObject) -> [FieldFault] {
        var faults: [FieldFault] = []
        let spec = object.spec
        let pem = spec["request"]?.string.flatMap(Base64.decode) ?? []
        do throws(TLSFailure) {
            _ = try SigningRequest(pem: pem)
        } catch {
            faults.append(
                FieldFault(.invalid, "spec.request", value: .string("<\(pem.count) bytes>"), "\(error)"))
        }
        let usages = spec["usages"]?.array?.compactMap(\.string) ?? []
        if usages.isEmpty { faults.append(FieldFault(.required, "spec.usages", "usages must be provided")) }
        for (index, usage) in usages.enumerated() {
            if !CertificateUsages.isKnown(usage) {
                faults.append(FieldFault(.unsupported, "spec.usages[\(index)]", value: .string(usage)))
            } else if usages[..<index].contains(usage) {
                faults.append(FieldFault(.duplicate, "spec.usages[\(index)]", value: .string(usage)))
            }
        }
        let signer = spec["signerName"]?.string ?? ""
        let parts = signer.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        if signer.isEmpty {
            faults.append(FieldFault(.required, "spec.signerName"))
        } else if parts.count != 2 || !parts[0].contains(".") || parts[1].isEmpty {
            faults.append(
                FieldFault(
                    .invalid, "spec.signerName", value: .string(signer),
                    "must be a fully qualified domain and path of the form 'example.com/signer-name'"))
        } else if signer == CertificateSigner.legacyUnknown.rawValue {
            faults.append(
                FieldFault(
                    .invalid, "spec.signerName", value: .string(signer),
                    "the legacy signerName is not allowed via this API version"))
        }
        if let seconds = spec["expirationSeconds"]?.int, seconds < 600 {
            faults.append(
                FieldFault(
                    .invalid, "spec.expirationSeconds", value: .int(Int64(seconds)),
                    "may not specify a duration less than 600 seconds (10 minutes)"))
        }
        return faults
    }

    /// Nobody becomes an administrator no role can hold back by a certificate.
    private func refuseMasters(_ request: AdmissionRequest, _ signer: String) throws(APIFailure) {
        guard signer == CertificateSigner.client.rawValue else { return }
        let pem = request.object.spec["request"]?.string.flatMap(Base64.decode) ?? []
        guard let parsed = try? SigningRequest(pem: pem), parsed.organizations.contains(User.masters) else { return }
        throw forbidden(request, "use of \(signer) signer with \(User.masters) group is not allowed")
    }

    /// Signers are permitted by name, or all of a domain: `example.com/*`.
    private func require(_ verb: String, _ signer: String, _ request: AdmissionRequest) throws(APIFailure) {
        let domain = signer.prefix { $0 != "/" } + "/*"
        for name in [signer, String(domain)] {
            if authorizer.allows(Attempt(request.user, verb, .signers, name: name)) { return }
        }
        throw forbidden(request, "user not permitted to \(verb) requests with signerName \"\(signer)\"")
    }

    private func forbidden(_ request: AdmissionRequest, _ why: String) -> APIFailure {
        APIFailure(
            code: 403, reason: "Forbidden",
            message: "\(request.type.qualifiedName) \"\(request.name)\" is forbidden: \(why)",
            details: [
                "name": .string(request.name), "group": .string(request.type.group),
                "kind": .string(request.type.resource),
            ])
    }
}
