import KubeTypes
import TLS
import Wire

/// An APIService that another server answers for.
struct RemoteService: Sendable {
    let name: String
    let uid: String
    let group: String
    let version: String
    let service: WebhookClientConfig.Service
    /// PEM; empty trusts whom the machine trusts.
    let trust: [UInt8]
    let skipsVerification: Bool
    /// What was last found of it.
    var availability = Availability(isAvailable: false, reason: "Unknown", message: "it has not been asked yet")

    struct Availability: Sendable, Hashable {
        let isAvailable: Bool
        let reason: String
        let message: String
    }

    init?(_ object: KubeObject) {
        guard let service = object.spec["service"], service.object != nil else { return nil }
        name = object.name
        uid = object.uid
        group = object.spec["group"]?.string ?? ""
        version = object.spec["version"]?.string ?? ""
        self.service = WebhookClientConfig.Service(
            namespace: service["namespace"]?.string ?? "", name: service["name"]?.string ?? "",
            port: service["port"]?.int ?? 443, path: "/")
        trust = Base64.decode(object.spec["caBundle"]?.string ?? "") ?? []
        skipsVerification = object.spec["insecureSkipTLSVerify"]?.bool ?? false
    }

    var path: String { "/apis/\(group)/\(version)" }

    /// Whether the other asks for the same server.
    func isSame(as other: RemoteService) -> Bool {
        uid == other.uid && service == other.service && trust == other.trust
            && skipsVerification == other.skipsVerification
    }
}

extension KubeObject {
    /// An APIService with what was found of it.
    mutating func set(_ found: RemoteService.Availability, now: Timestamp) {
        let status: JSON = found.isAvailable ? "True" : "False"
        var fresh: JSON = [
            "type": "Available", "status": status, "lastTransitionTime": now.json, "reason": .string(found.reason),
            "message": .string(found.message),
        ]
        var conditions = self.status["conditions"]?.array ?? []
        if let place = conditions.firstIndex(where: { $0["type"] == "Available" }) {
            if conditions[place]["status"] == status {
                fresh["lastTransitionTime"] = conditions[place]["lastTransitionTime"]
            }
            conditions[place] = fresh
        } else {
            conditions.append(fresh)
        }
        json[path: ["status", "conditions"]] = .array(conditions)
    }
}
