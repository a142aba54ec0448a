package import KubeTypes
package import Wire

/// What the agent's decisions need of a pod, by name. Made from the object; the object stays the truth.
package struct PodDescription: Sendable {
    package let object: KubeObject
    /// In order; sidecars (`restartPolicy: Always`) stand among them.
    package let initContainers: [ContainerDescription]
    package let containers: [ContainerDescription]
    /// Added to a pod that runs, to look at it; they run once.
    package let ephemeralContainers: [ContainerDescription]
    /// When the pod must be gone, and only while it is being deleted.
    package let deletionDeadline: Timestamp?

    package init(_ object: KubeObject) {
        self.object = object
        let podPolicy = RestartPolicy(rawValue: object.spec["restartPolicy"]?.string ?? "") ?? .always
        initContainers = (object.spec["initContainers"]?.array ?? []).map { json in
            let own = json["restartPolicy"]?.string.flatMap(RestartPolicy.init)
            let inherited: RestartPolicy = podPolicy == .never ? .never : .onFailure
            return ContainerDescription(
                json, role: own == .always ? .sidecar : .initial, restartPolicy: own ?? inherited)
        }
        containers = (object.spec["containers"]?.array ?? []).map { json in
            let own = json["restartPolicy"]?.string.flatMap(RestartPolicy.init)
            return ContainerDescription(json, role: .main, restartPolicy: own ?? podPolicy)
        }
        ephemeralContainers = (object.spec["ephemeralContainers"]?.array ?? []).map {
            ContainerDescription($0, role: .ephemeral, restartPolicy: .never)
        }
        deletionDeadline = object.deletionTimestamp.flatMap { Timestamp($0) }
    }

    package var uid: String { object.uid }
    package var namespace: String { object.namespace }
    package var name: String { object.name }
    package var spec: JSON { object.spec }
    var gracePeriod: Duration { .seconds(spec["terminationGracePeriodSeconds"]?.int ?? 30) }
    var usesHostNetwork: Bool { spec["hostNetwork"]?.bool ?? false }
    var serviceAccount: String { spec["serviceAccountName"]?.string ?? "default" }
    var allContainers: [ContainerDescription] { initContainers + containers + ephemeralContainers }
    var sidecars: [ContainerDescription] { initContainers.filter { $0.role == .sidecar } }

    /// The name inside the pod, at most 63 characters as the kernel and DNS want it.
    var hostname: String {
        var text = Substring(spec["hostname"]?.string ?? name).prefix(63)
        while let last = text.last, last == "-" || last == "." { text.removeLast() }
        return String(text)
    }

    /// What the API was told of each container.
    var statuses: [JSON] {
        ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"].flatMap {
            object.status[$0]?.array ?? []
        }
    }

    /// `Succeeded` or `Failed`: nothing of the pod runs any more, for good.
    var hasEnded: Bool {
        let phase = object.status["phase"]?.string
        return phase == "Succeeded" || phase == "Failed"
    }

    package func container(named name: String) -> ContainerDescription? { allContainers.first { $0.name == name } }

    /// `web_shop(5f0c…)`, as messages name a pod.
    var label: String { "\(name)_\(namespace)(\(uid))" }
}

package enum RestartPolicy: String, Sendable { case always = "Always", onFailure = "OnFailure", never = "Never" }

package struct ContainerDescription: Sendable {
    package enum Role: Sendable {
        case initial, sidecar, main, ephemeral

        /// The list of the pod's spec it stands in.
        var list: String {
            switch self {
            case .initial, .sidecar: "initContainers"
            case .main: "containers"
            case .ephemeral: "ephemeralContainers"
            }
        }
    }

    package let json: JSON
    package let role: Role
    package let restartPolicy: RestartPolicy
    package let name: String
    package let startupProbe: ProbeDescription?
    package let livenessProbe: ProbeDescription?
    package let readinessProbe: ProbeDescription?

    init(_ json: JSON, role: Role, restartPolicy: RestartPolicy) {
        self.json = json
        self.role = role
        self.restartPolicy = restartPolicy
        name = json["name"]?.string ?? ""
        startupProbe = json["startupProbe"].map { ProbeDescription($0, container: json) }
        livenessProbe = json["livenessProbe"].map { ProbeDescription($0, container: json) }
        readinessProbe = json["readinessProbe"].map { ProbeDescription($0, container: json) }
    }

    package var image: String { json["image"]?.string ?? "" }
    var preStop: JSON? { json[path: ["lifecycle", "preStop"]] }
    var postStart: JSON? { json[path: ["lifecycle", "postStart"]] }

    /// `Always` for the tag `latest` or no tag, unless the manifest says otherwise.
    var pullPolicy: String {
        if let policy = json["imagePullPolicy"]?.string { return policy }
        if image.contains("@") { return "IfNotPresent" }
        let last = image.split(separator: "/").last ?? ""
        let tag = last.split(separator: ":").dropFirst().last ?? "latest"
        return tag == "latest" ? "Always" : "IfNotPresent"
    }

    /// Whether a run that ended with this code is followed by another.
    func restarts(after code: Int) -> Bool {
        switch restartPolicy {
        case .always: true
        case .onFailure: code != 0
        case .never: false
        }
    }

    /// A port by number or by the name of one of the container's ports.
    func port(_ reference: JSON?) -> Int? { ContainerDescription.port(reference, of: json) }

    static func port(_ reference: JSON?, of container: JSON) -> Int? {
        if let number = reference?.int { return number }
        guard let name = reference?.string else { return nil }
        let named = container["ports"]?.array?.first { $0["name"]?.string == name }
        return named?["containerPort"]?.int ?? Int(name)
    }
}
