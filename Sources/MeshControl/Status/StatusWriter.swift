import KubeClient
import KubeTypes
import Logging
import MeshModel
import Wire

/// Writes what became of each policy into its status. Only what differs from the last write is looked at, only what differs in the
/// cluster is written, and the newest model alone counts.
actor StatusWriter {
    struct Wanted: Sendable {
        var model: MeshModel
        var istio: [(type: ResourceType, key: ObjectKey, status: IstioPolicyStatus)]

        init(_ model: MeshModel, _ state: MeshState) {
            self.model = model
            let findings = Dictionary(grouping: model.findings, by: \.object)
            istio = state.istioPolicies.map { reference, generation in
                let found = findings[reference] ?? []
                return (reference.type, reference.key, IstioPolicyStatus(generation: generation, findings: found))
            }
        }
    }

    private struct Name: Hashable {
        var type: ResourceType
        var key: ObjectKey
    }

    private let api: any KubeAPI
    private let logger: Logger
    private var written: [Name: AnyHashable] = [:]
    private var hasFailed = false

    init(_ api: any KubeAPI, _ logger: Logger) {
        self.api = api
        self.logger = logger
    }

    /// Tries a few times; what still cannot be written is tried with the next model.
    func write(_ wanted: Wanted) async {
        for attempt in 0..<4 {
            await writeOnce(wanted)
            if !hasFailed { return }
            try? await Task.sleep(for: .milliseconds(200 << attempt))
        }
    }

    private func writeOnce(_ wanted: Wanted) async {
        hasFailed = false
        var present: Set<Name> = []
        for status in wanted.model.gatewayClasses {
            await write(.gatewayClasses, ObjectKey(name: status.name), status, &present) {
                status.applied(to: $0, now: $1)
            }
        }
        for status in wanted.model.gateways {
            await write(.gateways, status.key, status, &present) { status.applied(to: $0, now: $1) }
        }
        for status in wanted.model.httpRoutes {
            await write(status.type, status.key, status, &present) { status.applied(to: $0, now: $1) }
        }
        for status in wanted.model.backendTLSPolicies where !status.gateways.isEmpty {
            await write(.backendTLSPolicies, status.key, status, &present) { status.applied(to: $0, now: $1) }
        }
        for (type, key, status) in wanted.istio {
            await write(type, key, status, &present) { status.applied(to: $0, now: $1) }
        }
        written = written.filter { present.contains($0.key) }
    }

    private func write<Status: Hashable & Sendable>(
        _ type: ResourceType, _ key: ObjectKey, _ status: Status, _ present: inout Set<Name>,
        _ applied: (JSON, Timestamp) -> JSON
    ) async {
        let name = Name(type: type, key: key)
        present.insert(name)
        if written[name] == AnyHashable(status) { return }
        for _ in 0..<5 {
            do {
                var object = try await api.get(type, key)
                let made = applied(object.status, .now())
                if made != object.status {
                    object.status = made
                    _ = try await api.updateStatus(type, object)
                }
                written[name] = AnyHashable(status)
                return
            } catch {
                if error.isNotFound { return }
                if error.isConflict { continue }
                hasFailed = true
                logger.warning("status of \(type.kind) \(key): \(error)")
                return
            }
        }
    }
}

extension MeshState {
    /// The Istio policies there are, with their generations.
    var istioPolicies: [(PolicyReference, Int)] {
        let routes = virtualServices.values.map { ($0.reference, $0.generation) }
        let rules = destinationRules.values.map { ($0.reference, $0.generation) }
        let gateways = istioGateways.values.map { ($0.reference, $0.generation) }
        let peers = peerAuthentications.values.map { ($0.reference, $0.generation) }
        let access = accessPolicies.values.map { ($0.reference, $0.generation) }
        let tokens = requestAuthentications.values.map { ($0.reference, $0.generation) }
        return (routes + rules + gateways + peers + access + tokens).sorted { $0.0 < $1.0 }
    }
}
