package import KubeTypes
import ProxyResources
package import Wire

/// What is known about one proxy: whether it is there, and what it has said yes or no to.
package struct ProxyStatus: Sendable, Hashable {
    package var pod: ObjectKey
    package var podUID: String
    package var node: String
    package var connectedSince: Timestamp?  // `nil` while it is not connected
    package var proxy: String  // the name it gives itself
    package var generation: Int  // the newest there is
    package var acknowledgedGeneration: Int
    package var types: [DeltaStream.TypeStatus]
    /// It holds what it uses, and not all of the mesh.
    package var isOnDemand = false
    /// What it asked for, by address or host, and holds; and what it was told is not there.
    package var destinations: [String] = []
    package var absent: [String] = []

    package var isCurrent: Bool { connectedSince != nil && acknowledgedGeneration == generation }

    /// `SYNCED`, `STALE` (told, not answered), `REJECTED` or `NOT CONNECTED`.
    package var word: String {
        if connectedSince == nil { return "NOT CONNECTED" }
        if isCurrent { return "SYNCED" }
        let isRejected = types.contains { type in
            type.lastRejection.map { $0.generation > type.acknowledgedGeneration } ?? false
        }
        return isRejected ? "REJECTED" : "STALE"
    }

    package var json: JSON {
        var json: JSON = [
            "namespace": .string(pod.namespace), "pod": .string(pod.name), "uid": .string(podUID),
            "node": .string(node),
            "status": .string(word), "generation": .int(Int64(generation)),
            "acknowledgedGeneration": .int(Int64(acknowledgedGeneration)),
        ]
        if let connectedSince { json["connectedSince"] = connectedSince.json }
        if !proxy.isEmpty { json["proxy"] = .string(proxy) }
        json["types"] = .array(types.map(Self.json))
        json["configuration"] = isOnDemand ? "on-demand" : "all"
        if isOnDemand { json["destinations"] = .array(destinations.map(JSON.string)) }
        if !absent.isEmpty { json["absentDestinations"] = .array(absent.map(JSON.string)) }
        return json
    }

    private static func json(_ type: DeltaStream.TypeStatus) -> JSON {
        var json: JSON = [
            "type": .string(type.kind.word), "resources": .int(Int64(type.count)), "sentNonce": .string(type.sentNonce),
            "acknowledgedNonce": .string(type.acknowledgedNonce),
            "acknowledgedGeneration": .int(Int64(type.acknowledgedGeneration)),
        ]
        if let rejection = type.lastRejection {
            json["lastRejection"] = [
                "generation": .int(Int64(rejection.generation)), "nonce": .string(rejection.nonce),
                "message": .string(rejection.message),
            ]
        }
        return json
    }
}
