import KubeTypes
import Wire

/// The class that objects get which name none.
struct DefaultClass: Sendable, Hashable {
    let name: String

    static let storageAnnotations = [
        "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class",
    ]
    static let ingressAnnotation = "ingressclass.kubernetes.io/is-default-class"

    /// Of several marked ones the newest; of equally new ones the first by name.
    static func chosen(_ objects: [KubeObject], annotations: [String]) -> DefaultClass? {
        let marked = objects.filter { object in annotations.contains { object.annotations[$0] == "true" } }
        let best = marked.min { one, other in
            let (first, second) = (one.creationTimestamp ?? "", other.creationTimestamp ?? "")
            return first == second ? one.name < other.name : first > second
        }
        return best.map { DefaultClass(name: $0.name) }
    }
}

/// Gives claims and ingresses that name no class the default one.
struct DefaultClassAdmission: MutatingAdmission {
    let objects: AdmissionObjects
    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        if request.isWrite(of: AdmissionKind.claims, .create) {
            return try await fill(
                "storageClassName", orAnnotation: "volume.beta.kubernetes.io/storage-class", objects.storageClasses,
                &request)
        }
        if request.isWrite(of: AdmissionKind.ingresses, .create) {
            return try await fill(
                "ingressClassName", orAnnotation: "kubernetes.io/ingress.class", objects.ingressClasses, &request)
        }
        return false
    }

    private func fill(
        _ member: String, orAnnotation annotation: String, _ classes: KindIndex<DefaultClass?>,
        _ request: inout AdmissionRequest
    ) async throws(APIFailure) -> Bool {
        guard request.object.spec[member] == nil, request.object.annotations[annotation] == nil,
            let found = try await classes.current()
        else { return false }
        request.object.json[path: ["spec", member]] = .string(found.name)
        return true
    }
}

/// Claims may grow only where their class says that volumes can.
struct ClaimResizeAdmission: ValidatingAdmission {
    let objects: AdmissionObjects

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        guard request.isWrite(of: AdmissionKind.claims, .update), let old = request.oldObject else { return [] }
        let path = ["spec", "resources", "requests", "storage"]
        let wanted = request.object.json[path: path].flatMap(Quantity.init(json:)) ?? .zero
        let before = old.json[path: path].flatMap(Quantity.init(json:)) ?? .zero
        guard wanted > before else { return [] }
        if old.status["phase"]?.string != "Bound" {
            throw .forbidden(request, "Only bound persistent volume claims can be expanded")
        }
        let name =
            request.object.spec["storageClassName"]?.string
            ?? request.object.annotations["volume.beta.kubernetes.io/storage-class"] ?? ""
        let found = name.isEmpty ? nil : try await objects.storageClassLookup.find(ObjectKey(name: name))
        if found?.json["allowVolumeExpansion"] == true { return [] }
        throw .forbidden(
            request,
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support"
                + " resize")
    }
}
