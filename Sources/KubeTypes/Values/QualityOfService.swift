package import Wire

/// The pod's class when memory runs short, by its requests and limits.
package enum QualityOfService: String, Sendable {
    case guaranteed = "Guaranteed", burstable = "Burstable", bestEffort = "BestEffort"

    /// - Parameter spec: a pod's.
    package init(_ spec: JSON) {
        let containers = spec.list("initContainers") + spec.list("containers")
        var hasAny = false
        var isGuaranteed = !containers.isEmpty
        for container in containers {
            func amount(_ list: String, _ resource: String) -> Quantity? {
                container[path: ["resources", list, resource]].flatMap { Quantity(json: $0) }
            }
            for resource in ["cpu", "memory"] {
                let limit = amount("limits", resource)
                let request = amount("requests", resource) ?? limit
                if (limit?.milli ?? 0) > 0 || (request?.milli ?? 0) > 0 { hasAny = true }
                if limit == nil || request != limit { isGuaranteed = false }
            }
        }
        self = !hasAny ? .bestEffort : isGuaranteed ? .guaranteed : .burstable
    }
}
