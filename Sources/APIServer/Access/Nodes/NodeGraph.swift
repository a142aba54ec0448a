import KubeClient
import KubeTypes
import Synchronization
import Wire

/// What the pods of each node refer to.
struct PodReferences: Sendable, Hashable {
    let node: String
    let account: String
    let secrets: Set<String>
    let configMaps: Set<String>
    let claims: Set<String>

    /// `nil` for a pod without a node: nobody runs it yet.
    init?(_ pod: KubeObject) {
        guard let node = pod.spec["nodeName"]?.string, !node.isEmpty else { return nil }
        self.node = node
        let spec = pod.spec
        // A mirror of a pod its node started by itself may refer to nothing.
        guard pod.annotations["kubernetes.io/config.mirror"] == nil else {
            account = ""
            (secrets, configMaps, claims) = ([], [], [])
            return
        }
        account = spec["serviceAccountName"]?.string ?? ""
        var found = Found()
        for entry in spec["imagePullSecrets"]?.array ?? [] { found.secret(entry["name"]) }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in spec[list]?.array ?? [] { found.container(container) }
        }
        for volume in spec["volumes"]?.array ?? [] { found.volume(volume, pod: pod.name) }
        (secrets, configMaps, claims) = (found.secrets, found.configMaps, found.claims)
    }

    private struct Found {
        var secrets: Set<String> = []
        var configMaps: Set<String> = []
        var claims: Set<String> = []

        mutating func secret(_ name: JSON?) { if let name = name?.string { secrets.insert(name) } }
        mutating func map(_ name: JSON?) { if let name = name?.string { configMaps.insert(name) } }

        mutating func container(_ container: JSON) {
            for source in container["envFrom"]?.array ?? [] {
                secret(source["secretRef"]?["name"])
                map(source["configMapRef"]?["name"])
            }
            for variable in container["env"]?.array ?? [] {
                secret(variable["valueFrom"]?["secretKeyRef"]?["name"])
                map(variable["valueFrom"]?["configMapKeyRef"]?["name"])
            }
        }

        mutating func volume(_ volume: JSON, pod: String) {
            secret(volume["secret"]?["secretName"])
            map(volume["configMap"]?["name"])
            for source in volume["projected"]?["sources"]?.array ?? [] {
                secret(source["secret"]?["name"])
                map(source["configMap"]?["name"])
            }
            if let claim = volume["persistentVolumeClaim"]?["claimName"]?.string { claims.insert(claim) }
            if volume["ephemeral"] != nil, let name = volume["name"]?.string { claims.insert("\(pod)-\(name)") }
            // The drivers that name their secret in the volume itself.
            for driver in ["cephfs", "rbd", "iscsi", "flexVolume", "scaleIO", "storageos", "azureFile"] {
                secret(volume[driver]?["secretRef"]?["name"])
                secret(volume[driver]?["secretName"])
            }
            secret(volume["csi"]?["nodePublishSecretRef"]?["name"])
        }
    }

    func refers(to kind: NodeGraph.Kind, _ name: String) -> Bool {
        switch kind {
        case .secret: secrets.contains(name)
        case .configMap: configMaps.contains(name)
        case .claim: claims.contains(name)
        case .account: account == name
        }
    }
}

/// Which node's pods refer to an object. Begins to follow the pods with the first question, so a cluster whose nodes never ask
/// pays nothing.
final class NodeGraph: Sendable {
    enum Kind: Hashable, Sendable { case secret, configMap, claim, account }
    private struct Thing: Hashable {
        let kind: Kind
        let key: ObjectKey
    }
    private struct State {
        var isFollowing = false
        var pods: [ObjectKey: PodReferences] = [:]
        /// How many pods of each node refer to a thing.
        var users: [Thing: [String: Int]] = [:]
    }

    private let registry: Registry
    private let state = Mutex(State())

    init(_ registry: Registry) { self.registry = registry }

    func refers(_ node: String, to kind: Kind, _ key: ObjectKey) -> Bool {
        begin()
        let thing = Thing(kind: kind, key: key)
        if state.withLock({ $0.users[thing]?[node] != nil }) { return true }
        // The node may know of a pod before we do: what is stored decides.
        guard let definition = registry.catalog.definition(of: .pods),
            let pods = try? registry.list(definition, namespace: key.namespace, .init(fields: "spec.nodeName=\(node)"))
        else { return false }
        return pods.items.contains { PodReferences($0)?.refers(to: kind, key.name) ?? false }
    }

    private func begin() {
        let isFirst = state.withLock { state in
            defer { state.isFollowing = true }
            return !state.isFollowing
        }
        guard isFirst else { return }
        do throws(APIFailure) {
            try RegistryFollower(registry: registry, type: .pods).start { self.take($0) }
        } catch {
            state.withLock { $0.isFollowing = false }
        }
    }

    func take(_ step: RegistryFollower.Step) {
        state.withLock { state in
            switch step {
            case .all(let pods):
                state.pods = [:]
                state.users = [:]
                for pod in pods { Self.put(pod.key, PodReferences(pod), &state) }
            case .changed(let pod): Self.put(pod.key, PodReferences(pod), &state)
            case .deleted(let pod): Self.put(pod.key, nil, &state)
            }
        }
    }

    private static func put(_ key: ObjectKey, _ fresh: PodReferences?, _ state: inout State) {
        let old = state.pods[key]
        if old == fresh { return }
        state.pods[key] = fresh
        for thing in old.map({ things(key, $0) }) ?? [] {
            guard let old, let count = state.users[thing]?[old.node] else { continue }
            state.users[thing]?[old.node] = count > 1 ? count - 1 : nil
            if state.users[thing]?.isEmpty == true { state.users[thing] = nil }
        }
        for thing in fresh.map({ things(key, $0) }) ?? [] {
            guard let fresh else { continue }
            state.users[thing, default: [:]][fresh.node, default: 0] += 1
        }
    }

    private static func things(_ pod: ObjectKey, _ references: PodReferences) -> [Thing] {
        func thing(_ kind: Kind) -> (String) -> Thing {
            { Thing(kind: kind, key: ObjectKey(namespace: pod.namespace, name: $0)) }
        }
        let accounts = references.account.isEmpty ? [] : [references.account]
        return references.secrets.map(thing(.secret)) + references.configMaps.map(thing(.configMap))
            + references.claims.map(thing(.claim)) + accounts.map(thing(.account))
    }

    /// The pod's node, as stored.
    func node(ofPod key: ObjectKey) -> String? {
        guard let definition = registry.catalog.definition(of: .pods) else { return nil }
        return (try? registry.get(definition, key))?.spec["nodeName"]?.string
    }

    /// Whether a pod of the node uses the volume, by its claim.
    func usesVolume(_ node: String, _ name: String) -> Bool {
        let type = ResourceType(
            group: "", version: "v1", resource: "persistentvolumes", kind: "PersistentVolume", isNamespaced: false)
        guard let definition = registry.catalog.definition(of: type),
            let volume = try? registry.get(definition, ObjectKey(name: name)), let claim = volume.spec["claimRef"],
            let place = claim["namespace"]?.string, let claimName = claim["name"]?.string
        else { return false }
        return refers(node, to: .claim, ObjectKey(namespace: place, name: claimName))
    }

    /// The node a VolumeAttachment is for.
    func node(ofAttachment name: String) -> String? {
        let type = ResourceType(
            group: "storage.k8s.io", version: "v1", resource: "volumeattachments", kind: "VolumeAttachment",
            isNamespaced: false)
        guard let definition = registry.catalog.definition(of: type) else { return nil }
        return (try? registry.get(definition, ObjectKey(name: name)))?.spec["nodeName"]?.string
    }
}
