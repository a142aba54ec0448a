package import KubeTypes
import MeshModel
import Wire

/// Whether a pod gets a sidecar, and why (not).
package enum Injection: Sendable, Hashable {
    case injected(KubeObject)
    case skipped(reason: String)
    /// The pod asks for something that cannot be: a text that names the field and the cause.
    case refused(message: String)

    /// The pod to store.
    package func pod(or original: KubeObject) -> KubeObject {
        guard case .injected(let pod) = self else { return original }
        return pod
    }
}

/// Adds the sidecar to a pod about to be created. The same pod again is left as it is.
///
/// `namespaceLabels`: of the pod's namespace.
package func injection(of pod: KubeObject, namespaceLabels: [String: String], _ template: InjectionTemplate)
    -> Injection
{
    if let reason = reasonToSkip(pod, namespaceLabels) { return .skipped(reason: reason) }
    let name = template.container["name"]?.string ?? ""
    let spec = pod.spec
    let containers = (spec["initContainers"]?.array ?? []) + (spec["containers"]?.array ?? [])
    if containers.contains(where: { $0["name"]?.string == name }) {
        return .skipped(reason: "it already has a container \(name)")
    }
    var values = template.values
    for (key, value) in pod.annotations.sorted(by: { $0.key < $1.key }) {
        guard let word = overriddenValue(key) else { continue }
        guard values[word] != nil else {
            let known = values.keys.sorted().joined(separator: ", ")
            return .refused(
                message: "metadata.annotations[\(key)]: the sidecar has no value \"\(word)\", only \(known)")
        }
        values[word] = value
    }
    let container: JSON
    do {
        container = try ProxyTemplates.filled(template.container, values, InjectionTemplate.path)
    } catch {
        return .refused(message: "\(error)")
    }

    var made = pod
    // First of all, so that init containers of the pod have the mesh too.
    made.json[path: ["spec", "initContainers"]] = .array([container] + (spec["initContainers"]?.array ?? []))
    let volumes = spec["volumes"]?.array ?? []
    let missing = template.volumes.filter { wanted in !volumes.contains { $0["name"] == wanted["name"] } }
    if !missing.isEmpty { made.json[path: ["spec", "volumes"]] = .array(volumes + missing) }
    var annotations = pod.annotations
    for (key, value) in template.annotations where annotations[key] == nil { annotations[key] = value }
    made.annotations = annotations
    return .injected(made)
}

/// `proxy.weft.dev/cpu`, or Istio's word for the same.
private func overriddenValue(_ annotation: String) -> String? {
    let own = "proxy.weft.dev/"
    if annotation.hasPrefix(own) { return String(annotation.dropFirst(own.count)) }
    switch annotation {
    case "sidecar.istio.io/proxyImage": return "image"
    case "sidecar.istio.io/proxyCPU": return "cpu"
    case "sidecar.istio.io/proxyMemory": return "memory"
    case "sidecar.istio.io/proxyMemoryLimit": return "memoryLimit"
    default: return nil
    }
}

private func reasonToSkip(_ pod: KubeObject, _ namespaceLabels: [String: String]) -> String? {
    if pod.spec["hostNetwork"]?.bool == true { return "spec.hostNetwork: the node's own network is not intercepted" }
    if pod.labels[MeshWords.gateway] != nil { return "label \(MeshWords.gateway): it is a gateway" }
    for word in ["weft.dev/inject", "sidecar.istio.io/inject"] {
        let own = [("label", pod.labels[word]), ("annotation", pod.annotations[word])]
        for case (let place, let value?) in own {
            return isYes(value) ? nil : "\(place) \(word)=\(value) on the pod"
        }
    }
    for word in ["weft.dev/inject", "istio-injection"] {
        guard let value = namespaceLabels[word] else { continue }
        return isYes(value) ? nil : "label \(word)=\(value) on the namespace"
    }
    return "neither the pod nor its namespace has the label weft.dev/inject or istio-injection"
}

private func isYes(_ value: String) -> Bool { value == "true" || value == "enabled" }
