import KubeTypes
import Store
import Wire

/// Objects as bytes: a stored object is sent without being read where its version shows it as it is stored.
extension Registry {
    /// What the store keeps: `kind`, `apiVersion` and `metadata` first, so that their place is known, and no resource version,
    /// since that is the record's own.
    ///
    /// - Parameter managers: `managedFields` as text, where the object does not hold them; may be empty.
    func encode(
        _ object: KubeObject, _ definition: ResourceDefinition, _ managers: [UInt8] = []
    ) throws(APIFailure) -> [UInt8] {
        let object = definition.stored(object)
        var text = JSONText(capacity: 4096)
        text.put(definition.storedHead)
        var isFirst = true
        for member in object.json["metadata"]?.object ?? JSONObject() where member.key != "resourceVersion" {
            if !isFirst { text.put(UInt8(ascii: ",")) }
            isFirst = false
            text.put(quoted: member.key)
            text.put(UInt8(ascii: ":"))
            text.put(member.value)
        }
        if !managers.isEmpty {
            text.put(word: isFirst ? "\"managedFields\":" : ",\"managedFields\":")
            text.put(managers)
        }
        text.put(UInt8(ascii: "}"))
        for member in object.json.object ?? JSONObject() {
            switch member.key {
            case "kind", "apiVersion", "metadata": continue
            default: break
            }
            text.put(UInt8(ascii: ","))
            text.put(quoted: member.key)
            text.put(UInt8(ascii: ":"))
            text.put(member.value)
        }
        text.put(UInt8(ascii: "}"))
        let out = text.bytes
        guard let encryption else { return out }
        return try sealed(out, object, definition, encryption)
    }

    /// A record as its version's JSON text.
    func bytes(_ record: Record, as definition: ResourceDefinition) -> [UInt8] {
        var out: [UInt8] = []
        append(record, revision: record.revision, as: definition, to: &out)
        return out
    }

    /// `revision`: what the object shows as its version; another than the record's own when a watcher loses sight of it.
    func append(_ record: Record, revision: Int64, as definition: ResourceDefinition, to out: inout [UInt8]) {
        let head = definition.storedHead
        let value = plainValue(record)
        guard definition.showsStoredBytes, value.count > head.count, Self.starts(value, with: head) else {
            var object = object(record, as: definition)
            if revision != record.revision { object.resourceVersion = String(revision) }
            object.json.write(to: &out)
            return
        }
        out.reserveCapacity(out.count + value.count + definition.shownHead.count + 48)
        out.append(contentsOf: definition.shownHead)
        Self.appendVersion(revision, to: &out)
        if value[head.count] != UInt8(ascii: "}") { out.append(UInt8(ascii: ",")) }
        value.withUnsafeBufferPointer { out.append(contentsOf: UnsafeBufferPointer(rebasing: $0[head.count...])) }
    }

    private static let partialHead = Array(
        "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{".utf8)

    /// A record as `PartialObjectMetadata`.
    func appendPartial(_ record: Record, revision: Int64, as definition: ResourceDefinition, to out: inout [UInt8]) {
        let value = plainValue(record)
        guard let metadata = JSONScan.range(at: ["metadata"], in: value), metadata.count > 2,
            !definition.isCustom || definition.showsStoredBytes
        else {
            var object = object(record, as: definition)
            if revision != record.revision { object.resourceVersion = String(revision) }
            ResourceDefinition.partial(object).write(to: &out)
            return
        }
        out.append(contentsOf: Self.partialHead)
        Self.appendVersion(revision, to: &out)
        out.append(UInt8(ascii: ","))
        out.append(contentsOf: value[metadata.lowerBound + 1..<metadata.upperBound])
        out.append(UInt8(ascii: "}"))
    }

    private static func starts(_ value: [UInt8], with head: [UInt8]) -> Bool {
        value.withUnsafeBufferPointer { value in
            head.withUnsafeBufferPointer { head in value.starts(with: head) }
        }
    }

    private static let versionStart = Array("\"resourceVersion\":\"".utf8)

    private static func appendVersion(_ revision: Int64, to out: inout [UInt8]) {
        out.append(contentsOf: versionStart)
        out.append(contentsOf: String(revision).utf8)
        out.append(UInt8(ascii: "\""))
    }
}

/// An object just written, with what the store keeps of it.
struct WrittenObject: Sendable {
    private let object: KubeObject
    private let managers: [UInt8]
    /// `nil` after a dry run and where nothing was written.
    let record: Record?

    init(object: KubeObject, managers: [UInt8], record: Record?) {
        self.object = object
        self.managers = managers
        self.record = record
    }

    /// With its version and its managers, which most answers take from the record.
    var whole: KubeObject {
        var object = object
        if let record { object.resourceVersion = String(record.revision) }
        // We wrote this text ourselves.
        if !managers.isEmpty { object.json[path: ["metadata", "managedFields"]] = try? JSON(parsing: managers) }
        return object
    }
}
