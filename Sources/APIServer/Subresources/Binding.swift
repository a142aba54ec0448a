import KubeClient
import KubeTypes
import Wire

extension Registry {
    /// Gives a pod its node, once.
    func bind(_ pod: ObjectKey, uid: String, node: String, annotations: [String: String] = [:], _ context: WriteContext)
        async throws(APIFailure)
    {
        let definition = try definition(of: .pods)
        if node.isEmpty {
            throw .invalid(.pods, pod.name, [FieldFault(.required, "target.name", "the node to bind the pod to")])
        }
        var part = KubeObject(apiVersion: "v1", kind: "Binding", namespace: pod.namespace, name: pod.name)
        if !annotations.isEmpty { part.annotations = annotations }
        part.json["target"] = ["kind": "Node", "name": .string(node)]
        let admitted = try await admitPart(.pods, "binding", pod, part, context)
        let node = admitted.json[path: ["target", "name"]]?.string ?? node
        let annotations = admitted.annotations
        var context = context
        context.isAdmitted = true
        _ = try await change(definition, pod, subresource: "binding", context) { old throws(APIFailure) in
            var fresh = old
            if !uid.isEmpty, uid != old.uid {
                throw .conflict(
                    .pods, pod.name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(old.uid)")
            }
            if old.deletionTimestamp != nil {
                throw .conflict(.pods, pod.name, "pod \(pod.name) is being deleted, cannot be assigned to a host")
            }
            if let taken = old.spec["nodeName"]?.string, !taken.isEmpty {
                throw .conflict(.pods, pod.name, "pod \(pod.name) is already assigned to node \"\(taken)\"")
            }
            fresh.json[path: ["spec", "nodeName"]] = .string(node)
            if !annotations.isEmpty { fresh.annotations.merge(annotations) { _, new in new } }
            fresh.setCondition("PodScheduled", status: "True")
            return fresh
        }
    }
}

extension KubeObject {
    /// Sets a condition in the status; the time of transition changes only with the status.
    mutating func setCondition(_ type: String, status: String, reason: String? = nil, message: String? = nil) {
        var conditions = json[path: ["status", "conditions"]]?.array ?? []
        let place = conditions.firstIndex { $0["type"]?.string == type }
        var condition: JSON = place.map { conditions[$0] } ?? ["type": .string(type)]
        if condition["status"]?.string != status { condition["lastTransitionTime"] = Timestamp.now().json }
        condition["status"] = .string(status)
        condition["reason"] = reason.map(JSON.string)
        condition["message"] = message.map(JSON.string)
        if let place { conditions[place] = condition } else { conditions.append(condition) }
        json[path: ["status", "conditions"]] = .array(conditions)
    }
}
