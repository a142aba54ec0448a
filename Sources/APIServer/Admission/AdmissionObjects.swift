import KubeClient
import KubeTypes
import Wire

/// The kinds that admission reads.
enum AdmissionKind {
    static let limitRanges = ResourceType(group: "", version: "v1", resource: "limitranges", kind: "LimitRange")
    static let resourceQuotas = ResourceType(
        group: "", version: "v1", resource: "resourcequotas", kind: "ResourceQuota")
    static let claims = ResourceType(
        group: "", version: "v1", resource: "persistentvolumeclaims", kind: "PersistentVolumeClaim")
    static let priorityClasses = ResourceType(
        group: "scheduling.k8s.io", version: "v1", resource: "priorityclasses", kind: "PriorityClass",
        isNamespaced: false)
    static let storageClasses = ResourceType(
        group: "storage.k8s.io", version: "v1", resource: "storageclasses", kind: "StorageClass", isNamespaced: false)
    static let ingressClasses = ResourceType(
        group: "networking.k8s.io", version: "v1", resource: "ingressclasses", kind: "IngressClass",
        isNamespaced: false)
    static let ingresses = ResourceType(
        group: "networking.k8s.io", version: "v1", resource: "ingresses", kind: "Ingress")
    static let runtimeClasses = ResourceType(
        group: "node.k8s.io", version: "v1", resource: "runtimeclasses", kind: "RuntimeClass", isNamespaced: false)

    static let mutatingWebhooks = configuration("mutatingwebhookconfigurations", "MutatingWebhookConfiguration")
    static let validatingWebhooks = configuration("validatingwebhookconfigurations", "ValidatingWebhookConfiguration")
    static let validatingPolicies = configuration("validatingadmissionpolicies", "ValidatingAdmissionPolicy")
    static let validatingBindings = configuration(
        "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")
    static let mutatingPolicies = configuration("mutatingadmissionpolicies", "MutatingAdmissionPolicy")
    static let mutatingBindings = configuration("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding")

    private static func configuration(_ resource: String, _ kind: String) -> ResourceType {
        ResourceType(
            group: "admissionregistration.k8s.io", version: "v1", resource: resource, kind: kind, isNamespaced: false)
    }
}

/// What the built-in steps look at beside the request, kept ready.
final class AdmissionObjects: Sendable {
    let registry: Registry
    let namespaces: ObjectLookup
    let accounts: ObjectLookup
    let runtimeClasses: ObjectLookup
    let storageClassLookup: ObjectLookup
    let priorityClasses: KindIndex<PriorityClasses>
    /// By namespace.
    let limitRanges: KindIndex<[String: [LimitRange]]>
    let storageClasses: KindIndex<DefaultClass?>
    let ingressClasses: KindIndex<DefaultClass?>

    init(_ registry: Registry) {
        self.registry = registry
        namespaces = ObjectLookup(registry, .namespaces)
        accounts = ObjectLookup(registry, .serviceAccounts)
        runtimeClasses = ObjectLookup(registry, AdmissionKind.runtimeClasses)
        storageClassLookup = ObjectLookup(registry, AdmissionKind.storageClasses)
        priorityClasses = KindIndex(registry, AdmissionKind.priorityClasses) { PriorityClasses($0) }
        limitRanges = KindIndex(registry, AdmissionKind.limitRanges) { objects in
            Dictionary(grouping: objects, by: \.namespace).mapValues { $0.map(LimitRange.init) }
        }
        storageClasses = KindIndex(registry, AdmissionKind.storageClasses) { objects in
            DefaultClass.chosen(objects, annotations: DefaultClass.storageAnnotations)
        }
        ingressClasses = KindIndex(registry, AdmissionKind.ingressClasses) { objects in
            DefaultClass.chosen(objects, annotations: [DefaultClass.ingressAnnotation])
        }
    }

    func namespace(_ name: String) async throws(APIFailure) -> KubeObject? {
        try await namespaces.find(ObjectKey(name: name))
    }
}
