import KubeTypes
import Store
import Wire

/// Versions of a custom kind that a webhook converts. Everywhere else the definition itself knows how its versions look.
extension Registry {
    func read(_ definition: ResourceDefinition, _ key: ObjectKey) async throws(APIFailure) -> KubeObject {
        object(try await shown(try record(definition, key), as: definition), as: definition)
    }

    /// Records as a version shows them: those of another version are replaced by what the webhook makes of them, so that
    /// whoever reads them finds the version asked for.
    func shown(_ records: [Record], as definition: ResourceDefinition) async throws(APIFailure) -> [Record] {
        if definition.custom?.conversion == nil { return records }
        let objects = records.map { object($0, as: definition) }
        let shown = try await shown(objects, as: definition)
        var made = records
        for (place, object) in objects.enumerated() where definition.needsConversion(object) {
            made[place] = records[place].replacing(value: shown[place].json.bytes)
        }
        return made
    }

    func shown(_ record: Record, as definition: ResourceDefinition) async throws(APIFailure) -> Record {
        if definition.custom?.conversion == nil { return record }
        return try await shown([record], as: definition)[0]
    }

    func shown(_ events: [SeenEvent], as definition: ResourceDefinition) async throws(APIFailure) -> [SeenEvent] {
        if definition.custom?.conversion == nil { return events }
        let records = try await shown(events.map(\.record), as: definition)
        return zip(events, records).map { SeenEvent(kind: $0.kind, record: $1, revision: $0.revision) }
    }

    /// Objects as they are stored, in the version asked for.
    func shown(_ objects: [KubeObject], as definition: ResourceDefinition) async throws(APIFailure) -> [KubeObject] {
        guard let conversion = definition.custom?.conversion else { return objects }
        var shown = objects
        var waiting: [String: [Int]] = [:]
        for (place, object) in objects.enumerated() where definition.needsConversion(object) {
            waiting[object.apiVersion, default: []].append(place)
        }
        for (_, places) in waiting.sorted(by: { $0.key < $1.key }) {
            let made = try await convert(places.map { objects[$0] }, to: definition.type.apiVersion, conversion)
            for (place, object) in zip(places, made) { shown[place] = definition.presented(object) }
        }
        return shown
    }

    func shown(_ object: KubeObject, as definition: ResourceDefinition) async throws(APIFailure) -> KubeObject {
        guard definition.needsConversion(object) else { return object }
        return try await shown([object], as: definition)[0]
    }

    /// An object as it shall be stored.
    func storable(_ object: KubeObject, _ definition: ResourceDefinition) async throws(APIFailure) -> KubeObject {
        guard let conversion = definition.custom?.conversion else { return object }
        let wanted = definition.storageType.apiVersion
        if object.apiVersion == wanted { return object }
        return try await convert([object], to: wanted, conversion)[0]
    }

    /// Whether a custom kind's object is kept in a version that is not the one to store any more: the next write brings it to
    /// that, also one that changes nothing.
    func isOutdated(_ record: Record, _ definition: ResourceDefinition) -> Bool {
        guard definition.custom != nil else { return false }
        return JSONScan.value(at: ["apiVersion"], in: plainValue(record)) != .string(definition.storageType.apiVersion)
    }

    private func convert(
        _ objects: [KubeObject], to apiVersion: String, _ conversion: WebhookConversion
    ) async throws(APIFailure) -> [KubeObject] {
        guard let converter else { throw .internalError("conversion webhooks are not set up") }
        return try await converter.convert(objects, to: apiVersion, conversion)
    }
}
