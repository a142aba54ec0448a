import KubeTypes
import MeshModel
import Wire

/// A pod's container that runs `meshproxy`.
struct ProxyContainer: Sendable {
    let pod: ObjectKey
    let name: String
    /// Where the proxy keeps its state, as its arguments say.
    let state: String?

    /// nil for a pod without a proxy, or one that is on its way out.
    init?(_ object: KubeObject) {
        guard object.deletionTimestamp == nil, object.status["phase"]?.string == "Running" else { return nil }
        let lists = ["initContainers", "containers"]
        let containers = lists.flatMap { object.spec[$0]?.array ?? [] }
        for container in containers {
            let words = (container["args"]?.array ?? []).compactMap(\.string)
            let isSidecar = container["name"]?.string == MeshWords.proxyContainer
            let isGateway = object.labels[MeshWords.gateway] != nil && words.first == "gateway"
            guard isSidecar || isGateway, let name = container["name"]?.string else { continue }
            pod = object.key
            self.name = name
            let place = words.firstIndex(of: "--state").map { $0 + 1 }
            state = place.flatMap { $0 < words.count ? words[$0] : nil }
            return
        }
        return nil
    }

    /// What an upgrade in place must leave as it is.
    struct Standing: Sendable, Equatable {
        var container: String
        var restarts: Int
    }

    func standing(_ object: KubeObject) -> Standing {
        let lists = ["initContainerStatuses", "containerStatuses"]
        let statuses = lists.flatMap { object.status[$0]?.array ?? [] }
        let own = statuses.first { $0["name"]?.string == name }
        return Standing(container: own?["containerID"]?.string ?? "", restarts: own?["restartCount"]?.int ?? 0)
    }

    static func isReady(_ object: KubeObject) -> Bool {
        (object.status["conditions"]?.array ?? []).contains {
            $0["type"]?.string == "Ready" && $0["status"]?.string == "True"
        }
    }
}
