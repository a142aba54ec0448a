import KubeClient
import KubeTypes
import Logging
import Wire

/// The ServiceCIDR `kubernetes`, by which users see what range cluster addresses are from.
///
/// As in Kubernetes it is made where it is missing, and only said to be ready where it has the range the server runs with: one that
/// somebody stored with another range stays as it is.
struct DefaultServiceCIDR {
    static let key = ObjectKey(name: "kubernetes")
    static let type = ResourceType(
        group: "networking.k8s.io", version: "v1", resource: "servicecidrs", kind: "ServiceCIDR", isNamespaced: false)
    /// Kubernetes' own.
    private static let interval = Duration.seconds(10)

    let registry: Registry

    /// Until cancelled.
    static func run(_ registry: Registry) async {
        let range = DefaultServiceCIDR(registry: registry)
        while (try? await Task.sleep(for: interval)) != nil {
            do throws(APIFailure) { try await range.ensure() } catch {
                registry.logger.warning("the default ServiceCIDR is not kept", metadata: ["why": "\(error)"])
            }
        }
    }

    func ensure() async throws(APIFailure) {
        let definition = try registry.definition(of: Self.type)
        let context = WriteContext(user: .apiServer)
        if !registry.exists(Self.type, Self.key) {
            var range = KubeObject(apiVersion: Self.type.apiVersion, kind: Self.type.kind, name: Self.key.name)
            range.spec = ["cidrs": [.string(registry.serviceRange.text)]]
            do throws(APIFailure) { _ = try await registry.create(definition, namespace: "", range, context) } catch {
                guard error.alreadyExists else { throw error }
            }
        }
        guard Self.ready(try registry.get(definition, Self.key), registry.serviceRange) != nil else { return }
        let wanted = registry.serviceRange
        _ = try await registry.change(definition, Self.key, subresource: "status", context) { old throws(APIFailure) in
            Self.ready(old, wanted) ?? old
        }
    }

    /// The object with the condition `Ready`; `nil` when it has one, goes away, or is of another range.
    private static func ready(_ object: KubeObject, _ range: ServiceRange) -> KubeObject? {
        let conditions = object.status["conditions"]?.array ?? []
        guard object.deletionTimestamp == nil, object.spec["cidrs"] == [.string(range.text)],
            !conditions.contains(where: { $0["type"] == "Ready" })
        else { return nil }
        var ready = object
        ready.json[path: ["status", "conditions"]] = .array(
            conditions + [
                [
                    "type": "Ready", "status": "True", "lastTransitionTime": Timestamp.now().json, "reason": "",
                    "message": "Kubernetes default Service CIDR is ready",
                ]
            ])
        return ready
    }
}
