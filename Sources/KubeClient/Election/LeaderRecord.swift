package import KubeTypes
import Wire

/// Who leads, as candidates write it for each other to see.
package struct LeaderRecord: Sendable, Hashable {
    /// Empty: nobody.
    package var holder: String
    /// For how long a renewal holds.
    package var seconds: Int
    package var acquired: Timestamp?
    package var renewed: Timestamp?
    /// How often the lead went from one to another.
    package var transitions = 0

    package init(
        holder: String, seconds: Int, acquired: Timestamp? = nil, renewed: Timestamp? = nil, transitions: Int = 0
    ) {
        self.holder = holder
        self.seconds = seconds
        self.acquired = acquired
        self.renewed = renewed
        self.transitions = transitions
    }
}

/// The kind of object a record is kept in.
package enum LeaderLock: String, Sendable, CaseIterable {
    case lease = "leases"
    /// The older way: an annotation, with the record as JSON.
    case endpoints
    case configMap = "configmaps"

    package static let annotation = "control-plane.alpha.kubernetes.io/leader"

    package var type: ResourceType {
        switch self {
        case .lease: .leases
        case .endpoints: .endpoints
        case .configMap: .configMaps
        }
    }

    func emptyObject(_ key: ObjectKey) -> KubeObject {
        KubeObject(apiVersion: type.apiVersion, kind: type.kind, namespace: key.namespace, name: key.name)
    }

    /// `nil` where nobody has written one, or not one that can be read: then it is free.
    package func record(in object: KubeObject) -> LeaderRecord? {
        switch self {
        case .lease:
            guard let spec = object.json["spec"] else { return nil }
            return LeaderRecord(spec, transitions: "leaseTransitions")
        case .endpoints, .configMap:
            guard let text = object.metadata["annotations"]?[Self.annotation]?.string,
                let json = try? JSON(parsing: Array(text.utf8))
            else { return nil }
            return LeaderRecord(json, transitions: "leaderTransitions")
        }
    }

    package func write(_ record: LeaderRecord, into object: inout KubeObject) {
        switch self {
        case .lease:
            var spec = object.spec
            for member in record.members(transitions: "leaseTransitions", time: { .string($0.microText) }) {
                spec[member.key] = member.value
            }
            object.spec = spec
        case .endpoints, .configMap:
            let members = record.members(transitions: "leaderTransitions", time: { .string($0.description) })
            var json: JSON = [:]
            for member in members { json[member.key] = member.value }
            object.json[path: ["metadata", "annotations", Self.annotation]] = .string(
                String(decoding: json.bytes, as: UTF8.self))
        }
    }
}

extension LeaderRecord {
    fileprivate init(_ json: JSON, transitions: String) {
        self.init(
            holder: json["holderIdentity"]?.string ?? "", seconds: json["leaseDurationSeconds"]?.int ?? 0,
            acquired: json["acquireTime"]?.string.flatMap(Timestamp.init),
            renewed: json["renewTime"]?.string.flatMap(Timestamp.init),
            // In an annotation anybody may have written any number; one more must still be one.
            transitions: min(max(0, json[transitions]?.int ?? 0), Int(Int32.max) - 1))
    }

    fileprivate func members(transitions name: String, time: (Timestamp) -> JSON) -> [(key: String, value: JSON?)] {
        [
            ("holderIdentity", .string(holder)), ("leaseDurationSeconds", .int(Int64(seconds))),
            ("acquireTime", acquired.map(time)), ("renewTime", renewed.map(time)), (name, .int(Int64(transitions))),
        ]
    }
}
