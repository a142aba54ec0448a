import KubeTypes
import Wire

/// Pods stay for a while on a node that has fallen silent, unless they say themselves how long.
struct DefaultTolerations: MutatingAdmission {
    private static let seconds: Int64 = 300
    private static let all: [(key: String, toleration: JSON)] = [
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
    ].map { key in
        let toleration: JSON = [
            "key": .string(key), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": .int(seconds),
        ]
        return (key, toleration)
    }

    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.isWrite(of: .pods, .create, .update) else { return false }
        let tolerations = request.object[Pod.tolerations] ?? []
        let missing = Self.all.filter { one in !tolerations.contains { Self.covers($0, one.key) } }
        if missing.isEmpty { return false }
        request.object[Pod.tolerations] = tolerations + missing.map(\.toleration)
        return true
    }

    private static func covers(_ toleration: JSON, _ key: String) -> Bool {
        let (given, effect) = (toleration["key"]?.string ?? "", toleration["effect"]?.string ?? "")
        return (given.isEmpty || given == key) && (effect.isEmpty || effect == "NoExecute")
    }
}

/// A node takes no pods before it was seen to be ready.
struct NewNodeTaint: MutatingAdmission {
    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.isWrite(of: .nodes, .create) else { return false }
        var taints = request.object.spec["taints"]?.array ?? []
        let key = "node.kubernetes.io/not-ready"
        if taints.contains(where: { $0["key"]?.string == key && $0["effect"]?.string == "NoSchedule" }) { return false }
        taints.append(["key": .string(key), "effect": "NoSchedule"])
        request.object.json[path: ["spec", "taints"]] = .array(taints)
        return true
    }
}

/// What a pod's runtime needs for itself, and the nodes that have it.
struct RuntimeClassAdmission: MutatingAdmission {
    let objects: AdmissionObjects
    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.isWrite(of: .pods, .create) else { return false }
        let name = request.object.spec["runtimeClassName"]?.string ?? ""
        if name.isEmpty {
            guard request.object[Pod.overhead]?.object?.isEmpty ?? true else {
                throw .forbidden(
                    request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
            }
            return false
        }
        guard let found = try await objects.runtimeClasses.find(ObjectKey(name: name)) else {
            throw .forbidden(request, "pod rejected: RuntimeClass \"\(name)\" not found")
        }
        var pod = request.object
        try Self.apply(found, to: &pod, request)
        if pod == request.object { return false }
        request.object = pod
        return true
    }

    static func apply(_ found: KubeObject, to pod: inout KubeObject, _ request: AdmissionRequest) throws(APIFailure) {
        let overhead = found.json[path: ["overhead", "podFixed"]]
        if let given = pod[Pod.overhead], given != overhead {
            throw .forbidden(
                request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        }
        if let overhead, overhead.object?.isEmpty == false { pod[Pod.overhead] = overhead }
        let wanted = found.json[path: ["scheduling", "nodeSelector"]]?.stringMap ?? [:]
        var selector = pod[Pod.nodeSelector] ?? [:]
        for (key, value) in wanted {
            if let given = selector[key], given != value {
                throw .forbidden(
                    request,
                    "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[\(key)] = \(value); pod.spec.nodeSelector[\(key)] = \(given)"
                )
            }
            selector[key] = value
        }
        if !wanted.isEmpty { pod[Pod.nodeSelector] = selector }
        let more = found.json[path: ["scheduling", "tolerations"]]?.array ?? []
        let known = pod[Pod.tolerations] ?? []
        let missing = more.filter { !known.contains($0) }
        if !missing.isEmpty { pod[Pod.tolerations] = known + missing }
    }
}
