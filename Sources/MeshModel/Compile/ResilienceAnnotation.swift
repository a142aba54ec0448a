import KubeTypes
package import ProxyResources
import Wire

extension MeshWords {
    /// What no other language has words for, as JSON: on a Service what guards its backends, on an HTTPRoute or VirtualService what
    /// each of its rules does.
    package static let resilience = "weft.dev/resilience"
    /// On a pod: a JSON list of limits on the requests it is sent.
    package static let rateLimits = "weft.dev/rate-limits"
}

/// The value of one of our annotations, read.
package struct Annotated<Value: Sendable & Hashable>: Sendable, Hashable {
    package var value: Value?
    /// Why there is none although the annotation is there.
    package var fault: ResourceFault?

    static var none: Annotated { Annotated(value: nil, fault: nil) }

    init(value: Value?, fault: ResourceFault?) {
        self.value = value
        self.fault = fault
    }

    init(_ object: KubeObject, _ name: String, _ read: (JSON, String) throws(ResourceFault) -> Value) {
        self.init(value: nil, fault: nil)
        guard let text = object.annotations[name] else { return }
        let label = "\(object.kind) \(object.key)"
        let json: JSON
        do {
            json = try JSON(parsing: Array(text.utf8))
        } catch {
            fault = ResourceFault(resource: label, field: "", message: "is not JSON: \(error)")
            return
        }
        do throws(ResourceFault) { value = try read(json, label) } catch { fault = error }
    }

    /// The fault as a finding about the annotation.
    func finding(_ object: PolicyReference, _ name: String) -> PolicyFinding? {
        guard let fault else { return nil }
        let inside = fault.field.isEmpty ? "" : "\(fault.field): "
        return PolicyFinding(object, "metadata.annotations[\(name)]", .invalid, "\(inside)\(fault.message)")
    }
}

extension RouteResilience {
    /// With what the annotation of the route's object says; the route's own words come first.
    func over(_ wider: RouteResilience?) -> RouteResilience {
        guard let wider else { return self }
        var merged = wider
        if let retry { merged.retry = retry }
        return merged
    }
}

extension BackendResilience {
    /// With what the Service says, where a DestinationRule has not said it.
    func over(_ wider: BackendResilience?) -> BackendResilience {
        guard let wider else { return self }
        return BackendResilience(
            limits: limits ?? wider.limits, retryBudget: retryBudget ?? wider.retryBudget,
            adaptiveConcurrency: adaptiveConcurrency ?? wider.adaptiveConcurrency)
    }
}
