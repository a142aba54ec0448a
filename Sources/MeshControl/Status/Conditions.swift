package import KubeTypes
package import MeshModel
package import Wire

/// Writes a condition into a list, keeping the time of the last change of its word.
func set(_ type: String, _ state: ConditionState, generation: Int, in conditions: inout [JSON], now: Timestamp) {
    let word = state.isTrue ? "True" : "False"
    let place = conditions.firstIndex { $0["type"]?.string == type }
    let older = place.map { conditions[$0] }
    var time: JSON = now.json
    if let older, older["status"]?.string == word, let since = older["lastTransitionTime"] { time = since }
    let made: JSON = [
        "type": .string(type), "status": .string(word), "observedGeneration": .int(Int64(generation)),
        "lastTransitionTime": time, "reason": .string(state.reason), "message": .string(state.message),
    ]
    if let place { conditions[place] = made } else { conditions.append(made) }
}

extension HTTPRouteStatus {
    /// The status with our parents' entries as they should be; entries of other controllers stay.
    func applied(to status: JSON, now: Timestamp) -> JSON {
        let older = status["parents"]?.array ?? []
        var entries = older.filter { $0["controllerName"]?.string != MeshWords.controller }
        for parent in parents {
            let known = older.first {
                $0["controllerName"]?.string == MeshWords.controller && $0["parentRef"] == parent.parent.json
            }
            var conditions = known?["conditions"]?.array ?? []
            set("Accepted", parent.accepted, generation: generation, in: &conditions, now: now)
            set("ResolvedRefs", parent.resolvedReferences, generation: generation, in: &conditions, now: now)
            entries.append([
                "parentRef": parent.parent.json, "controllerName": .string(MeshWords.controller),
                "conditions": .array(conditions),
            ])
        }
        var made = status
        made["parents"] = .array(entries)
        return made
    }
}

extension GatewayStatus {
    func applied(to status: JSON, now: Timestamp) -> JSON {
        var conditions = status["conditions"]?.array ?? []
        set("Accepted", accepted, generation: generation, in: &conditions, now: now)
        set("Programmed", programmed, generation: generation, in: &conditions, now: now)
        if let resolvedReferences {
            set("ResolvedRefs", resolvedReferences, generation: generation, in: &conditions, now: now)
        } else {
            conditions.removeAll { $0["type"]?.string == "ResolvedRefs" }
        }
        var made = status
        made["conditions"] = .array(conditions)
        made["addresses"] = .array(addresses.map { ["type": "IPAddress", "value": .string($0)] })
        let older = status["listeners"]?.array ?? []
        made["listeners"] = .array(
            listeners.map { listener in
                let known = older.first { $0["name"]?.string == listener.name }
                var conditions = known?["conditions"]?.array ?? []
                set("Accepted", listener.accepted, generation: generation, in: &conditions, now: now)
                set("Programmed", listener.programmed, generation: generation, in: &conditions, now: now)
                set("ResolvedRefs", listener.resolvedReferences, generation: generation, in: &conditions, now: now)
                return [
                    "name": .string(listener.name), "attachedRoutes": .int(Int64(listener.attachedRoutes)),
                    "supportedKinds": .array(
                        listener.kinds.map { ["group": "gateway.networking.k8s.io", "kind": .string($0)] }),
                    "conditions": .array(conditions),
                ]
            })
        return made
    }
}

extension GatewayClassStatus {
    func applied(to status: JSON, now: Timestamp) -> JSON {
        var conditions = status["conditions"]?.array ?? []
        set("Accepted", ConditionState(true, "Accepted"), generation: generation, in: &conditions, now: now)
        var made = status
        made["conditions"] = .array(conditions)
        return made
    }
}

extension BackendTLSPolicyStatus {
    /// The status with our Gateways' entries as they should be; entries of other controllers stay.
    func applied(to status: JSON, now: Timestamp) -> JSON {
        let older = status["ancestors"]?.array ?? []
        var entries = older.filter { $0["controllerName"]?.string != MeshWords.controller }
        for gateway in gateways {
            let reference: JSON = [
                "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": .string(gateway.namespace),
                "name": .string(gateway.name),
            ]
            let known = older.first {
                $0["controllerName"]?.string == MeshWords.controller && $0["ancestorRef"] == reference
            }
            var conditions = known?["conditions"]?.array ?? []
            set("Accepted", accepted, generation: generation, in: &conditions, now: now)
            set("ResolvedRefs", resolvedReferences, generation: generation, in: &conditions, now: now)
            entries.append([
                "ancestorRef": reference, "controllerName": .string(MeshWords.controller),
                "conditions": .array(conditions),
            ])
        }
        var made = status
        made["ancestors"] = .array(entries)
        return made
    }
}

/// What is written into the statuses of Gateway API objects.
///
/// - Parameter status: an object's present one.
package func statusesWritten(
    for model: MeshModel, over status: (PolicyReference) -> JSON, now: Timestamp = .now()
) -> [(PolicyReference, JSON)] {
    let classes = model.gatewayClasses.map { found in
        let reference = PolicyReference(.gatewayClasses, ObjectKey(name: found.name))
        return (reference, found.applied(to: status(reference), now: now))
    }
    let gateways = model.gateways.map { found in
        let reference = PolicyReference(.gateways, found.key)
        return (reference, found.applied(to: status(reference), now: now))
    }
    let routes = model.httpRoutes.map { found in
        let reference = PolicyReference(found.type, found.key)
        return (reference, found.applied(to: status(reference), now: now))
    }
    let policies = model.backendTLSPolicies.map { found in
        let reference = PolicyReference(.backendTLSPolicies, found.key)
        return (reference, found.applied(to: status(reference), now: now))
    }
    return classes + gateways + routes + policies
}

/// The status of an Istio policy: whether it holds as written, and what was found about it.
struct IstioPolicyStatus: Hashable {
    var generation: Int
    var findings: [PolicyFinding]

    func applied(to status: JSON, now: Timestamp) -> JSON {
        var conditions = status["conditions"]?.array ?? []
        let texts = findings.map { "\($0.field): \($0.message)" }
        let state =
            findings.isEmpty
            ? ConditionState(true, "Accepted")
            : ConditionState(!findings.contains { $0.severity == .error }, "Findings", texts.joined(separator: "; "))
        set("Accepted", state, generation: generation, in: &conditions, now: now)
        var made = status
        made["observedGeneration"] = .int(Int64(generation))
        made["conditions"] = .array(conditions)
        let messages: [JSON] = findings.map { finding in
            [
                "type": ["name": .string(finding.code.rawValue), "code": .string("WEFT-\(finding.code.rawValue)")],
                "level": .string(finding.severity == .error ? "ERROR" : "WARNING"),
                "documentationUrl": "",
            ]
        }
        made["validationMessages"] = messages.isEmpty ? nil : .array(messages)
        return made
    }
}
