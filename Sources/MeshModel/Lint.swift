package import KubeTypes
import Wire

/// What is wrong with a policy about to be stored, given what the cluster has. Errors refuse it; warnings are shown.
///
/// References to what does not exist are warnings: objects may be applied in any order.
package func lint(_ type: ResourceType, _ object: KubeObject, in state: MeshState) -> [PolicyFinding] {
    let reference = PolicyReference(type, object.key)
    if let finding = unknownKind(reference) { return [finding] }
    var object = object
    if object.creationTimestamp == nil {
        // Not stored yet, so younger than all there is.
        object.json[path: ["metadata", "creationTimestamp"]] = "9999-12-31T23:59:59Z"
    }
    var after = state
    let isOfMesh = MeshState.watched.contains(type) && type != .configMaps && type != .secrets
    guard after.apply(type, object) || isOfMesh else { return [] }
    return compile(after).findings.filter { $0.object == reference }
}

/// Kinds that are stored but say nothing to this version. Those about security are refused: nobody shall believe they protect.
private func unknownKind(_ reference: PolicyReference) -> PolicyFinding? {
    let group = reference.type.group
    switch (group, reference.type.kind) {
    case ("networking.istio.io", "EnvoyFilter"):
        return PolicyFinding(
            reference, "kind", .unsupported,
            "EnvoyFilter patches Envoy's own configuration, and the proxy here is not Envoy",
            severity: .error)
    case ("gateway.networking.k8s.io", _), ("networking.istio.io", _), ("telemetry.istio.io", _),
        ("extensions.istio.io", _),
        ("gateway.networking.x-k8s.io", _):
        let isKnown = MeshState.watched.contains { $0.qualifiedName == reference.type.qualifiedName }
        return isKnown
            ? nil
            : PolicyFinding(reference, "kind", .unsupported, "\(reference.type.kind) has no effect in this version")
    default: return nil
    }
}
