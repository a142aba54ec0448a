import KubeTypes
import Wire

/// Counts what requests add to quotas, and refuses what is beyond them.
struct ResourceQuotaAdmission: Sendable {
    private let desk: QuotaDesk
    /// Namespaces that have quotas.
    private let namespaces: KindIndex<Set<String>>

    init(_ registry: Registry, _ desk: QuotaDesk) {
        self.desk = desk
        namespaces = KindIndex(registry, AdmissionKind.resourceQuotas, onlyMembership: true) {
            Set($0.map(\.namespace))
        }
    }

    /// - Returns: what was taken; `nil` when no quota is concerned.
    func charge(_ request: AdmissionRequest) async throws(APIFailure) -> QuotaCharge? {
        guard request.type.isNamespaced, Self.counts(request) else { return nil }
        let namespaces = try await namespaces.current()
        if namespaces.isEmpty || !namespaces.contains(request.namespace) { return nil }
        let usage = QuotaUsage(request.object, request.type)
        let old = request.oldObject.map { QuotaUsage($0, request.type) }
        let growth = usage.growth(from: request.operation == .create ? nil : old)
        if growth.isEmpty { return nil }
        return try await desk.take(request, usage, growth)
    }

    /// Only new objects count, and those kinds whose changes can ask for more.
    private static func counts(_ request: AdmissionRequest) -> Bool {
        switch request.operation {
        case .create: return request.subresource == nil && request.type.resource != "events"
        case .update:
            if request.type == .pods { return request.subresource == "resize" }
            guard request.subresource == nil else { return false }
            return request.type == .services || request.type == AdmissionKind.claims
        default: return false
        }
    }
}

/// What one request has taken of its namespace's quotas, until its write has ended.
struct QuotaCharge: Sendable {
    let desk: QuotaDesk
    let namespace: String
    let number: Int

    /// To be called when the write is done, whatever came of it.
    func settle(stored: Bool) async { await desk.settle(namespace, number, stored: stored) }
}
