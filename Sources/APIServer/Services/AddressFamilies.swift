import KubeTypes
import Wire

/// The families of a service's addresses, in a cluster whose range is of IPv4.
struct AddressFamilies {
    private static let own = "IPv4"
    private static let other = "IPv6"

    let service: KubeObject
    let old: KubeObject?

    /// The service as Kubernetes completes it where there is one range: `SingleStack` and `[IPv4]` where it says nothing.
    func settled() throws(APIFailure) -> KubeObject {
        var spec = service.spec
        if spec["type"]?.string == "ExternalName" { return service }
        // Who serves a headless service by hand may have addresses of any family.
        let isFree = spec["clusterIP"]?.string == "None" && spec["selector"]?.object?.isEmpty ?? true
        let inherited = old?.spec["ipFamilyPolicy"]?.string
        let policy = spec["ipFamilyPolicy"]?.string ?? inherited ?? (isFree ? "RequireDualStack" : "SingleStack")
        var families = spec["ipFamilies"]?.array ?? []
        if policy == "SingleStack", families.count > 1 {
            guard families == old?.spec["ipFamilies"]?.array else {
                throw refusal(
                    "spec.ipFamilyPolicy", .string(policy),
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")
            }
            families.removeLast(families.count - 1)
        }
        if families.isEmpty { families = [.string(Self.own)] }
        if isFree {
            if policy != "SingleStack", families.count == 1 {
                families.append(families[0].string == Self.own ? .string(Self.other) : .string(Self.own))
            }
        } else {
            if policy == "RequireDualStack" {
                throw refusal(
                    "spec.ipFamilyPolicy", .string(policy), "this cluster is not configured for dual-stack services")
            }
            for (place, family) in families.enumerated() where family.string != Self.own {
                throw refusal("spec.ipFamilies[\(place)]", family, "not configured on this cluster")
            }
        }
        spec["ipFamilyPolicy"] = .string(policy)
        spec["ipFamilies"] = .array(families)
        var settled = service
        settled.spec = spec
        return settled
    }

    private func refusal(_ path: String, _ value: JSON, _ why: String) -> APIFailure {
        .invalid(.services, service.name, [FieldFault(.invalid, path, value: value, why)])
    }
}
